/* SPDX-License-Identifier: Apache-2.0
 *
 * bounds serve PORT
 * bounds measure HOST PORT BYTES
 *
 * What the machine gives at best, without any enclave: copying memory, AES-256-GCM on one core, the link between
 * two hosts with nothing done to the data, with encryption at one end and decryption at the other, and the same into
 * memory that the kernel has to find first, and a round trip. In records of 256 KB on two connections, as a move has
 * them. And the longest that a thread which comes before all others (SCHED_FIFO) was late by while memory was found: who
 * is served by this machine may have to wait as long, whatever moves. measure prints one JSON object.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <intel-ipsec-mb.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECORD (256u << 10)
#define TAG 16
#define STREAMS 2
#define AREA (512u << 20) /* larger than any cache */
#define NEW_AREA (64ull << 30) /* more than is ever sent */
#define ROUND_TRIPS 2000
#define TRANSFERS 3
#define WATCHED_MAX 64 /* processors */
#define WATCH_US 1000
#define WATCH_PRIORITY 50

enum kind {
	KIND_ECHO = 'e',
	KIND_PLAIN = 'p',
	KIND_SEALED = 's',
	KIND_NEW = 'n', /* sealed, each record into memory that was never touched */
};

static IMB_MGR *mb;
static _Alignas(64) struct gcm_key_data key;
static _Alignas(16) const uint8_t iv[12], raw_key[32] = {1};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void gcm_begin(void)
{
	mb = alloc_mb_mgr(0);
	if (!mb)
		errx(1, "IPsec-MB");
	init_mb_mgr_auto(mb, NULL);
	IMB_AES256_GCM_PRE(mb, raw_key, &key);
}

static void *area_new(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "memory");
	for (size_t i = 0; i < size / 8; i++)
		((uint64_t *)p)[i] = i * 0x9e3779b97f4a7c15u;
	return p;
}

static void seal(const uint8_t *in, uint8_t *out, uint8_t tag[TAG])
{
	_Alignas(64) struct gcm_context_data context;

	IMB_AES256_GCM_ENC(mb, &key, &context, out, in, RECORD, iv, NULL, 0, tag, TAG);
}

static bool unseal(const uint8_t *in, uint8_t *out, const uint8_t tag[TAG])
{
	_Alignas(64) struct gcm_context_data context;
	uint8_t is[TAG];

	IMB_AES256_GCM_DEC(mb, &key, &context, out, in, RECORD, iv, NULL, 0, is, TAG);
	return !memcmp(is, tag, TAG);
}

/* False at the end of the stream. */
static bool read_all(int fd, void *out, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, (char *)out + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static void write_all(int fd, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, (const char *)data + done, size - done);
		if (n < 0 && errno != EINTR)
			err(1, "write");
		done += n > 0 ? (size_t)n : 0;
	}
}

/* ---- the other side ---- */

static void *serve_one(void *argument)
{
	int fd = (int)(intptr_t)argument;
	uint8_t kind = 0, *record = malloc(RECORD + TAG), *area = NULL;
	size_t at = 0, size = AREA / STREAMS;

	if (!record || !read_all(fd, &kind, 1))
		goto out;
	if (kind == KIND_SEALED)
		area = area_new(size);
	if (kind == KIND_NEW) {
		size = NEW_AREA;
		area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (area == MAP_FAILED)
			err(1, "address space");
	}
	write_all(fd, &kind, 1); /* ready */
	if (kind == KIND_ECHO)
		while (read_all(fd, record, 64))
			write_all(fd, record, 64);
	while (kind != KIND_ECHO && read_all(fd, record, RECORD + TAG)) {
		if (kind != KIND_PLAIN && !unseal(record, area + at, record + RECORD))
			errx(1, "a record is not authentic");
		at = (at + RECORD) % size;
	}
	if (kind != KIND_ECHO)
		write_all(fd, &kind, 1); /* all is in place */
out:
	if (area)
		munmap(area, size);
	free(record);
	close(fd);
	return NULL;
}

static int serve(const char *port)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 16))
		err(1, "port %s", port);
	for (;;) {
		pthread_t thread;
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd))
			close(fd);
		else
			pthread_detach(thread);
	}
}

/* ---- this side ---- */

static struct sockaddr_in server;

static int open_as(enum kind kind)
{
	uint8_t byte = (uint8_t)kind;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&server, sizeof(server)))
		err(1, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	write_all(fd, &byte, 1);
	if (!read_all(fd, &byte, 1))
		errx(1, "no answer");
	return fd;
}

struct stream {
	pthread_t thread;
	int fd;
	enum kind kind;
	const uint8_t *area;
	uint64_t bytes;
};

static void *stream_main(void *argument)
{
	struct stream *s = argument;
	uint8_t *record = malloc(RECORD + TAG), byte;

	if (!record)
		errx(1, "memory");
	memset(record, 0, RECORD + TAG);
	for (uint64_t done = 0; done < s->bytes; done += RECORD) {
		const uint8_t *from = s->area + done % (AREA / STREAMS);
		if (s->kind != KIND_PLAIN)
			seal(from, record, record + RECORD);
		write_all(s->fd, s->kind != KIND_PLAIN ? record : from, RECORD);
		write_all(s->fd, record + RECORD, TAG);
	}
	shutdown(s->fd, SHUT_WR);
	if (!read_all(s->fd, &byte, 1))
		errx(1, "the server did not take everything");
	close(s->fd);
	free(record);
	return NULL;
}

