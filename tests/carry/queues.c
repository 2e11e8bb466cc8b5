/* SPDX-License-Identifier: Apache-2.0
 *
 * Peers that take nothing: what is queued for many of them is more than a stop
 * carries, and that is said before the program stands still. With fewer of
 * them, it may go; and to another process of the same host with all, for there
 * sockets go as they are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define PORT 7000
#define SERVICE "10.77.0.100"
#define PEERS 24
#define EACH (3u << 20)

static struct program program;

static int accept_and_fill(int listener)
{
	static char data[65536];
	int room = EACH; /* the kernel gives twice that */
	size_t written = 0;
	int fd = (int)CALL(&program, SYS_accept4, listener, 0, 0, SOCK_NONBLOCK);
	CHECK(fd >= 0);
	CHECK(CALL(&program, SYS_setsockopt, fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0);
	for (long put; (put = CALL(&program, SYS_write, fd, data, sizeof(data))) > 0;)
		written += (size_t)put;
	CHECK(written > EACH);
	return fd;
}

static void may_go(const struct carry_options *options)
{
	struct failure why = {0};
	struct bytes manifest = {0};
	struct carry_source *s;
	program_must(carry_source_open(program.fds, options, &s, &why), &why);
	program_must(carry_source_preflight(s, &manifest, NULL, &why), &why);
	carry_source_close(s);
	bytes_free(&manifest);
}

static void server(int channel)
{
	struct sockaddr_in own = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct carry_options options = {.tcp_established = true};
	struct carry_options here = options;
	int fd[PEERS];
	program_open(&program);
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	int listener = program_listen(&program, &own, sizeof(own), PEERS);
	message_put(channel, 'r', NULL, 0);
	for (int i = 0; i < PEERS; i++)
		fd[i] = accept_and_fill(listener);
	program_refused(&program, &options, -EMSGSIZE, "queued");
	memcpy(&here.stream_local, &own, sizeof(own));
	memcpy(&here.stream_peer, &own, sizeof(own));
	may_go(&here);
	for (int i = 0; i < PEERS * 2 / 3; i++)
		CHECK(CALL(&program, SYS_close, fd[i]) == 0);
	may_go(&options);
	program_close(&program);
	message_put(channel, 'd', NULL, 0);
}

static void client(int channel)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct bytes b = {0};
	message_get(channel, 'S', &b);
	for (int i = 0; i < PEERS; i++)
		CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)) == 0);
	message_get(channel, 'E', &b);
}

int main(void)
{
	struct bytes b = {0};
	int servers, clients;
	testbed_require();
	testbed_open();
	testbed_host(server, &servers);
	testbed_host(client, &clients);
	message_get(servers, 'r', &b);
	message_put(clients, 'S', NULL, 0);
	message_get(servers, 'd', &b);
	testbed_close();
	bytes_free(&b);
	return 0;
}
