/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams that wait when the program stops, and those that come while it is on
 * its way, are read at the destination: in order, from their senders, told by
 * epoll. A datagram socket with a peer goes on from the new host's address.
 * Out-of-band data stops a move, and only as long as it is unread or on its way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define SERVICE "10.77.0.100"
#define SERVICE_IPV6 "fd77::100"
#define CLIENT "10.77.0.3"
#define PORT 7000
#define PORT_BOTH 7001
#define PORT_CLIENT 9000

static struct program program;

/* The program's memory. */
static struct {
	int own, own6, both, connected, listener, tcp, epoll;
} memory;

static struct sockaddr_in name_of(const char *address, uint16_t port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr(address)};
}

static int make_bound(int family, int type, const void *name, socklen_t size)
{
	int fd = (int)CALL(&program, SYS_socket, family, type, 0);
	CHECK(fd >= 0 && CALL(&program, SYS_bind, fd, name, size) == 0);
	return fd;
}

static void start(void)
{
	struct sockaddr_in own = name_of(SERVICE, PORT), any = name_of("0.0.0.0", PORT_BOTH),
			   peer = name_of(CLIENT, PORT_CLIENT);
	struct sockaddr_in6 both = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_BOTH)};
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	memory.own = make_bound(AF_INET, SOCK_DGRAM, &own, sizeof(own));
	if (testbed_has_ipv6()) {
		CHECK(system("ip addr add " SERVICE_IPV6 "/128 dev eth0 nodad") == 0);
		memory.both = make_bound(AF_INET6, SOCK_DGRAM, &both, sizeof(both));
		inet_pton(AF_INET6, SERVICE_IPV6, &both.sin6_addr);
		both.sin6_port = htons(PORT);
		memory.own6 = make_bound(AF_INET6, SOCK_DGRAM, &both, sizeof(both));
	} else {
		memory.both = make_bound(AF_INET, SOCK_DGRAM, &any, sizeof(any));
	}
	/* No address of any host's. */
	struct sockaddr_in group = name_of("224.0.0.251", PORT);
	make_bound(AF_INET, SOCK_DGRAM, &group, sizeof(group));
	memory.connected = (int)CALL(&program, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	CHECK(CALL(&program, SYS_connect, memory.connected, &peer, sizeof(peer)) == 0);
	memory.listener = make_bound(AF_INET, SOCK_STREAM, &own, sizeof(own));
	CHECK(CALL(&program, SYS_listen, memory.listener, 5) == 0);
	memory.epoll = (int)CALL(&program, SYS_epoll_create1, 0);
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 1};
	CHECK(CALL(&program, SYS_epoll_ctl, memory.epoll, EPOLL_CTL_ADD, memory.own, &e) == 0);
}

/* Returns the result of the freeze. */
static int leave(int channel)
{
	struct carry_options options = {.tcp_established = true};
	struct bytes b = {0}, state = {0};
	struct failure why = {0};
	struct carry_source *s = program_offer(&program, channel, &options);
	program_must(carry_source_calm(s, &why), &why);
	int r = carry_source_freeze(s, &state, &why);
	bytes_put(&state, &memory, sizeof(memory));
	message_put(channel, r ? 'x' : 's', state.data, state.size);
	if (r) {
		CHECK(strstr(why.message, "out-of-band"));
		program_must(carry_source_undo(s, &why), &why);
	} else {
		message_get(channel, 'c', &b);
		carry_source_forget(s);
	}
	carry_source_close(s);
	bytes_free(&b);
	bytes_free(&state);
	return r;
}

