/* SPDX-License-Identifier: Apache-2.0
 *
 * A segment that was past the interface's entrance when packets began to be
 * redirected, and that the source's kernel takes once the connection has been
 * read: it is in nothing that moves, so its sender must not hear that it came.
 * He repeats it, and the program has it, at the destination.
 */
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "host/net/checksum.h"
#include "host/net/inject.h"
#include "host/net/ip.h"
#include "host/net/steer.h"
#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define PORT 7000
#define SERVICE "10.77.0.100"
#define SERVICE_IPV6 "fd77::100"
#define WORD "late"
#define HOST_FDS 256

static struct program program;
static struct {
	int fd[2];
} server;
static int families;

static struct sockaddr_storage service(int i, socklen_t *size)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)&s;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)&s;
	*size = i ? sizeof(*ipv6) : sizeof(*ipv4);
	s.ss_family = i ? AF_INET6 : AF_INET;
	ipv4->sin_port = htons(PORT); /* in the same place */
	CHECK(i ? inet_pton(AF_INET6, SERVICE_IPV6, &ipv6->sin6_addr) : inet_pton(AF_INET, SERVICE, &ipv4->sin_addr));
	return s;
}

/* ---- hosts ---- */

static void serve(int channel)
{
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	CHECK(families < 2 || system("ip addr add " SERVICE_IPV6 "/128 dev eth0 nodad") == 0);
	int listener[2];
	for (int i = 0; i < families; i++) {
		socklen_t size;
		struct sockaddr_storage own = service(i, &size);
		listener[i] = program_listen(&program, &own, size, 5);
	}
	message_put(channel, 'd', NULL, 0);
	for (int i = 0; i < families; i++)
		CHECK((server.fd[i] = (int)CALL(&program, SYS_accept, listener[i], 0, 0)) >= 0);
	message_put(channel, 'd', NULL, 0);
}

static uint32_t sequence(int host_fd, int queue)
{
	uint32_t value;
	socklen_t size = sizeof(value);
	CHECK(setsockopt(host_fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) == 0);
	CHECK(getsockopt(host_fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &value, &size) == 0);
	return value;
}

/* As from the peer, of each connection that stands still here. Not by way of eth0: this one is inside already. */
static void segments_come_late(void)
{
	struct inject raw = INJECT_UNOPENED;
	int count = 0;
	for (int fd = 0; fd < HOST_FDS; fd++) {
		struct sockaddr_storage own, peer;
		socklen_t own_size = sizeof(own), peer_size = sizeof(peer);
		struct in6_addr from, to;
		if (getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0 ||
		    getsockname(fd, (struct sockaddr *)&own, &own_size) < 0 || !ip_of(&peer, &from) || !ip_of(&own, &to) ||
		    ip_port(&own) != htons(PORT))
			continue;
		struct {
			struct tcphdr tcp;
			char word[sizeof(WORD) - 1];
		} segment = {.tcp = {.source = ip_port(&peer),
				     .dest = ip_port(&own),
				     .seq = htonl(sequence(fd, TCP_RECV_QUEUE)),
				     .ack_seq = htonl(sequence(fd, TCP_SEND_QUEUE)),
				     .doff = sizeof(struct tcphdr) / 4,
				     .psh = 1,
				     .ack = 1,
				     .window = htons(500)}};
		memcpy(segment.word, WORD, sizeof(segment.word));
		segment.tcp.check = checksum_with_pseudo(&from, &to, IPPROTO_TCP, &segment, sizeof(segment));
		uint32_t before = sequence(fd, TCP_RECV_QUEUE);
		CHECK(inject(&raw, &from, &to, IPPROTO_TCP, &segment, sizeof(segment)) == 0);
		sleep_us(1000);
		CHECK(sequence(fd, TCP_RECV_QUEUE) == before + sizeof(segment.word)); /* it was taken */
		count++;
	}
	CHECK(count == families);
	inject_close(&raw);
}

