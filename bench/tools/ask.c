/* SPDX-License-Identifier: Apache-2.0
 *
 * ask memcached-fill HOST PORT BYTES
 * ask memcached|http HOST PORT RATE
 * ask files DIR
 *
 * The clients of memcached and lighttpd: eight connections, each with one request under way, RATE requests a second
 * in all, every answer checked. memcached: values of 1000 bytes, seven of ten requests read one, the rest write one
 * anew; http: files of 64 KB, which `files` makes. On SIGTERM prints what it saw, as demo/load does: errors, wrong
 * answers, and a timeline of replies and of the longest wait for one. A connection that breaks stays broken.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 8
#define INTERVAL_US 10000
#define INTERVALS_MAX 100000 /* what comes later is not noted */
#define KEYS 4096	     /* of each connection, with those that were filled in besides */
#define VALUE 1000
#define BATCH 50 /* values sent together to fill it */
#define FILES 64
#define FILE_SIZE 65536

struct link {
	pthread_t thread;
	unsigned id;
	int fd;
	uint64_t random;
	char buffer[FILE_SIZE + 4096];
	size_t used;
	uint32_t version[KEYS];
};

static struct sockaddr_in server;
static atomic_bool is_over;
static atomic_uint replies[INTERVALS_MAX], silence_us[INTERVALS_MAX];
static atomic_ulong wrong, errors, requests;
static uint64_t start_us, pause_us;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void noise(uint64_t seed, char *out, size_t size)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;

	for (size_t i = 0; i < size; i += sizeof(x)) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		memcpy(out + i, &x, size - i < sizeof(x) ? size - i : sizeof(x));
	}
}

static bool noise_is(uint64_t seed, const char *in, size_t size)
{
	char fresh[FILE_SIZE];

	noise(seed, fresh, size);
	return !memcmp(in, fresh, size);
}

static bool link_open(struct link *l)
{
	int one = 1;

	l->fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return connect(l->fd, (struct sockaddr *)&server, sizeof(server)) == 0;
}

