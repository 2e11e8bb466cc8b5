/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections in every state that is not simply "established" move too: waiting
 * to be accepted, closed by the peer with data unread, closed by us, by both,
 * reset, still connecting, with more written than the peer takes. Over IPv4, over
 * IPv6, and over IPv4 to a socket that listens for both.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define PORT 7000
#define BULK (4u << 20)

static struct program program;

static const struct way {
	const char *name;
	int listens, connects; /* families */
	const char *service, *any, *client, *nobody;
	const char *add_service, *add_nobody;
} ways[] = {
    {"IPv4", AF_INET, AF_INET, "10.77.0.100", NULL, "10.77.0.3", "10.77.0.9",
     "ip addr add 10.77.0.100/32 dev eth0", "ip addr add 10.77.0.9/24 dev eth0"},
    {"IPv6", AF_INET6, AF_INET6, "fd77::100", NULL, "fd77::3", "fd77::9",
     "ip addr add fd77::100/128 dev eth0 nodad", "ip addr add fd77::9/64 dev eth0 nodad"},
    {"IPv4 to a socket of both", AF_INET6, AF_INET, "10.77.0.100", "::", "::ffff:10.77.0.3", "10.77.0.9",
     "ip addr add 10.77.0.100/32 dev eth0", "ip addr add 10.77.0.9/24 dev eth0"},
};
static const struct way *way = ways;

static struct sockaddr_storage name_of(const char *address, uint16_t port)
{
	struct sockaddr_storage s = {0};
	struct sockaddr_in *four = (struct sockaddr_in *)&s;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&s;
	if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
	} else {
		CHECK(inet_pton(AF_INET6, address, &six->sin6_addr) == 1);
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
	}
	return s;
}