static void leave(int channel)
{
	struct carry_options options = {.tcp_established = true};
	struct failure why = {0};
	struct bytes b = {0};
	struct carry_source *s = program_offer(&program, channel, &options);
	program_must(carry_source_calm(s, &why), &why);
	program_freeze(s, channel, &server, sizeof(server));
	message_get(channel, 'l', &b);
	segments_come_late();
	message_put(channel, 'l', NULL, 0);
	message_get(channel, 'c', &b);
	carry_source_forget(s);
	carry_source_close(s);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
}

static void take(int channel)
{
	struct carry_destination *d = program_arrive(&program, channel, &server, sizeof(server));
	for (int i = 0; i < families; i++) {
		char word[sizeof(WORD)] = {0};
		CHECK(CALL(&program, SYS_recvfrom, server.fd[i], word, sizeof(WORD) - 1, MSG_WAITALL, 0, 0) == sizeof(WORD) - 1);
		CHECK(strcmp(word, WORD) == 0);
		CHECK(CALL(&program, SYS_write, server.fd[i], "k", 1) == 1);
	}
	message_put(channel, 'k', NULL, 0);
	carry_destination_finish(d);
}

static void host(int channel)
{
	struct bytes b = {0};
	program_open(&program);
	for (;; steer_avoid_tcx = !steer_avoid_tcx)
		switch (message_any(channel, &b)) {
		case 'S':
			serve(channel);
			break;
		case 'L':
			leave(channel);
			break;
		case 'T':
			take(channel);
			break;
		default:
			CHECK(!"message");
		}
}

/* ---- their client ---- */

static void client(int channel)
{
	struct bytes b = {0};
	int fd[2];
	message_get(channel, 'S', &b);
	for (int i = 0; i < families; i++) {
		socklen_t size;
		struct sockaddr_storage to = service(i, &size);
		fd[i] = socket(to.ss_family, SOCK_STREAM, 0);
		CHECK(connect(fd[i], (struct sockaddr *)&to, size) == 0);
	}
	for (;;) {
		uint8_t asked = message_any(channel, &b);
		for (int i = 0; i < families; i++) {
			int unacknowledged = 0;
			char answer;
			if (asked == 'w')
				CHECK(write(fd[i], WORD, sizeof(WORD) - 1) == sizeof(WORD) - 1);
			CHECK(ioctl(fd[i], SIOCOUTQ, &unacknowledged) == 0);
			if (asked == 'o') /* neither host may have said that it came */
				CHECK(unacknowledged == sizeof(WORD) - 1);
			if (asked == 'k')
				CHECK(read(fd[i], &answer, 1) == 1);
		}
		message_put(channel, 'd', NULL, 0);
	}
}

static void ask(int channel, uint8_t what)
{
	struct bytes b = {0};
	message_put(channel, what, NULL, 0);
	message_get(channel, 'd', &b);
	bytes_free(&b);
}

int main(void)
{
	struct bytes b = {0};
	int hosts[2], clients;
	testbed_require();
	families = testbed_has_ipv6() ? 2 : 1;
	testbed_open();
	testbed_host(host, &hosts[0]);
	testbed_host(host, &hosts[1]);
	testbed_host(client, &clients);
	ask(hosts[0], 'S');
	message_put(clients, 'S', NULL, 0);
	message_get(hosts[0], 'd', &b);
	/* with TCX and without, at either host */
	for (int move = 0; move < 4; move++) {
		int from = hosts[move % 2], to = hosts[!(move % 2)];
		message_put(to, 'T', NULL, 0);
		message_put(from, 'L', NULL, 0);
		message_pass(from, to, 'm');
		message_pass(to, from, 'a');
		message_pass(from, to, 's');
		message_get(to, 'r', &b);
		ask(clients, 'w');
		message_put(from, 'l', NULL, 0);
		message_get(from, 'l', &b);
		sleep_us(20000);
		ask(clients, 'o');
		message_put(to, 'c', NULL, 0);
		message_get(to, 'd', &b);
		ask(from, 'c');
		message_get(to, 'k', &b);
		ask(clients, 'k');
		sleep_us(700000); /* until packets have stopped being redirected */
	}
	testbed_close();
	bytes_free(&b);
	return 0;
}