static bool send_all(struct link *l, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(l->fd, data, size, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return false;
		data += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* The length of what is in the buffer up to and with `end`, after at least `from` bytes; 0: the connection broke. */
static size_t receive_until(struct link *l, size_t from, const char *end)
{
	for (;;) {
		char *at = l->used >= from ? memmem(l->buffer + from, l->used - from, end, strlen(end)) : NULL;
		if (at)
			return (size_t)(at - l->buffer) + strlen(end);
		if (l->used == sizeof(l->buffer))
			return 0;
		ssize_t n = recv(l->fd, l->buffer + l->used, sizeof(l->buffer) - l->used, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		l->used += (size_t)n;
	}
}

/* ---- memcached ---- */

static uint64_t value_seed(unsigned id, unsigned key, uint32_t version)
{
	return (uint64_t)id << 56 ^ (uint64_t)key << 32 ^ version;
}

#define STORED "STORED\r\n"

static bool store_send(struct link *l, const char *key, uint64_t seed)
{
	char text[VALUE + 128];
	int n = snprintf(text, sizeof(text), "set %s 0 0 %d\r\n", key, VALUE);

	noise(seed, text + n, VALUE);
	memcpy(text + n + VALUE, "\r\n", 2);
	return send_all(l, text, (size_t)n + VALUE + 2);
}

/* The answers to so many. */
static bool stores_end(struct link *l, size_t count)
{
	size_t size = strlen(STORED);

	l->used = 0;
	if (!receive_until(l, count * size - 2, "\r\n"))
		return false;
	for (size_t i = 0; i < count; i++)
		if (memcmp(l->buffer + i * size, STORED, size))
			wrong++;
	return true;
}

static bool memcached_once(struct link *l)
{
	unsigned key = (unsigned)(l->random >> 33) % KEYS;
	bool writes = (l->random >> 20) % 10 < 3;
	char name[64], request[80];

	snprintf(name, sizeof(name), "c%u-%u-%u", (unsigned)getpid(), l->id, key);
	if (writes || l->version[key] == 0) {
		l->version[key]++;
		return store_send(l, name, value_seed(l->id, key, l->version[key])) && stores_end(l, 1);
	}
	int n = snprintf(request, sizeof(request), "get %s\r\n", name);
	l->used = 0;
	if (!send_all(l, request, (size_t)n))
		return false;
	size_t head = receive_until(l, 0, "\r\n");
	if (head == 0)
		return false;
	/* what is stored was told to be: that it is gone is wrong, too */
	if (strncmp(l->buffer, "VALUE ", 6)) {
		wrong++;
		return true;
	}
	if (!receive_until(l, head + VALUE, "END\r\n"))
		return false;
	if (!noise_is(value_seed(l->id, key, l->version[key]), l->buffer + head, VALUE))
		wrong++;
	return true;
}

static int memcached_fill(uint64_t bytes)
{
	static struct link l;
	char name[64];

	if (!link_open(&l))
		err(1, "memcached");
	for (uint64_t i = 0, count = bytes / VALUE / BATCH * BATCH; i < count; i++) {
		snprintf(name, sizeof(name), "f%llu", (unsigned long long)i);
		if (!store_send(&l, name, i) || (i % BATCH == BATCH - 1 && !stores_end(&l, BATCH)) || wrong)
			errx(1, "memcached could not be filled: %.40s", l.buffer);
	}
	return 0;
}

/* ---- http ---- */

static int make_files(const char *directory)
{
	char path[4096], content[FILE_SIZE];

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%u.bin", directory, i);
		FILE *f = fopen(path, "w");
		noise(i, content, FILE_SIZE);
		if (!f || fwrite(content, FILE_SIZE, 1, f) != 1 || fclose(f))
			err(1, "%s", path);
	}
	return 0;
}

static bool http_once(struct link *l)
{
	unsigned file = (unsigned)(l->random >> 33) % FILES;
	char request[128];
	int n = snprintf(request, sizeof(request), "GET /%u.bin HTTP/1.1\r\nHost: bench\r\n\r\n", file);

	l->used = 0;
	if (!send_all(l, request, (size_t)n))
		return false;
	size_t head = receive_until(l, 0, "\r\n\r\n");
	/* the empty string is found as soon as so much is there */
	if (head == 0 || !receive_until(l, head + FILE_SIZE, ""))
		return false;
	if (strncmp(l->buffer, "HTTP/1.1 200 ", 13) || !noise_is(file, l->buffer + head, FILE_SIZE))
		wrong++;
	return true;
}

/* ---- all connections ---- */

static bool (*ask_once)(struct link *l);

static void *link_main(void *argument)
{
	struct link *l = argument;
	uint64_t due = start_us + pause_us * l->id / CONNECTIONS;

	while (!is_over) {
		uint64_t now = now_us();
		if (now < due) {
			usleep((useconds_t)(due - now));
			continue;
		}
		/* what was missed is not made up for */
		due = due + pause_us > now ? due + pause_us : now;
		l->random = l->random * 6364136223846793005u + 1442695040888963407u;
		requests++;
		if (!ask_once(l)) {
			if (!is_over)
				errors++;
			break;
		}
		uint64_t end = now_us();
		size_t i = (end - start_us) / INTERVAL_US;
		if (i >= INTERVALS_MAX)
			continue;
		replies[i]++;
		unsigned waited = (unsigned)(end - now), longest = silence_us[i];
		while (waited > longest && !atomic_compare_exchange_weak(&silence_us[i], &longest, waited))
			;
	}
	return NULL;
}

static void print_timeline(const char *name, const atomic_uint *value, size_t count)
{
	printf("\"%s\":[", name);
	for (size_t i = 0; i < count; i++)
		printf("%s%u", i ? "," : "", value[i]);
	printf("]");
}

static int run(unsigned rate)
{
	static struct link links[CONNECTIONS];
	struct timespec real;
	sigset_t ends;
	int signal_number;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	pause_us = rate ? 1000000ull * CONNECTIONS / rate : 0;
	clock_gettime(CLOCK_REALTIME, &real);
	start_us = now_us();
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		links[i].id = i;
		links[i].random = i + 1;
		if (!link_open(&links[i]))
			err(1, "connect");
		if (pthread_create(&links[i].thread, NULL, link_main, &links[i]))
			errx(1, "thread");
	}
	sigwait(&ends, &signal_number);
	size_t count = (now_us() - start_us) / INTERVAL_US;
	count = count < INTERVALS_MAX ? count : INTERVALS_MAX;
	is_over = true;
	/* a reply that never comes ends here */
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 5;
		if (pthread_timedjoin_np(links[i].thread, NULL, &until))
			errors++;
	}
	printf("{\"connections\":%d,\"requests\":%lu,\"wrong\":%lu,\"errors\":%lu,\"reconnects\":0,\n\"timeline\":{"
	       "\"start_us\":%llu,\"interval_us\":%d,\n",
	       CONNECTIONS, requests, wrong, errors,
	       (unsigned long long)real.tv_sec * 1000000 + (unsigned long long)real.tv_nsec / 1000, INTERVAL_US);
	print_timeline("silence_us_max", silence_us, count);
	printf(",\n");
	print_timeline("replies", replies, count);
	printf("}}\n");
	fflush(stdout);
	_exit(wrong || errors);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "files"))
		return make_files(argv[2]);
	if (argc == 5) {
		server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
		if (inet_pton(AF_INET, argv[2], &server.sin_addr) != 1)
			errx(2, "%s is no address", argv[2]);
		if (!strcmp(argv[1], "memcached-fill"))
			return memcached_fill(strtoull(argv[4], NULL, 10));
		ask_once = !strcmp(argv[1], "memcached") ? memcached_once : !strcmp(argv[1], "http") ? http_once : NULL;
		if (ask_once)
			return run((unsigned)atoi(argv[4]));
	}
	fprintf(stderr, "usage: ask memcached-fill HOST PORT BYTES | memcached|http HOST PORT RATE | files DIR\n");
	return 2;
}
