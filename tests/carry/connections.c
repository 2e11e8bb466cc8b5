/* SPDX-License-Identifier: Apache-2.0
 *
 * A server with many connections is moved back and forth between two hosts.
 * Clients on a third check every byte, and none may see an error, a
 * retransmission or a long silence: request-response, streams in both
 * directions, ever new short connections, and one that is answered with
 * acknowledgements only; over IPv4, over IPv6, and over IPv4
 * to a socket that listens for both.
 *
 *   connections [moves] [request-response connections]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/net/steer.h"
#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define SERVICE "10.77.0.100"
#define SERVICE_IPV6 "fd77::100"
#define PORT 7000      /* IPv4, bound to the service's address */
#define PORT_BOTH 7001 /* IPv6 and IPv4, bound to none */
#define DESCRIPTORS 2048
#define STREAM_PIECE 32768

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at ^ at >> 8 ^ at >> 16);
}

/* ---- the server ---- */

/* Its memory: what moves beside the descriptors. */
struct server {
	int epoll, listener[2];
	struct {
		char type; /* 0: not told yet; 'R'equests, 'U'p stream, 'D'own stream, 'N'ew connections, 'A'cknowledged */
		uint64_t done;
	} connection[DESCRIPTORS];
};

static struct program program;
static struct server server;