static void source(int channel)
{
	struct bytes b = {0};
	char text[16];
	start();
	CHECK(CALL(&program, SYS_write, memory.connected, "hello", 5) == 5);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'g', &b);
	memory.tcp = (int)CALL(&program, SYS_accept, memory.listener, 0, 0);
	CHECK(memory.tcp >= 0);
	CHECK(leave(channel) == -ENOTSUP);
	message_put(channel, 'r', NULL, 0);
	/* The byte is read out of band, the rest and what follows it as ever. */
	CHECK(CALL(&program, SYS_recvfrom, memory.tcp, text, 1, MSG_OOB) == 1 && text[0] == '!');
	CHECK(CALL(&program, SYS_read, memory.tcp, text, sizeof(text)) == 4);
	CHECK(CALL(&program, SYS_read, memory.tcp, text, 5) == 5 && memcmp(text, "after", 5) == 0);
	/* A client that does not read. */
	static char bulk[1 << 18];
	int queued = 0;
	do {
		CHECK(CALL(&program, SYS_write, memory.tcp, bulk, sizeof(bulk)) == sizeof(bulk));
		sleep_us(30000);
		CHECK(CALL(&program, SYS_ioctl, memory.tcp, TIOCOUTQ, &queued) == 0);
	} while (!queued);
	CHECK(CALL(&program, SYS_sendto, memory.tcp, "!", 1, MSG_OOB) == 1);
	CHECK(leave(channel) == -ENOTSUP);
	message_put(channel, 'r', NULL, 0);
	do {
		sleep_us(1000);
		CHECK(CALL(&program, SYS_ioctl, memory.tcp, TIOCOUTQ, &queued) == 0);
	} while (queued);
	CHECK(leave(channel) == 0);
}

static void expect(int fd, const char *text, const char *from, uint16_t from_port)
{
	char data[64];
	struct sockaddr_storage name = {0};
	socklen_t size = sizeof(name);
	long got = CALL(&program, SYS_recvfrom, fd, data, sizeof(data), MSG_DONTWAIT, &name, &size);
	if (got != (long)strlen(text) || memcmp(data, text, strlen(text)) != 0)
		fprintf(stderr, "expected \"%s\", got %ld: %.*s\n", text, got, got > 0 ? (int)got : 0, data);
	CHECK(got == (long)strlen(text) && memcmp(data, text, strlen(text)) == 0);
	char own[INET6_ADDRSTRLEN] = "";
	if (name.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&name)->sin_addr, own, sizeof(own));
	else
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&name)->sin6_addr, own, sizeof(own));
	if (strcmp(own, from) != 0)
		fprintf(stderr, "\"%s\" came from %s\n", text, own);
	CHECK(strcmp(own, from) == 0 && ntohs(((struct sockaddr_in *)&name)->sin_port) == from_port);
}

static void take(int channel)
{
	struct bytes b = {0};
	struct failure why = {0};
	struct carry_destination *d = program_answer(&program, channel);
	if (message_any(channel, &b) == 'x') {
		carry_destination_discard(d);
		take(channel);
		return;
	}
	program_restore(d, channel, &b, &memory, sizeof(memory));
	message_get(channel, 'c', &b);
	program_must(carry_destination_release(d, &why), &why);
	struct epoll_event events[4];
	CHECK(CALL(&program, SYS_epoll_wait, memory.epoll, events, 4, 1000) == 1 && events[0].data.u32 == 1);
	expect(memory.own, "one", CLIENT, PORT_CLIENT);
	expect(memory.own, "two", CLIENT, PORT_CLIENT);
	expect(memory.own, "", CLIENT, PORT_CLIENT);
	expect(memory.own, "held", CLIENT, PORT_CLIENT);
	CHECK(CALL(&program, SYS_epoll_wait, memory.epoll, events, 4, 0) == 0);
	if (testbed_has_ipv6())
		expect(memory.own6, "six", "fd77::3", PORT_CLIENT);
	expect(memory.both, "four", testbed_has_ipv6() ? "::ffff:" CLIENT : CLIENT, PORT_CLIENT);
	expect(memory.connected, "early", CLIENT, PORT_CLIENT);
	CHECK(CALL(&program, SYS_write, memory.connected, "hello", 5) == 5);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'g', &b);
	expect(memory.connected, "late", CLIENT, PORT_CLIENT);
	message_put(channel, 'r', NULL, 0);
	carry_destination_finish(d);
	message_get(channel, 'g', &b);
}

