/* SPDX-License-Identifier: Apache-2.0
 *
 * A server with very many connections is moved back and forth, a tenth of them
 * with a request not yet read. Every connection answers after every move. The
 * time each end spends while the program stands still is printed.
 *
 *   many [connections] [moves]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define SERVICE "10.77.0.100"
#define PORT 7000
#define MOVES_MAX 1000
#define EARLY 10 /* every so-manieth connection has a request waiting when the program stops */

static unsigned connections = 1000, moves = 4;
static struct program program;

/* The program's memory. */
static struct {
	int epoll, listener;
} server;

static void server_start(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	CHECK(system("ip addr add " SERVICE "/32 dev eth0") == 0);
	server.listener = (int)CALL(&program, SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(CALL(&program, SYS_bind, server.listener, &address, sizeof(address)) == 0);
	CHECK(CALL(&program, SYS_listen, server.listener, 4096) == 0);
	server.epoll = (int)CALL(&program, SYS_epoll_create1, 0);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = server.listener};
	CHECK(CALL(&program, SYS_epoll_ctl, server.epoll, EPOLL_CTL_ADD, server.listener, &event) == 0);
}

static void server_accept(void)
{
	int on = 1, idle = 300;
	long fd;
	while ((fd = CALL(&program, SYS_accept4, server.listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
		/* What a server sets. */
		CALL(&program, SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		CALL(&program, SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		CALL(&program, SYS_setsockopt, fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
		struct epoll_event event = {.events = EPOLLIN, .data.fd = (int)fd};
		CHECK(CALL(&program, SYS_epoll_ctl, server.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	}
	CHECK(fd == -EAGAIN);
}

/* Until so many requests are answered. */
static void server_answer(unsigned requests)
{
	struct epoll_event events[64];
	for (unsigned answered = 0; answered < requests;) {
		long count = CALL(&program, SYS_epoll_wait, server.epoll, events, 64, 5000);
		CHECK(count > 0);
		for (long i = 0; i < count; i++) {
			uint64_t number;
			int fd = events[i].data.fd;
			if (fd == server.listener) {
				server_accept();
				continue;
			}
			CHECK(CALL(&program, SYS_recvfrom, fd, &number, 8, 0) == 8);
			number++;
			CHECK(CALL(&program, SYS_sendto, fd, &number, 8, MSG_NOSIGNAL) == 8);
			answered++;
		}
	}
}

/* ---- hosts ---- */

struct times {
	uint64_t freeze, restore, release;
	uint64_t source_cpu, destination_cpu; /* of these: what other programs of the machine do not add to */
	uint64_t bytes;
};

static uint64_t cpu_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void host_leave(int channel)
{
	struct carry_options options = {.tcp_established = true};
	struct failure why = {0};
	struct bytes b = {0}, state = {0};
	struct times times = {0};
	struct carry_source *s = program_offer(&program, channel, &options);
	message_put(channel, 'p', NULL, 0);
	message_get(channel, 'f', &b); /* some requests are under way */
	program_must(carry_source_calm(s, &why), &why);
	uint64_t start = now_us(), cpu = cpu_us();
	program_must(carry_source_freeze(s, &state, &why), &why);
	times.freeze = now_us() - start;
	times.source_cpu = cpu_us() - cpu;
	times.bytes = state.size;
	bytes_put(&state, &server, sizeof(server));
	bytes_put(&state, &times, sizeof(times));
	message_put(channel, 's', state.data, state.size);
	message_get(channel, 'c', &b);
	carry_source_forget(s);
	carry_source_close(s);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
	bytes_free(&state);
}

static void host_take(int channel)
{
	struct failure why = {0};
	struct bytes b = {0};
	struct times times;
	struct carry_destination *d = program_answer(&program, channel);
	message_get(channel, 's', &b);
	size_t size = b.size - sizeof(times) - sizeof(server);
	memcpy(&server, b.data + size, sizeof(server));
	memcpy(&times, b.data + size + sizeof(server), sizeof(times));
	uint64_t start = now_us(), cpu = cpu_us();
	b.size = size;
	program_must(carry_destination_restore(d, &b, &why), &why);
	times.restore = now_us() - start;
	times.destination_cpu = cpu_us() - cpu;
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'c', &b);
	start = now_us();
	cpu = cpu_us();
	program_must(carry_destination_release(d, &why), &why);
	times.release = now_us() - start;
	times.destination_cpu += cpu_us() - cpu;
	message_put(channel, 'd', &times, sizeof(times));
	server_answer((connections + EARLY - 1) / EARLY);
	carry_destination_finish(d);
	message_put(channel, 'd', NULL, 0);
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
			break;
		case 'A':
			server_answer(connections);
			break;
		case 'L':
			host_leave(channel);
			continue;
		case 'T':
			host_take(channel);
			continue;
		default:
			CHECK(!"message");
		}
		message_put(channel, 'd', NULL, 0);
	}
}

/* ---- the client ---- */

static int *client_fd;
static uint64_t *client_number;

static void client_ask(unsigned step)
{
	for (unsigned i = 0; i < connections; i += step)
		CHECK(write(client_fd[i], &client_number[i], 8) == 8);
}

static void client_hear(unsigned step)
{
	for (unsigned i = 0; i < connections; i += step) {
		uint64_t answer;
		CHECK(recv(client_fd[i], &answer, 8, MSG_WAITALL) == 8);
		CHECK(answer == client_number[i] + 1);
		client_number[i] += 1000003;
	}
}

static void client_connect(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(SERVICE)};
	struct timeval limit = {.tv_sec = 20};
	client_fd = calloc(connections, sizeof(*client_fd));
	client_number = calloc(connections, sizeof(*client_number));
	CHECK(client_fd && client_number);
	for (unsigned i = 0; i < connections; i++) {
		client_fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		client_number[i] = i;
		CHECK(client_fd[i] >= 0);
		setsockopt(client_fd[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		CHECK(connect(client_fd[i], (struct sockaddr *)&address, sizeof(address)) == 0);
		CHECK(write(client_fd[i], &client_number[i], 8) == 8);
	}
}

static void client(int channel)
{
	struct bytes b = {0};
	for (;;) {
		switch (message_any(channel, &b)) {
		case 'C':
			client_connect();
			client_hear(1);
			break;
		case 'e':
			client_ask(EARLY);
			break;
		case 'h':
			client_hear(EARLY);
			break;
		case 'V':
			client_ask(1);
			client_hear(1);
			break;
		default:
			CHECK(!"message");
		}
		message_put(channel, 'd', NULL, 0);
	}
}

/* ---- the test ---- */

static void order(int to, uint8_t type)
{
	message_put(to, type, NULL, 0);
}

static void done(int from)
{
	struct bytes b = {0};
	message_get(from, 'd', &b);
	bytes_free(&b);
}

static struct times move(int from, int to, int clients)
{
	struct bytes b = {0};
	struct times times;
	order(to, 'T');
	order(from, 'L');
	message_pass(from, to, 'm');
	message_pass(to, from, 'a');
	message_get(from, 'p', &b);
	order(clients, 'e');
	done(clients);
	order(from, 'f');
	message_pass(from, to, 's');
	message_get(to, 'r', &b);
	order(to, 'c');
	order(from, 'c');
	message_get(to, 'd', &b);
	memcpy(&times, b.data, sizeof(times));
	bytes_free(&b);
	order(clients, 'h');
	done(clients);
	done(from);
	done(to);
	order(to, 'A');
	order(clients, 'V');
	done(clients);
	done(to);
	return times;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static uint64_t median(const struct times *t, size_t field)
{
	static uint64_t value[MOVES_MAX];
	for (unsigned i = 0; i < moves; i++)
		memcpy(&value[i], (const char *)&t[i] + field, sizeof(value[i]));
	qsort(value, moves, sizeof(value[0]), compare);
	return value[moves / 2];
}

int main(int argc, char **argv)
{
	static struct times times[MOVES_MAX];
	struct rlimit limit;
	int channel[2], clients;
	if (argc > 1)
		connections = (unsigned)atoi(argv[1]);
	if (argc > 2)
		moves = (unsigned)atoi(argv[2]);
	CHECK(connections > 0 && moves > 0 && moves <= MOVES_MAX);
	testbed_require();
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < connections + 100) {
		printf("needs %u descriptors a process, this one may have %lu\n", connections + 100,
		       (unsigned long)limit.rlim_max);
		return SKIP;
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	testbed_open();
	testbed_host(host, &channel[0]);
	testbed_host(host, &channel[1]);
	testbed_host(client, &clients);
	order(channel[0], 'S');
	done(channel[0]);
	order(channel[0], 'A');
	order(clients, 'C');
	done(clients);
	done(channel[0]);
	for (unsigned i = 0; i < moves; i++)
		times[i] = move(channel[i % 2], channel[(i + 1) % 2], clients);
	double n = connections;
	uint64_t freeze = median(times, offsetof(struct times, freeze)),
		 restore = median(times, offsetof(struct times, restore)),
		 release = median(times, offsetof(struct times, release));
	printf("{\"connections\":%u,\"moves\":%u,\"freeze_us\":%lu,\"restore_us\":%lu,\"release_us\":%lu,"
	       "\"state_bytes\":%lu,\"source_us_per_connection\":%.1f,\"destination_us_per_connection\":%.1f,"
	       "\"source_cpu_us_per_connection\":%.1f,\"destination_cpu_us_per_connection\":%.1f}\n",
	       connections, moves, freeze, restore, release, median(times, offsetof(struct times, bytes)),
	       (double)freeze / n, (double)(restore + release) / n,
	       (double)median(times, offsetof(struct times, source_cpu)) / n,
	       (double)median(times, offsetof(struct times, destination_cpu)) / n);
	testbed_close();
	return 0;
}