static int server_listen(int family, const void *address, socklen_t size)
{
	int on = 1;
	int fd = (int)CALL(&program, SYS_socket, family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(CALL(&program, SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
	CHECK(CALL(&program, SYS_bind, fd, address, size) == 0);
	CHECK(CALL(&program, SYS_listen, fd, 511) == 0);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	CHECK(CALL(&program, SYS_epoll_ctl, server.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	return fd;
}

static void server_start(void)
{
	struct sockaddr_in own = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT_BOTH)};
	struct sockaddr_in6 both = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_BOTH)};
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	server.epoll = (int)CALL(&program, SYS_epoll_create1, 0);
	server.listener[0] = server_listen(AF_INET, &own, sizeof(own));
	if (testbed_has_ipv6()) {
		CHECK(system("ip addr add " SERVICE_IPV6 "/128 dev eth0 nodad") == 0);
		server.listener[1] = server_listen(AF_INET6, &both, sizeof(both));
	} else {
		server.listener[1] = server_listen(AF_INET, &any, sizeof(any));
	}
}

static void server_accept(int listener)
{
	int on = 1;
	long fd;
	while ((fd = CALL(&program, SYS_accept4, listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
		CHECK(fd < DESCRIPTORS);
		memset(&server.connection[fd], 0, sizeof(server.connection[fd]));
		CALL(&program, SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)fd};
		CHECK(CALL(&program, SYS_epoll_ctl, server.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	}
	CHECK(fd == -EAGAIN);
}

static void server_read(int fd)
{
	static uint8_t buffer[262144];
	char *type = &server.connection[fd].type;
	size_t size = *type == 0 ? 1 : *type == 'R' ? 8 : sizeof(buffer);
	long got = CALL(&program, SYS_recvfrom, fd, buffer, size, 0);
	if (got == -EAGAIN)
		return;
	if (got <= 0) {
		if (got < 0)
			fprintf(stderr, "server: read of a '%c' connection: %s\n", *type,
				strerror((int)-got));
		CHECK(got == 0 && (*type == 'N' || *type == 0));
		CALL(&program, SYS_close, fd);
		return;
	}
	uint64_t *done = &server.connection[fd].done;
	if (*type == 0) {
		*type = (char)buffer[0];
		if (*type == 'N')
			CHECK(CALL(&program, SYS_sendto, fd, "N", 1, MSG_NOSIGNAL) == 1);
	} else if (*type == 'R') {
		uint64_t number;
		memcpy(&number, buffer, 8);
		CHECK(got == 8 && number == *done);
		++*done;
		++number;
		CHECK(CALL(&program, SYS_sendto, fd, &number, 8, MSG_NOSIGNAL) == 8);
	} else if (*type == 'U') {
		for (long i = 0; i < got; i++)
			CHECK(buffer[i] == pattern(*done + (uint64_t)i));
		*done += (uint64_t)got;
	}
	/* as late as the kernel may: it owes one nearly all the time */
	int soon = 0;
	if (*type == 'A')
		CHECK(CALL(&program, SYS_setsockopt, fd, IPPROTO_TCP, TCP_QUICKACK, &soon, sizeof(soon)) == 0);
}

static void server_stream(void)
{
	static uint8_t buffer[STREAM_PIECE];
	for (int fd = 0; fd < DESCRIPTORS; fd++) {
		if (server.connection[fd].type != 'D')
			continue;
		uint64_t *done = &server.connection[fd].done;
		for (int i = 0; i < STREAM_PIECE; i++)
			buffer[i] = pattern(*done + (uint64_t)i);
		long put = CALL(&program, SYS_sendto, fd, buffer, STREAM_PIECE, MSG_NOSIGNAL);
		CHECK(put > 0 || put == -EAGAIN);
		*done += put > 0 ? (uint64_t)put : 0;
	}
}

static void server_run(uint64_t us)
{
	uint64_t end = now_us() + us, next = 0;
	struct epoll_event events[64];
	for (uint64_t now; (now = now_us()) < end;) {
		long count = CALL(&program, SYS_epoll_wait, server.epoll, events, 64, 1);
		CHECK(count >= 0);
		for (long i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (fd == server.listener[0] || fd == server.listener[1])
				server_accept(fd);
			else
				server_read(fd);
		}
		if (now >= next) {
			next = now + 1000;
			server_stream();
		}
	}
}

/* ---- what clients see, in memory all processes share ---- */

struct gauge {
	uint64_t since;	   /* waiting since; 0: not waiting */
	uint64_t worst_us; /* longest wait since the parent cleared it */
	uint64_t count, errors;
};

#define CLIENTS_MAX 1100
#define MOVES_MAX 1000
static struct shared {
	struct gauge gauge[CLIENTS_MAX];
	long retransmitted, probes, timeouts, resets;
	uint64_t acknowledged_us; /* the longest that an acknowledgement took, since the parent cleared it */
} *shared;
static unsigned request_clients = 20;

static uint64_t worst_us(void)
{
	uint64_t worst = 0, now = now_us();
	for (unsigned i = 0; i < request_clients + 3; i++) {
		const struct gauge *g = &shared->gauge[i];
		uint64_t since = g->since, waiting = since && since < now ? now - since : 0;
		if (g->worst_us > worst)
			worst = g->worst_us;
		if (waiting > worst)
			worst = waiting;
	}
	return worst;
}

/* The longest that somebody waits now. */
static uint64_t waiting_us(void)
{
	uint64_t longest = 0, now = now_us();
	for (unsigned i = 0; i < request_clients + 3; i++) {
		uint64_t since = shared->gauge[i].since, waiting = since && since < now ? now - since : 0;
		longest = waiting > longest ? waiting : longest;
	}
	return longest;
}

static uint64_t take_worst_us(void)
{
	uint64_t worst = worst_us();
	for (unsigned i = 0; i < request_clients + 3; i++)
		shared->gauge[i].worst_us = 0;
	return worst;
}

/* ---- hosts ---- */

struct times {
	uint64_t freeze, restore, release, total;
	/* The longest wait of a client from the stop on, and in as long a time after that. */
	uint64_t silence, undisturbed;
	uint32_t bytes;
};
#define WINDOW_US 500000
#define QUIET_US 30000
#define RETRANSMIT_US 200000 /* no kernel repeats earlier what is a single segment */

/* The source's side; the parent relays messages between the hosts. */
static void host_leave(int channel, bool undo)
{
	steer_avoid_tcx = !steer_avoid_tcx; /* every other time as on an older kernel */
	struct carry_options options = {.tcp_established = true};
	struct failure why = {0};
	struct bytes b = {0}, state = {0};
	struct carry_source *s = program_offer(&program, channel, &options);
	/* This server has one thread, so it stood still in prepare, which an enclave does not. */
	for (unsigned tries = 0; tries < 60 && (!tries || waiting_us() > QUIET_US); tries++)
		server_run(50000);
	take_worst_us();
	program_must(carry_source_calm(s, &why), &why);
	server_run(1000);
	struct times times = {.total = now_us()};
	program_must(carry_source_freeze(s, &state, &why), &why);
	times.freeze = now_us() - times.total;
	times.bytes = (uint32_t)state.size;
	bytes_put(&state, &server, sizeof(server));
	bytes_put(&state, &times, sizeof(times));
	message_put(channel, 's', state.data, state.size);
	message_get(channel, undo ? 'x' : 'c', &b);
	if (undo) {
		program_must(carry_source_undo(s, &why), &why);
		server_run(1500000);
	} else {
		carry_source_forget(s);
	}
	carry_source_close(s);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
	bytes_free(&state);
}

static void *finish(void *destination)
{
	carry_destination_finish(destination);
	return NULL;
}

/* Kernels know of each connection how large segments may be, and have no absurd idea of how far away its peer is. */
static void must_go_on_as_before(void)
{
	for (int fd = 0; fd < DESCRIPTORS; fd++) {
		struct tcp_info info = {0};
		socklen_t size = sizeof(info);
		if (!server.connection[fd].type || CALL(&program, SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
			continue;
		CHECK(info.tcpi_snd_mss > 1400);
		CHECK(info.tcpi_rtt < 500000);
	}
}

static void host_take(int channel, bool undo)
{
	struct failure why = {0};
	struct bytes b = {0};
	struct carry_destination *d = program_answer(&program, channel);
	message_get(channel, 's', &b);
	struct times times;
	memcpy(&times, b.data + b.size - sizeof(times), sizeof(times));
	uint64_t start = now_us();
	size_t size = b.size - sizeof(times) - sizeof(server);
	memcpy(&server, b.data + size, sizeof(server));
	b.size = size;
	program_must(carry_destination_restore(d, &b, &why), &why);
	times.restore = now_us() - start;
	message_put(channel, 'r', NULL, 0);
	message_get(channel, undo ? 'x' : 'c', &b);
	if (undo) {
		carry_destination_discard(d);
		message_put(channel, 'd', NULL, 0);
	} else {
		start = now_us();
		program_must(carry_destination_release(d, &why), &why);
		uint64_t end = now_us();
		times.release = end - start;
		times.total = end - times.total;
		pthread_t thread;
		CHECK(pthread_create(&thread, NULL, finish, d) == 0);
		server_run(20000);
		must_go_on_as_before();
		server_run(WINDOW_US - 20000);
		times.silence = take_worst_us();
		server_run(WINDOW_US);
		times.undisturbed = take_worst_us();
		pthread_join(thread, NULL);
		message_put(channel, 'd', &times, sizeof(times));
	}
	bytes_free(&b);
}

static void host(int channel)
{
	struct bytes b = {0};
	program_open(&program);
	for (;;) {
		switch (message_any(channel, &b)) {
		case 'S':
			server_start();
			message_put(channel, 'd', NULL, 0);
			server_run(1500000);
			message_put(channel, 'd', NULL, 0);
			break;
		case 'L':
			host_leave(channel, false);
			break;
		case 'T':
			host_take(channel, false);
			break;
		case 'l':
			host_leave(channel, true);
			break;
		case 't':
			host_take(channel, true);
			break;
		case 'E':
			/* Clients go before the server does. */
			program_close(&program);
			_exit(0);
		default:
			CHECK(!"message");
		}
	}
}

/* ---- clients ---- */

static void gauge_begin(struct gauge *g)
{
	g->since = now_us();
}

static void gauge_end(struct gauge *g)
{
	uint64_t waited = now_us() - g->since;
	if (waited > g->worst_us)
		g->worst_us = waited;
	g->count++;
	g->since = 0;
}

static void client_failed(struct gauge *g, const char *what)
{
	fprintf(stderr, "client: %s: %m\n", what);
	g->errors++;
	pthread_exit(NULL);
}

/* Which way a client goes by its number. */
static int client_connect(uint64_t way, char type)
{
	struct sockaddr_in four = {.sin_family = AF_INET,
				   .sin_port = htons(way % 3 ? PORT_BOTH : PORT),
				   .sin_addr.s_addr = inet_addr(SERVICE)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(PORT_BOTH)};
	CHECK(inet_pton(AF_INET6, SERVICE_IPV6, &six.sin6_addr) == 1);
	bool ipv6 = way % 3 == 2 && testbed_has_ipv6();
	int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (connect(fd, ipv6 ? (struct sockaddr *)&six : (struct sockaddr *)&four,
		    ipv6 ? sizeof(six) : sizeof(four)) < 0 ||
	    write(fd, &type, 1) != 1) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void *client_requests(void *gauge)
{
	struct gauge *g = gauge;
	int fd = client_connect((uint64_t)(g - shared->gauge), 'R');
	if (fd < 0)
		client_failed(g, "connect");
	for (uint64_t i = 0;; i++) {
		uint64_t answer;
		gauge_begin(g);
		if (write(fd, &i, 8) != 8)
			client_failed(g, "request");
		if (recv(fd, &answer, 8, MSG_WAITALL) != 8)
			client_failed(g, "answer");
		if (answer != i + 1)
			client_failed(g, "wrong answer");
		gauge_end(g);
		sleep_us(1000);
	}
}

static void *client_up(void *gauge)
{
	static uint8_t buffer[STREAM_PIECE];
	struct gauge *g = gauge;
	int fd = client_connect(2, 'U');
	if (fd < 0)
		client_failed(g, "connect");
	for (uint64_t done = 0;;) {
		for (unsigned i = 0; i < sizeof(buffer); i++)
			buffer[i] = pattern(done + i);
		gauge_begin(g);
		for (size_t at = 0; at < sizeof(buffer);) {
			ssize_t put = write(fd, buffer + at, sizeof(buffer) - at);
			if (put <= 0)
				client_failed(g, "stream up");
			at += (size_t)put;
		}
		done += sizeof(buffer);
		gauge_end(g);
		sleep_us(1000);
	}
}

static void *client_down(void *gauge)
{
	static uint8_t buffer[262144];
	struct gauge *g = gauge;
	int fd = client_connect(1, 'D');
	if (fd < 0)
		client_failed(g, "connect");
	for (uint64_t done = 0;;) {
		gauge_begin(g);
		ssize_t got = read(fd, buffer, sizeof(buffer));
		if (got <= 0)
			client_failed(g, "stream down");
		gauge_end(g);
		for (ssize_t i = 0; i < got; i++) {
			if (buffer[i] != pattern(done + (uint64_t)i)) {
				errno = EIO;
				client_failed(g, "wrong byte");
			}
		}
		done += (uint64_t)got;
	}
}

static void *client_new(void *gauge)
{
	struct gauge *g = gauge;
	for (;;) {
		char answer;
		gauge_begin(g);
		int fd = client_connect(g->count, 'N');
		if (fd < 0 || read(fd, &answer, 1) != 1 || answer != 'N')
			client_failed(g, "new connection");
		gauge_end(g);
		close(fd);
		sleep_us(1500);
	}
}

static void *client_acknowledged(void *unused)
{
	int fd = client_connect(0, 'A');
	(void)unused;
	CHECK(fd >= 0);
	for (;;) {
		uint64_t begun = now_us();
		int queued = 1;
		CHECK(write(fd, "a", 1) == 1);
		while (queued) {
			sleep_us(500);
			CHECK(ioctl(fd, SIOCOUTQ, &queued) == 0);
		}
		uint64_t took = now_us() - begun;
		if (took > shared->acknowledged_us)
			shared->acknowledged_us = took;
	}
}

static void clients(int channel)
{
	struct bytes b = {0};
	message_get(channel, 'S', &b);
	pthread_t thread;
	unsigned i = 0;
	for (; i < request_clients; i++)
		CHECK(pthread_create(&thread, NULL, client_requests, &shared->gauge[i]) == 0);
	CHECK(pthread_create(&thread, NULL, client_up, &shared->gauge[i++]) == 0);
	CHECK(pthread_create(&thread, NULL, client_down, &shared->gauge[i++]) == 0);
	CHECK(pthread_create(&thread, NULL, client_new, &shared->gauge[i++]) == 0);
	CHECK(pthread_create(&thread, NULL, client_acknowledged, NULL) == 0);
	for (;;) {
		shared->retransmitted = network_counter("RetransSegs");
		shared->probes = network_counter("TCPLossProbes");
		shared->timeouts = network_counter("TCPTimeouts");
		shared->resets = network_counter("EstabResets");
		sleep_us(20000);
	}
}

/* ---- the test ---- */

static uint64_t errors(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < request_clients + 3; i++)
		sum += shared->gauge[i].errors;
	return sum;
}

/* Until the destination is ready. */
static void begin_move(int from, int to, bool undo)
{
	struct bytes b = {0};
	message_put(to, undo ? 't' : 'T', NULL, 0);
	message_put(from, undo ? 'l' : 'L', NULL, 0);
	message_pass(from, to, 'm');
	message_pass(to, from, 'a');
	message_pass(from, to, 's');
	message_get(to, 'r', &b);
	bytes_free(&b);
}

static int compare_us(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static int compare_long(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;
	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	unsigned moves = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
	request_clients = argc > 2 ? (unsigned)atoi(argv[2]) : 20;
	CHECK(moves > 0 && moves <= MOVES_MAX && request_clients <= CLIENTS_MAX - 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	testbed_require();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	testbed_open();
	int channel[2], client, at = 0;
	struct bytes b = {0};
	pid_t pid[2] = {testbed_host(host, &channel[0]), testbed_host(host, &channel[1])};
	testbed_host(clients, &client);
	message_put(channel[0], 'S', NULL, 0);
	message_get(channel[0], 'd', &b);
	message_put(client, 'S', NULL, 0);
	message_get(channel[0], 'd', &b);
	long retransmitted = shared->retransmitted, timeouts = shared->timeouts, resets = shared->resets;
	static uint64_t silence[MOVES_MAX], undisturbed[MOVES_MAX], total[MOVES_MAX], acknowledged[MOVES_MAX];
	static long lost[MOVES_MAX];
	struct times sum = {0};
	for (unsigned i = 0; i < moves; i++) {
		int to = !at;
		long before = shared->retransmitted - shared->probes;
		shared->acknowledged_us = 0;
		begin_move(channel[at], channel[to], false);
		message_put(channel[to], 'c', NULL, 0);
		message_put(channel[at], 'c', NULL, 0);
		message_get(channel[to], 'd', &b);
		struct times times;
		memcpy(&times, b.data, sizeof(times));
		message_get(channel[at], 'd', &b);
		silence[i] = times.silence;
		undisturbed[i] = times.undisturbed;
		acknowledged[i] = shared->acknowledged_us;
		/* An idle moment's probe is counted as retransmitted, and is none. */
		lost[i] = shared->retransmitted - shared->probes - before;
		total[i] = times.total;
		sum.freeze += times.freeze;
		sum.restore += times.restore;
		sum.release += times.release;
		if (getenv("VERBOSE"))
			printf("move %u: switch %lu us (freeze %lu restore %lu release %lu), %u bytes, worst "
			       "silence %lu us, "
			       "retransmitted %ld\n",
			       i, times.total, times.freeze, times.restore, times.release, times.bytes,
			       silence[i], shared->retransmitted - retransmitted);
		CHECK(errors() == 0);
		at = to;
	}
	sleep_us(50000);
	qsort(silence, moves, sizeof(silence[0]), compare_us);
	qsort(undisturbed, moves, sizeof(undisturbed[0]), compare_us);
	qsort(total, moves, sizeof(total[0]), compare_us);
	qsort(acknowledged, moves, sizeof(acknowledged[0]), compare_us);
	qsort(lost, moves, sizeof(lost[0]), compare_long);
	retransmitted = shared->retransmitted - retransmitted;
	timeouts = shared->timeouts - timeouts;
	resets = shared->resets - resets;
	printf(
	    "%u moves of %u connections: switch %lu us (median; freeze %lu, restore %lu, release %lu), worst "
	    "silence %lu us (median), %lu us (99th percentile), %lu us (max), without a move %lu, %lu, %lu "
	    "us; acknowledgement %lu us (median of the longest); "
	    "retransmissions %ld, time-outs %ld, resets %ld, errors %lu\n",
	    moves, request_clients + 3, total[moves / 2], sum.freeze / moves, sum.restore / moves,
	    sum.release / moves, silence[moves / 2], silence[moves * 99 / 100], silence[moves - 1],
	    undisturbed[moves / 2], undisturbed[moves * 99 / 100], undisturbed[moves - 1], acknowledged[moves / 2], retransmitted,
	    timeouts, resets, errors());
	CHECK(errors() == 0);
	CHECK(resets == 0);
	/* A machine that is short of processors may delay an acknowledgement past its time now and then; a
	 * packet lost in the switch would show in nearly every move. */
	CHECK(lost[moves / 4] <= 0);
	/* What the kernel of the source owed, nobody else does: peers would repeat what came long ago. */
	CHECK(acknowledged[moves / 4] < RETRANSMIT_US);

	/* An undone move loses nothing either, nor does one whose destination dies at the last moment. */
	for (int killed = 0; killed <= 1; killed++) {
		uint64_t before[CLIENTS_MAX];
		begin_move(channel[at], channel[!at], true);
		for (unsigned i = 0; i < request_clients + 3; i++)
			before[i] = shared->gauge[i].count;
		if (killed)
			kill(pid[!at], SIGKILL);
		else
			message_put(channel[!at], 'x', NULL, 0);
		message_put(channel[at], 'x', NULL, 0);
		message_get(channel[at], 'd', &b);
		if (!killed)
			message_get(channel[!at], 'd', &b);
		printf("%s: worst silence %lu us, errors %lu\n", killed ? "destination killed" : "undone",
		       take_worst_us(), errors());
		CHECK(errors() == 0);
		for (unsigned i = 0; i < request_clients + 3; i++)
			CHECK(shared->gauge[i].count > before[i]);
	}
	testbed_close();
	bytes_free(&b);
	return 0;
}
