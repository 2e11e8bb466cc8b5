/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that comes back at once, while the host it left still sends packets
 * for its address on: they do not go to and fro between the hosts, and the host is
 * not silent for an address that it has again.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "host/net/steer.h"
#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define PORT 7000
#define SERVICE "10.77.0.100"
#define LATE_US 1000000 /* sending on lasts for two seconds, if something keeps it going */

static struct program programs[3], *program = programs; /* one after the other: what is left of one ends beside the next */
static struct {
	int fd;
} server;

static void serve(int channel)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	program_open(program);
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	int listener = program_listen(program, &own, sizeof(own), 1);
	message_put(channel, 'd', NULL, 0);
	CHECK((server.fd = (int)CALL(program, SYS_accept, listener, 0, 0)) >= 0);
	message_put(channel, 'd', NULL, 0);
}

static void *forget(void *source)
{
	carry_source_forget(source);
	carry_source_close(source);
	return NULL;
}

static void *finish(void *destination)
{
	carry_destination_finish(destination);
	return NULL;
}

static void beside(void *(*what)(void *), void *with)
{
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, what, with) == 0);
}

static void leave(int channel)
{
	struct carry_options options = {.tcp_established = true};
	struct failure why = {0};
	struct bytes b = {0};
	struct carry_source *s = program_offer(program, channel, &options);
	program_must(carry_source_calm(s, &why), &why);
	program_freeze(s, channel, &server, sizeof(server));
	message_get(channel, 'c', &b);
	beside(forget, s);
	program++;
	sleep_us(20000); /* it has begun to send on */
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
}

static void host(int channel)
{
	struct bytes b = {0};
	char word;
	for (;;)
		switch (message_any(channel, &b)) {
		case 'S':
			serve(channel);
			break;
		case 'L':
			leave(channel);
			break;
		case 'T':
			program_open(program);
			beside(finish, program_arrive(program, channel, &server, sizeof(server)));
			break;
		case 'e':
			CHECK(CALL(program, SYS_read, server.fd, &word, 1) == 1 && CALL(program, SYS_write, server.fd, &word, 1) == 1);
			break;
		case 't':
			steer_avoid_tcx = true;
			break;
		default:
			CHECK(!"message");
		}
}

static void client(int channel)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct bytes b = {0};
	char word = 'w';
	message_get(channel, 'S', &b);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	for (;;) {
		message_get(channel, 'e', &b);
		uint64_t before = now_us();
		CHECK(write(fd, &word, 1) == 1 && read(fd, &word, 1) == 1);
		CHECK(now_us() - before < LATE_US);
		message_put(channel, 'd', NULL, 0);
	}
}

static void move(int from, int to)
{
	message_put(to, 'T', NULL, 0);
	message_put(from, 'L', NULL, 0);
	program_relay(from, to);
}

static void there_and_back(bool tcx)
{
	struct bytes b = {0};
	int hosts[2], clients;
	testbed_open();
	testbed_host(host, &hosts[0]);
	testbed_host(host, &hosts[1]);
	testbed_host(client, &clients);
	for (int i = 0; !tcx && i < 2; i++)
		message_put(hosts[i], 't', NULL, 0);
	message_put(hosts[0], 'S', NULL, 0);
	message_get(hosts[0], 'd', &b);
	message_put(clients, 'S', NULL, 0);
	message_get(hosts[0], 'd', &b);
	move(hosts[0], hosts[1]);
	move(hosts[1], hosts[0]);
	message_put(hosts[0], 'e', NULL, 0);
	message_put(clients, 'e', NULL, 0);
	message_get(clients, 'd', &b);
	testbed_close();
	bytes_free(&b);
}

int main(void)
{
	testbed_require();
	there_and_back(true);
	there_and_back(false);
	return 0;
}
