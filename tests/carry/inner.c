/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections with both ends in the program: over loopback, IPv4 and IPv6, and
 * over an address that moves. They go there and back with what is in them. One
 * whose other end is another program's stops the move.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define SERVICE "10.77.0.100"
#define PORT 7000

static const struct carry_options options = {.tcp_established = true};
static struct program program;

/* The program's memory. */
static struct {
	int count;
	int fd[4][2]; /* connected, accepted */
	int half[2];
} memory;

static void join(int family, const void *name, socklen_t size, int out[2])
{
	int listener = program_listen(&program, name, size, 5);
	out[0] = (int)CALL(&program, SYS_socket, family, SOCK_STREAM, 0);
	CHECK(CALL(&program, SYS_connect, out[0], name, size) == 0);
	out[1] = (int)CALL(&program, SYS_accept, listener, 0, 0);
	CHECK(out[1] >= 0 && CALL(&program, SYS_close, listener) == 0);
}

static void start(void)
{
	struct sockaddr_in loopback = {.sin_family = AF_INET,
				       .sin_port = htons(PORT),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			   service = {.sin_family = AF_INET,
				      .sin_port = htons(PORT + 1),
				      .sin_addr.s_addr = inet_addr(SERVICE)};
	struct sockaddr_in6 six = {
	    .sin6_family = AF_INET6, .sin6_port = htons(PORT), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	join(AF_INET, &loopback, sizeof(loopback), memory.fd[memory.count++]);
	join(AF_INET, &service, sizeof(service), memory.fd[memory.count++]);
	if (testbed_has_ipv6())
		join(AF_INET6, &six, sizeof(six), memory.fd[memory.count++]);
	loopback.sin_port = htons(PORT + 2);
	join(AF_INET, &loopback, sizeof(loopback), memory.half);
	CHECK(CALL(&program, SYS_write, memory.half[0], "last", 4) == 4);
	CHECK(CALL(&program, SYS_shutdown, memory.half[0], SHUT_WR) == 0);
}

/* Something is in both queues of every connection when it moves. */
static void say(char c)
{
	for (int i = 0; i < memory.count; i++)
		for (int end = 0; end < 2; end++)
			CHECK(CALL(&program, SYS_write, memory.fd[i][end], &c, 1) == 1);
}

static void hear(char c)
{
	for (int i = 0; i < memory.count; i++)
		for (int end = 0; end < 2; end++) {
			char got = 0;
			CHECK(CALL(&program, SYS_read, memory.fd[i][end], &got, 1) == 1 && got == c);
		}
}

static void refused(void)
{
	struct sockaddr_in name = {
	    .sin_family = AF_INET, .sin_port = htons(PORT + 3), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = program_listen(&program, &name, sizeof(name), 5), client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&name, sizeof(name)) == 0);
	int fd = (int)CALL(&program, SYS_accept, listener, 0, 0);
	CHECK(fd >= 0);
	program_refused(&program, &options, -EHOSTUNREACH, "another program");
	CHECK(CALL(&program, SYS_close, fd) == 0 && CALL(&program, SYS_close, listener) == 0);
	close(client);
}

static void arrive(int channel)
{
	carry_destination_finish(program_arrive(&program, channel, &memory, sizeof(memory)));
}

static void host(int channel)
{
	struct bytes b = {0};
	char text[8];
	program_open(&program);
	if (message_any(channel, &b) == 'L') {
		start();
		refused();
		say('a');
		program_leave(&program, channel, &options, &memory, sizeof(memory));
		arrive(channel);
		hear('b');
		say('c');
		hear('c');
		CHECK(CALL(&program, SYS_read, memory.half[1], text, 8) == 4 && memcmp(text, "last", 4) == 0);
		CHECK(CALL(&program, SYS_read, memory.half[1], text, 8) == 0);
		CHECK(CALL(&program, SYS_write, memory.half[1], "answer", 6) == 6);
		CHECK(CALL(&program, SYS_read, memory.half[0], text, 8) == 6);
	} else {
		arrive(channel);
		hear('a');
		say('b');
		program_leave(&program, channel, &options, &memory, sizeof(memory));
	}
	message_put(channel, 'e', NULL, 0);
	message_get(channel, 'E', &b);
}

int main(void)
{
	struct bytes b = {0};
	int one, two;
	testbed_require();
	testbed_open();
	testbed_host(host, &one);
	testbed_host(host, &two);
	message_put(one, 'L', NULL, 0);
	message_put(two, 'T', NULL, 0);
	program_relay(one, two);
	program_relay(two, one);
	message_get(one, 'e', &b);
	message_get(two, 'e', &b);
	testbed_close();
	bytes_free(&b);
	return 0;
}
