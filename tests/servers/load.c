/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/servers/load.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define SILENCE_GIVE_UP_S 30

static const char usage_text[] = "usage: load redis|memcached|http HOST PORT [--seed N]\n"
				 "       load files DIRECTORY\n"
				 "Works until SIGTERM, then says as JSON what it saw; \"ready\" once all connections are up.\n";

static const char *host, *port;
static atomic_bool is_over;
static atomic_uint failures, connected;

bool load_is_over(void)
{
	return is_over;
}

uint64_t load_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void load_pause_us(uint64_t us)
{
	nanosleep(&(struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000}, NULL);
}

_Noreturn void peer_fail(struct peer *p, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "load: %s %u, after %llu answers: %s\n", p->role, p->id, (unsigned long long)p->operations, text);
	failures++;
	pthread_exit(NULL);
}

uint64_t peer_random(struct peer *p, uint64_t below)
{
	p->random = p->random * 6364136223846793005u + 1442695040888963407u;
	return (p->random >> 33) % below;
}

void noise_text(uint64_t seed, char *out, size_t size)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;

	for (size_t i = 0; i < size; i++) {
		x ^= x >> 12, x ^= x << 25, x ^= x >> 27; /* xorshift64: never 0 */
		out[i] = (char)('0' + (x >> 20) % 75);
	}
	out[size] = 0;
}

void peer_connect(struct peer *p)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	struct timeval patience = {.tv_sec = SILENCE_GIVE_UP_S};
	int one = 1;

	if (getaddrinfo(host, port, &hints, &list))
		peer_fail(p, "%s is not an address", host);
	p->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || connect(p->fd, list->ai_addr, list->ai_addrlen))
		peer_fail(p, "cannot connect: %s", strerror(errno));
	freeaddrinfo(list);
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!p->in) {
		p->in = malloc(PEER_BUFFER + 1);
		p->out = malloc(PEER_BUFFER);
	}
	if (!p->in || !p->out)
		peer_fail(p, "out of memory");
	p->in_start = p->in_end = p->out_size = 0;
	connected++;
}

void peer_close(struct peer *p)
{
	close(p->fd);
	p->fd = -1;
}

void peer_flush(struct peer *p)
{
	for (size_t sent = 0; sent < p->out_size;) {
		ssize_t n = send(p->fd, p->out + sent, p->out_size - sent, MSG_NOSIGNAL);
		if (n < 0)
			peer_fail(p, "sending: %s", strerror(errno));
		sent += (size_t)n;
	}
	p->out_size = 0;
}

void peer_put(struct peer *p, const void *data, size_t size)
{
	if (p->out_size + size > PEER_BUFFER)
		peer_flush(p);
	memcpy(p->out + p->out_size, data, size);
	p->out_size += size;
}

void peer_printf(struct peer *p, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		peer_fail(p, "the test asks for too much at once");
	peer_put(p, text, (size_t)n);
}

static void receive(struct peer *p)
{
	if (p->in_start == p->in_end) {
		p->in_start = p->in_end = 0;
	} else if (p->in_end == PEER_BUFFER) {
		memmove(p->in, p->in + p->in_start, p->in_end - p->in_start);
		p->in_end -= p->in_start;
		p->in_start = 0;
	}
	PEER_EXPECT(p, p->in_end < PEER_BUFFER, "an answer without end");
	uint64_t before = load_now_us();
	ssize_t n = recv(p->fd, p->in + p->in_end, PEER_BUFFER - p->in_end, 0);
	if (n < 0)
		peer_fail(p, "%s", errno == EAGAIN ? "no answer for 30 s" : strerror(errno));
	PEER_EXPECT(p, n > 0, "the server closed the connection");
	uint64_t silence = load_now_us() - before;
	if (silence > p->silence_us_max && !p->is_patient)
		p->silence_us_max = silence;
	p->in_end += (size_t)n;
}

char *peer_line(struct peer *p)
{
	char *end;

	while (!(end = memchr(p->in + p->in_start, '\n', p->in_end - p->in_start)))
		receive(p);
	char *line = p->in + p->in_start;
	PEER_EXPECT(p, end > line && end[-1] == '\r', "a line without CR: %.60s", line);
	end[-1] = 0;
	p->in_start = (size_t)(end + 1 - p->in);
	return line;
}

char *peer_take(struct peer *p, size_t size)
{
	while (p->in_end - p->in_start < size)
		receive(p);
	p->in_start += size;
	return p->in + p->in_start - size;
}

size_t peer_take_some(struct peer *p, size_t most, char **data)
{
	if (p->in_start == p->in_end)
		receive(p);
	size_t size = p->in_end - p->in_start < most ? p->in_end - p->in_start : most;
	*data = p->in + p->in_start;
	p->in_start += size;
	return size;
}

struct work {
	pthread_t thread;
	struct peer peer;
	void (*run)(struct peer *p);
};

static void *work_run(void *argument)
{
	struct work *w = argument;

	peer_connect(&w->peer);
	w->run(&w->peer);
	return NULL;
}

static int load_run(const struct role *roles, uint64_t seed)
{
	static struct work works[THREADS_MAX];
	unsigned count = 0;
	sigset_t ends;
	int signal_number;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	for (const struct role *r = roles; r->name; r++) {
		for (unsigned i = 0; i < r->count; i++) {
			struct work *w = &works[count++];
			w->run = r->run;
			w->peer = (struct peer){.role = r->name, .id = i, .fd = -1, .random = seed * 1000 + count};
			if (pthread_create(&w->thread, NULL, work_run, w))
				err(1, "load: thread");
		}
	}
	while (connected < count && !failures)
		load_pause_us(10000);
	puts("ready");
	fflush(stdout);
	sigwait(&ends, &signal_number);
	is_over = true;

	uint64_t operations = 0, silence = 0, operations_min = ~0ull;
	for (unsigned i = 0; i < count; i++) {
		struct peer *p = &works[i].peer;
		pthread_join(works[i].thread, NULL);
		operations += p->operations;
		operations_min = p->operations < operations_min ? p->operations : operations_min;
		silence = p->silence_us_max > silence ? p->silence_us_max : silence;
	}
	printf("{\"connections\":%u,\"operations\":%llu,\"operations_min\":%llu,\"failed\":%u,\"silence_us_max\":%llu,"
	       "\"seed\":%llu}\n",
	       (unsigned)connected, (unsigned long long)operations, (unsigned long long)operations_min,
	       (unsigned)failures, (unsigned long long)silence, (unsigned long long)seed);
	return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		const struct role *roles;
	} servers[] = {{"redis", redis_roles}, {"memcached", memcached_roles}, {"http", http_roles}};
	static const struct option names[] = {{"seed", 1, 0, 's'}, {0}};
	uint64_t seed = 1;
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option != 's')
			errx(2, "%s", usage_text);
		seed = strtoull(optarg, NULL, 10);
	}
	argv += optind;
	if (argc - optind == 2 && !strcmp(argv[0], "files"))
		return http_make_files(argv[1]);
	if (argc - optind != 3)
		errx(2, "%s", usage_text);
	host = argv[1];
	port = argv[2];
	for (size_t i = 0; i < sizeof(servers) / sizeof(*servers); i++)
		if (!strcmp(argv[0], servers[i].name))
			return load_run(servers[i].roles, seed);
	errx(2, "%s", usage_text);
}
