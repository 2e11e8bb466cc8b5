/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workloads/meter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include "bench/workloads/beat.h"

#define ASK_INTERVAL 64 /* beats between two looks for a question */

static int socket_fd;
static struct sockaddr_in listener;
static uint64_t (*check_all)(char *text, size_t size);
static struct beat beat = {.magic = BEAT_MAGIC};
static uint64_t last_batch_ns, last_beat_ns;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

uint64_t meter_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void meter_start(const char *to, uint64_t (*check)(char *text, size_t size))
{
	char address[64];
	const char *colon = strrchr(to, ':');

	if (!colon || (size_t)(colon - to) >= sizeof(address)) {
		fprintf(stderr, "%s is not ADDRESS:PORT\n", to);
		exit(2);
	}
	memcpy(address, to, (size_t)(colon - to));
	address[colon - to] = 0;
	listener = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	socket_fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (socket_fd < 0 || inet_pton(AF_INET, address, &listener.sin_addr) != 1)
		fail("meter");
	check_all = check;
	puts("ready");
	fflush(stdout);
	last_batch_ns = last_beat_ns = meter_now_ns();
}

static void tell(void)
{
	beat.sequence++;
	/* a beat that cannot be sent is missed by the listener, which looks at the numbers */
	sendto(socket_fd, &beat, sizeof(beat), 0, (struct sockaddr *)&listener, sizeof(listener));
}

static void answer(void)
{
	char question;

	while (recv(socket_fd, &question, 1, MSG_DONTWAIT) == 1) {
		if (question == BEAT_ASK_QUIT)
			exit(0);
		if (question != BEAT_ASK_CHECK)
			continue;
		beat.kind = BEAT_CHECKED;
		beat.wrong = check_all(beat.text, sizeof(beat.text));
		tell();
		beat.kind = BEAT_WORK;
		last_batch_ns = meter_now_ns();
	}
}

void meter_add(uint64_t operations)
{
	uint64_t now = meter_now_ns();

	beat.operations += operations;
	if (now - last_batch_ns > beat.gap_ns)
		beat.gap_ns = now - last_batch_ns;
	last_batch_ns = now;
	if (now - last_beat_ns < BEAT_INTERVAL_NS)
		return;
	beat.program_ns = now;
	tell();
	last_beat_ns = now;
	beat.gap_ns = 0;
	if (beat.sequence % ASK_INTERVAL == 0)
		answer();
}

uint64_t meter_next_ms(uint64_t last_ns)
{
	uint64_t now = meter_now_ns(), next = last_ns + 1000000;

	if (next <= now)
		return now;
	struct timespec t = {(time_t)(next / 1000000000), (long)(next % 1000000000)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
	return next;
}

uint64_t mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* Four generators side by side, so that the compiler takes vector registers: filling must cost little beside
 * what is measured. */
#define LANES 4

struct noise {
	uint64_t x[LANES];
};

static inline struct noise noise_start(uint64_t seed)
{
	struct noise n;

	for (int i = 0; i < LANES; i++)
		n.x[i] = mix64(seed * LANES + (uint64_t)i + 1) | 1;
	return n;
}

static inline void noise_next(struct noise *n)
{
	for (int i = 0; i < LANES; i++) {
		n->x[i] ^= n->x[i] << 13;
		n->x[i] ^= n->x[i] >> 7;
		n->x[i] ^= n->x[i] << 17;
	}
}

void noise_fill(uint64_t seed, void *out, size_t size)
{
	struct noise n = noise_start(seed);
	uint64_t *word = out;

	for (size_t i = 0; i < size / sizeof(*word); i += LANES) {
		noise_next(&n);
		memcpy(word + i, n.x, sizeof(n.x));
	}
}

bool noise_is(uint64_t seed, const void *in, size_t size)
{
	struct noise n = noise_start(seed);
	const uint64_t *word = in;
	uint64_t other = 0;

	for (size_t i = 0; i < size / sizeof(*word); i += LANES) {
		noise_next(&n);
		for (int k = 0; k < LANES; k++)
			other |= word[i + (size_t)k] ^ n.x[k];
	}
	return other == 0;
}

void *room(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("memory");
	return p;
}