static socklen_t name_size(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* The program's memory. */
struct memory {
	int listener, epoll;
	int unread, closed, both, reset, bulk, connecting, unbound;
	size_t bulk_written;
};
static struct memory memory;

static int accept_next(void)
{
	long fd = CALL(&program, SYS_accept4, memory.listener, 0, 0, 0);
	CHECK(fd >= 0);
	return (int)fd;
}

static void leave(int channel)
{
	struct sockaddr_storage address = name_of(way->any ? way->any : way->service, PORT);
	struct bytes b = {0};
	static char bulk[65536];
	memset(bulk, 'b', sizeof(bulk));
	CHECK(system(way->add_service) == 0);
	memory.listener = program_listen(&program, &address, name_size(way->listens), 64);
	memory.epoll = (int)CALL(&program, SYS_epoll_create1, 0);
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 42};
	CHECK(CALL(&program, SYS_epoll_ctl, memory.epoll, EPOLL_CTL_ADD, memory.listener, &e) == 0);
	message_put(channel, 'r', NULL, 0);
	memory.unread = accept_next();
	/* It has looked at the first two bytes, where the kernel can be asked to remember that. */
	int start = 0;
	char text[4];
	if (CALL(&program, SYS_setsockopt, memory.unread, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof(start)) == 0)
		CHECK(CALL(&program, SYS_recvfrom, memory.unread, text, 2, MSG_PEEK) == 2 && !memcmp(text, "un", 2));
	memory.closed = accept_next();
	memory.both = accept_next();
	memory.reset = accept_next();
	memory.bulk = accept_next();
	CHECK(CALL(&program, SYS_shutdown, memory.closed, SHUT_WR) == 0);
	CHECK(CALL(&program, SYS_fcntl, memory.bulk, F_SETFL, O_NONBLOCK) == 0);
	int room = 1 << 20; /* far more than is sent */
	CHECK(CALL(&program, SYS_setsockopt, memory.bulk, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0);
	for (long put; (put = CALL(&program, SYS_write, memory.bulk, bulk, sizeof(bulk))) > 0;)
		memory.bulk_written += (size_t)put;
	memory.connecting = (int)CALL(&program, SYS_socket, way->connects, SOCK_STREAM | SOCK_NONBLOCK, 0);
	/* Nobody answers at .9 before the move. */
	struct sockaddr_storage nobody = name_of(way->nobody, PORT), own = name_of(way->service, 0);
	CHECK(CALL(&program, SYS_bind, memory.connecting, &own, name_size(way->connects)) == 0);
	CHECK(CALL(&program, SYS_connect, memory.connecting, &nobody, name_size(way->connects)) ==
	      -EINPROGRESS);
	/* This one goes out from the host's own address, which stays. */
	memory.unbound = (int)CALL(&program, SYS_socket, way->connects, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(CALL(&program, SYS_connect, memory.unbound, &nobody, name_size(way->connects)) == -EINPROGRESS);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'g', &b);

	struct carry_options options = {.tcp_established = true};
	struct carry_source *s = program_offer(&program, channel, &options);
	program_freeze(s, channel, &memory, sizeof(memory));
	message_get(channel, 'c', &b);
	/* The address goes at once, not when neighbours have learnt: should this process die meanwhile, no two
	 * hosts have it for good. */
	char look[100];
	snprintf(look, sizeof(look), "sleep 0.15; ! ip -o addr show dev eth0 | grep -qF ' %s/'", way->service);
	FILE *looks = popen(look, "r");
	CHECK(looks);
	carry_source_forget(s);
	carry_source_close(s);
	CHECK(pclose(looks) == 0);
	program_close(&program);
	message_put(channel, 'd', NULL, 0);
}

static void read_exactly(int fd, const char *expected)
{
	char text[64] = {0};
	size_t size = strlen(expected);
	for (size_t got = 0; got < size;) {
		long n = CALL(&program, SYS_read, fd, text + got, size - got);
		CHECK(n > 0);
		got += (size_t)n;
	}
	CHECK(memcmp(text, expected, size) == 0);
}

static void arrive(int channel)
{
	struct bytes b = {0};
	char c;
	/* A kernel that takes little from a program which writes ahead of the network takes all that was written. */
	CHECK(system("echo 16384 >/proc/sys/net/ipv4/tcp_notsent_lowat") == 0);
	/* And one whose sockets are of one family unless told goes on with those of both. */
	CHECK(!testbed_has_ipv6() || system("echo 1 >/proc/sys/net/ipv6/bindv6only") == 0);
	struct carry_destination *d = program_arrive(&program, channel, &memory, sizeof(memory));
	message_get(channel, 'g', &b); /* the client has said the rest */

	/* Waiting to be accepted: told by poll and epoll, again and again, then accepted in order. */
	struct epoll_event events[8];
	struct pollfd p = {memory.listener, POLLIN, 0};
	for (int i = 0; i < 2; i++) {
		CHECK(CALL(&program, SYS_epoll_wait, memory.epoll, events, 8, 0) == 1 &&
		      events[0].data.u32 == 42);
		CHECK(CALL(&program, SYS_poll, &p, 1, -1) == 1 && p.revents == POLLIN);
	}
	struct sockaddr_storage name = {0};
	socklen_t size_of_name = sizeof(name);
	int first = (int)CALL(&program, SYS_accept4, memory.listener, &name, &size_of_name, SOCK_NONBLOCK);
	CHECK(first >= 0 && size_of_name == name_size(way->listens));
	if (way->listens == AF_INET)
		((struct sockaddr_in *)&name)->sin_port = 0;
	else
		((struct sockaddr_in6 *)&name)->sin6_port = 0;
	struct sockaddr_storage client = name_of(way->client, 0);
	CHECK(memcmp(&name, &client, size_of_name) == 0);
	CHECK(CALL(&program, SYS_fcntl, first, F_GETFL) & O_NONBLOCK);
	read_exactly(first, "first");
	int second = accept_next();
	read_exactly(second, "second");
	CHECK(CALL(&program, SYS_read, second, &c, 1) == 0); /* the client had closed it */
	CHECK(CALL(&program, SYS_epoll_wait, memory.epoll, events, 8, 0) == 0);

	int seen = -1;
	socklen_t size_of_seen = sizeof(seen);
	CHECK(CALL(&program, SYS_getsockopt, memory.unread, SOL_SOCKET, SO_PEEK_OFF, &seen, &size_of_seen) == 0);
	CHECK(seen < 0 || (CALL(&program, SYS_recvfrom, memory.unread, &c, 1, MSG_PEEK) == 1 && c == 'r'));
	read_exactly(memory.unread, "unread");
	CHECK(CALL(&program, SYS_read, memory.unread, &c, 1) == 0);
	CHECK(CALL(&program, SYS_write, memory.unread, "answer", 6) == 6);
	CHECK(CALL(&program, SYS_close, memory.unread) == 0);

	CHECK(CALL(&program, SYS_write, memory.closed, "x", 1) == -EPIPE);
	read_exactly(memory.closed, "still");
	CHECK(CALL(&program, SYS_read, memory.closed, &c, 1) == 0);
	CHECK(CALL(&program, SYS_close, memory.closed) == 0);

	CHECK(CALL(&program, SYS_read, memory.both, &c, 1) == 0);
	CHECK(CALL(&program, SYS_close, memory.both) == 0);
	CHECK(CALL(&program, SYS_read, memory.reset, &c, 1) == -ECONNRESET);
	CHECK(CALL(&program, SYS_write, memory.reset, &c, 1) == -EPIPE);

	CHECK(CALL(&program, SYS_fcntl, memory.bulk, F_SETFL, 0) == 0);
	CHECK(CALL(&program, SYS_write, memory.bulk, "end", 3) == 3);
	CHECK(CALL(&program, SYS_close, memory.bulk) == 0);

	for (int i = 0; i < 2; i++) {
		p = (struct pollfd){i ? memory.unbound : memory.connecting, POLLOUT, 0};
		CHECK(CALL(&program, SYS_poll, &p, 1, 3000) == 1 && p.revents == POLLOUT);
		CHECK(CALL(&program, SYS_write, p.fd, "hello", 5) == 5);
	}
	message_put(channel, 'r', &memory.bulk_written, sizeof(memory.bulk_written));
	carry_destination_finish(d);
	message_get(channel, 'g', &b);
}

static void host(int channel)
{
	struct bytes b = {0};
	program_open(&program);
	if (message_any(channel, &b) == 'L')
		leave(channel);
	else
		arrive(channel);
}

/* ---- the client ---- */

static int client_connect(const char *text)
{
	struct sockaddr_storage address = name_of(way->service, PORT);
	int fd = socket(way->connects, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = 10};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	CHECK(connect(fd, (struct sockaddr *)&address, name_size(way->connects)) == 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void client(int channel)
{
	struct bytes b = {0};
	char text[65536];
	message_get(channel, 'S', &b);
	int unread = client_connect("unread");
	int closed = client_connect("");
	int both = client_connect("");
	int reset = client_connect("");
	int bulk = client_connect("");
	shutdown(unread, SHUT_WR);
	CHECK(read(closed, text, 1) == 0); /* the server shuts this one */
	shutdown(both, SHUT_RDWR);
	struct linger linger = {.l_onoff = 1};
	setsockopt(reset, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(reset);
	int first = client_connect("first");
	int second = client_connect("second");
	shutdown(second, SHUT_WR);
	sleep_us(50000);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'M', &b); /* moved */
	CHECK(write(closed, "still", 5) == 5);
	shutdown(closed, SHUT_WR);
	CHECK(system(way->add_nobody) == 0);
	int listener = socket(way->connects, SOCK_STREAM, 0);
	struct sockaddr_storage late = name_of(way->nobody, PORT);
	CHECK(bind(listener, (struct sockaddr *)&late, name_size(way->connects)) == 0 &&
	      listen(listener, 1) == 0);
	sleep_us(50000);
	message_put(channel, 'r', NULL, 0);
	CHECK(read(unread, text, 6) == 6 && memcmp(text, "answer", 6) == 0);
	CHECK(read(unread, text, 1) == 0);
	message_get(channel, 'B', &b); /* how much was written */
	size_t written, total = 0;
	memcpy(&written, b.data, sizeof(written));
	for (ssize_t got; (got = read(bulk, text, sizeof(text))) > 0; total += (size_t)got)
		for (ssize_t i = 0; i < got; i++)
			CHECK(text[i] ==
			      (total + (size_t)i < written ? 'b' : "end"[total + (size_t)i - written]));
	if (total != written + 3)
		fprintf(stderr, "bulk: %zu bytes written, %zu arrived\n", written + 3, total);
	CHECK(total == written + 3);
	struct pollfd p = {listener, POLLIN, 0};
	for (int i = 0; i < 2; i++) {
		CHECK(poll(&p, 1, 5000) == 1);
		int accepted = accept(listener, NULL, NULL);
		CHECK(read(accepted, text, 5) == 5 && memcmp(text, "hello", 5) == 0);
	}
	(void)first;
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'E', &b);
}

static void move(void)
{
	struct bytes b = {0};
	int source, destination, clients;
	testbed_open();
	testbed_host(host, &source);
	testbed_host(host, &destination);
	testbed_host(client, &clients);
	message_put(source, 'L', NULL, 0);
	message_put(destination, 'T', NULL, 0);
	message_get(source, 'r', &b);
	message_put(clients, 'S', NULL, 0);
	message_get(source, 'r', &b);
	message_get(clients, 'r', &b);
	message_put(source, 'g', NULL, 0);
	message_pass(source, destination, 'm');
	message_pass(destination, source, 'a');
	message_pass(source, destination, 's');
	message_get(destination, 'r', &b);
	message_put(destination, 'c', NULL, 0);
	message_put(source, 'c', NULL, 0);
	message_get(destination, 'd', &b);
	message_put(clients, 'M', NULL, 0);
	message_get(clients, 'r', &b);
	message_put(destination, 'g', NULL, 0);
	message_get(destination, 'r', &b);
	message_put(clients, 'B', b.data, b.size);
	message_get(clients, 'r', &b);
	message_get(source, 'd', &b);
	testbed_close();
	bytes_free(&b);
}

int main(void)
{
	testbed_require();
	for (; way < ways + sizeof(ways) / sizeof(ways[0]); way++) {
		if (way->listens == AF_INET6 && !testbed_has_ipv6())
			continue;
		printf("%s\n", way->name);
		move();
	}
	return 0;
}