static void host(int channel)
{
	struct bytes b = {0};
	program_open(&program);
	if (message_any(channel, &b) == 'L')
		source(channel);
	else
		take(channel);
	message_get(channel, 'E', &b);
}

/* ---- the client ---- */

static void say(int fd, const char *text, const void *to, socklen_t size)
{
	CHECK(sendto(fd, text, strlen(text), 0, to, size) == (ssize_t)strlen(text));
}

static void client(int channel)
{
	struct bytes b = {0};
	struct sockaddr_in self = name_of("0.0.0.0", PORT_CLIENT), own = name_of(SERVICE, PORT),
			   both = name_of(SERVICE, PORT_BOTH), from;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)},
			    self6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_CLIENT)};
	socklen_t size = sizeof(from);
	char text[16];
	int fd = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	CHECK(bind(fd, (struct sockaddr *)&self, sizeof(self)) == 0);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'S', &b);
	say(fd, "one", &own, sizeof(own));
	say(fd, "two", &own, sizeof(own));
	if (testbed_has_ipv6()) {
		int fd6 = socket(AF_INET6, SOCK_DGRAM, 0);
		setsockopt(fd6, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		inet_pton(AF_INET6, SERVICE_IPV6, &six.sin6_addr);
		CHECK(bind(fd6, (struct sockaddr *)&self6, sizeof(self6)) == 0);
		say(fd6, "six", &six, sizeof(six));
	}
	say(fd, "four", &both, sizeof(both));
	CHECK(connect(tcp, (struct sockaddr *)&own, sizeof(own)) == 0);
	CHECK(write(tcp, "text", 4) == 4 && send(tcp, "!", 1, MSG_OOB) == 1);
	CHECK(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &size) == 5);
	say(fd, "early", &from, sizeof(from));
	sleep_us(50000);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 't', &b);
	CHECK(write(tcp, "after", 5) == 5);
	message_get(channel, 'd', &b);
	say(fd, "", &own, sizeof(own));
	static char drain[65536];
	while (read(tcp, drain, sizeof(drain)) > 0 && !(recv(tcp, text, 1, MSG_OOB) == 1 && text[0] == '!'))
		continue;
	while (recv(tcp, drain, sizeof(drain), MSG_DONTWAIT) > 0)
		continue;
	message_get(channel, 'h', &b);
	say(fd, "held", &own, sizeof(own));
	sleep_us(20000);
	message_put(channel, 'r', NULL, 0);
	CHECK(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &size) == 5);
	CHECK(from.sin_addr.s_addr == inet_addr("10.77.0.2"));
	say(fd, "late", &from, sizeof(from));
	sleep_us(20000);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'E', &b);
}

static void await(int from)
{
	struct bytes b = {0};
	message_get(from, 'r', &b);
	bytes_free(&b);
}

int main(void)
{
	int from, to, clients;
	testbed_require();
	testbed_open();
	testbed_host(host, &from);
	testbed_host(host, &to);
	testbed_host(client, &clients);
	await(clients);
	message_put(from, 'L', NULL, 0);
	message_put(to, 'T', NULL, 0);
	await(from);
	message_put(clients, 'S', NULL, 0);
	await(clients);
	message_put(from, 'g', NULL, 0);
	message_pass(from, to, 'm');
	message_pass(to, from, 'a');
	message_pass(from, to, 'x');
	await(from);
	message_put(clients, 't', NULL, 0);
	message_pass(from, to, 'm');
	message_pass(to, from, 'a');
	message_pass(from, to, 'x');
	await(from);
	message_put(clients, 'd', NULL, 0);
	message_pass(from, to, 'm');
	message_pass(to, from, 'a');
	message_pass(from, to, 's');
	await(to);
	message_put(clients, 'h', NULL, 0);
	await(clients);
	message_put(to, 'c', NULL, 0);
	message_put(from, 'c', NULL, 0);
	await(to);
	await(clients);
	message_put(to, 'g', NULL, 0);
	await(to);
	testbed_close();
	return 0;
}
