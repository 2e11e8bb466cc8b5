/* SPDX-License-Identifier: Apache-2.0
 *
 * A peer that scales no window (small stacks do not) and one that does: after a
 * move each takes the window that it is told for what the program's new host
 * means, and its uploads go on as fast as before.
 */
#include <arpa/inet.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define PORT 7000
#define SERVICE "10.77.0.100"
#define PEERS 2
#define UPLOAD (1u << 20)
#define WINDOW_MIN 16384

static struct program program;
static struct {
	int fd[PEERS];
} server;

static void leave(int channel)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct carry_options options = {.tcp_established = true};
	program_open(&program);
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	int listener = program_listen(&program, &own, sizeof(own), PEERS);
	message_put(channel, 'r', NULL, 0);
	for (int i = 0; i < PEERS; i++)
		CHECK((server.fd[i] = (int)CALL(&program, SYS_accept, listener, 0, 0)) >= 0);
	program_leave(&program, channel, &options, &server, sizeof(server));
}

static void arrive(int channel)
{
	static char data[65536];
	program_open(&program);
	struct carry_destination *d = program_arrive(&program, channel, &server, sizeof(server));
	for (int i = 0; i < PEERS; i++)
		for (long got = 0, n; got < UPLOAD; got += n)
			CHECK((n = CALL(&program, SYS_read, server.fd[i], data, sizeof(data))) > 0);
	message_put(channel, 'r', NULL, 0);
	carry_destination_finish(d);
}

static void client(int channel)
{
	static char data[UPLOAD];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct bytes b = {0};
	int fd[PEERS];
	message_get(channel, 'c', &b);
	for (int i = 0; i < PEERS; i++) {
		CHECK(system(i ? "sysctl -qw net.ipv4.tcp_window_scaling=1" : "sysctl -qw net.ipv4.tcp_window_scaling=0") == 0);
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(fd[i], (struct sockaddr *)&to, sizeof(to)) == 0);
	}
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'u', &b);
	for (int i = 0; i < PEERS; i++) {
		struct tcp_info info = {0};
		socklen_t size = sizeof(info);
		CHECK(write(fd[i], data, sizeof(data) / 2) == sizeof(data) / 2);
		sleep_us(20000); /* it has been told more than once since */
		CHECK(getsockopt(fd[i], IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
		CHECK(!(info.tcpi_options & TCPI_OPT_WSCALE) == !i);
		CHECK(info.tcpi_snd_wnd >= WINDOW_MIN);
		CHECK(write(fd[i], data, sizeof(data) / 2) == sizeof(data) / 2);
	}
	message_get(channel, 'E', &b);
}

int main(void)
{
	struct bytes b = {0};
	int from, to, peers;
	testbed_require();
	testbed_open();
	testbed_host(leave, &from);
	testbed_host(arrive, &to);
	testbed_host(client, &peers);
	message_get(from, 'r', &b);
	message_put(peers, 'c', NULL, 0);
	message_get(peers, 'r', &b);
	program_relay(from, to);
	message_put(peers, 'u', NULL, 0);
	message_get(to, 'r', &b);
	testbed_close();
	bytes_free(&b);
	return 0;
}