static uint64_t transfer_us(enum kind kind, uint64_t bytes, const uint8_t *area)
{
	struct stream s[STREAMS];

	for (int i = 0; i < STREAMS; i++)
		s[i] = (struct stream){.fd = open_as(kind), .kind = kind, .bytes = bytes / STREAMS,
				       .area = area + AREA / STREAMS * (unsigned)i};
	uint64_t begin = now_us();
	for (int i = 0; i < STREAMS; i++)
		if (pthread_create(&s[i].thread, NULL, stream_main, &s[i]))
			errx(1, "thread");
	for (int i = 0; i < STREAMS; i++)
		pthread_join(s[i].thread, NULL);
	return now_us() - begin;
}

struct watcher {
	pthread_t thread;
	int cpu;
	uint64_t late_us; /* at most */
};
static atomic_bool watched;

static void *watch_main(void *argument)
{
	struct watcher *w = argument;
	struct sched_param priority = {WATCH_PRIORITY};
	cpu_set_t only;

	CPU_ZERO(&only);
	CPU_SET(w->cpu, &only);
	if (pthread_setaffinity_np(pthread_self(), sizeof(only), &only) ||
	    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority))
		errx(1, "a thread that comes before all others: not permitted (CAP_SYS_NICE)");
	while (atomic_load(&watched)) {
		uint64_t begin = now_us();
		usleep(WATCH_US);
		uint64_t took = now_us() - begin;
		if (took > w->late_us + WATCH_US)
			w->late_us = took - WATCH_US;
	}
	return NULL;
}

/* ... and what the processors do to others meanwhile */
static uint64_t transfer_watched_us(enum kind kind, uint64_t bytes, const uint8_t *area, uint64_t *late_us)
{
	static struct watcher w[WATCHED_MAX];
	int count = (int)sysconf(_SC_NPROCESSORS_ONLN);

	count = count < WATCHED_MAX ? count : WATCHED_MAX;
	atomic_store(&watched, true);
	for (int i = 0; i < count; i++) {
		w[i] = (struct watcher){.cpu = i};
		if (pthread_create(&w[i].thread, NULL, watch_main, &w[i]))
			errx(1, "thread");
	}
	uint64_t us = transfer_us(kind, bytes, area);
	atomic_store(&watched, false);
	for (int i = 0; i < count; i++) {
		pthread_join(w[i].thread, NULL);
		*late_us = w[i].late_us > *late_us ? w[i].late_us : *late_us;
	}
	return us;
}

static void keep_least(uint64_t *least, uint64_t value)
{
	*least = value < *least ? value : *least;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t round_trip_us(void)
{
	static uint64_t took[ROUND_TRIPS];
	char bytes[64] = {0};
	int fd = open_as(KIND_ECHO);

	for (int i = 0; i < ROUND_TRIPS; i++) {
		uint64_t begin = now_us();
		write_all(fd, bytes, sizeof(bytes));
		if (!read_all(fd, bytes, sizeof(bytes)))
			errx(1, "no echo");
		took[i] = now_us() - begin;
		/* not at once: what matters comes to a thread that sleeps */
		usleep(200);
	}
	close(fd);
	qsort(took, ROUND_TRIPS, sizeof(*took), compare);
	return took[ROUND_TRIPS / 2];
}

static double gb_per_s(uint64_t bytes, uint64_t us)
{
	return (double)bytes / 1e3 / (double)us;
}

static int measure(const char *host, const char *port, uint64_t bytes)
{
	uint8_t *area = area_new(AREA), *other = area_new(AREA), tag[TAG];

	server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	if (inet_pton(AF_INET, host, &server.sin_addr) != 1)
		errx(2, "%s is no address", host);
	uint64_t begin = now_us();
	for (int i = 0; i < 4; i++)
		memcpy(other, area, AREA);
	uint64_t copy_us = now_us() - begin;
	begin = now_us();
	for (unsigned i = 0; i < AREA / RECORD; i++)
		seal(area + i * (size_t)RECORD, other, tag);
	uint64_t gcm_us = now_us() - begin;
	uint64_t plain_us = ~0ull, sealed_us = ~0ull, new_us = ~0ull, late_us = 0;
	/* a bound is the best that was seen */
	for (int i = 0; i < TRANSFERS; i++) {
		keep_least(&plain_us, transfer_us(KIND_PLAIN, bytes, area));
		keep_least(&sealed_us, transfer_us(KIND_SEALED, bytes, area));
		keep_least(&new_us, transfer_watched_us(KIND_NEW, bytes, area, &late_us));
	}
	printf("{\"memory_copy_gb_per_s\":%.2f,\"gcm_gb_per_s\":%.2f,\"tcp_gb_per_s\":%.3f,\"tcp_gcm_gb_per_s\":%.3f,"
	       "\"tcp_gcm_new_memory_gb_per_s\":%.3f,\"late_us_max\":%lu,\"round_trip_us\":%lu}\n",
	       gb_per_s(4ull * AREA, copy_us), gb_per_s(AREA, gcm_us), gb_per_s(bytes, plain_us),
	       gb_per_s(bytes, sealed_us), gb_per_s(bytes, new_us), late_us,
	       round_trip_us());
	return 0;
}

int main(int argc, char **argv)
{
	gcm_begin();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "measure"))
		return measure(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	fprintf(stderr, "usage: bounds serve PORT | bounds measure HOST PORT BYTES\n");
	return 2;
}
