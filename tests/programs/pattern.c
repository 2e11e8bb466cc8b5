/* SPDX-License-Identifier: Apache-2.0
 *
 * pattern PORT [MEGABYTES [calm]]: threads that do everything a program does
 * while it is moved, each checking all the time that its world is as it left it:
 * memory that always changes, pipes, epoll, condition variables, threads that
 * come and go, mappings that come and go, deep stacks, floating point. They want
 * all processors there are; calm ones little, for tests of something else.
 *
 * Commands: check (every thread looks at all it has; "ok N" or "wrong ..."),
 * work (what each has done), heartbeat (longest gap in us since the last time it
 * was asked), quit. SIGUSR1 is check and SIGUSR2 work, answered on standard output.
 */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))

struct worker {
	const char *name;
	void (*run)(struct worker *w);
	unsigned seat; /* of those with the same function */
	atomic_ulong work;
	/* the last check this worker has gone through; only workers that take part in checks */
	atomic_ulong checked;
	bool takes_part;
};

static atomic_ulong check_number;
static atomic_int wrong_count;
static char wrong_text[200];
static pthread_mutex_t wrong_lock = PTHREAD_MUTEX_INITIALIZER;

#define WRONG(w, ...) wrong((w)->name, __VA_ARGS__)
static void wrong(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(const char *name, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pthread_mutex_lock(&wrong_lock);
	if (atomic_fetch_add(&wrong_count, 1) == 0)
		snprintf(wrong_text, sizeof(wrong_text), "%s: %s", name, text);
	pthread_mutex_unlock(&wrong_lock);
	say("wrong: %s: %s", name, text);
}

#define CALM_US 10000
static bool calm;

static void pause_us(unsigned us)
{
	struct timespec t = {0, (long)(calm && us < CALM_US ? CALM_US : us) * 1000};

	nanosleep(&t, NULL);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* ---- pages that say what must be in them ---- */

struct page {
	uint64_t version, place; /* place: its own number, so that a page in the wrong place is seen */
	uint64_t data[WORDS - 3];
	uint64_t sum;
};
_Static_assert(sizeof(struct page) == PAGE, "a page");

/* By turns with word stores, one copy, and single bytes: each is another kind of write. */
static void page_write(struct page *p, uint64_t place, uint64_t version)
{
	struct page fresh = {.version = version, .place = place};

	fresh.sum = mix(version ^ place);
	for (size_t i = 0; i < WORDS - 3; i++) {
		fresh.data[i] = mix(version * WORDS + i) ^ place;
		fresh.sum += fresh.data[i];
	}
	switch (version % 3) {
	case 0:
		for (size_t i = 0; i < WORDS; i++)
			((uint64_t *)p)[i] = ((uint64_t *)&fresh)[i];
		break;
	case 1:
		memcpy(p, &fresh, PAGE);
		break;
	default:
		for (size_t i = 0; i < PAGE; i++)
			((volatile char *)p)[i] = ((char *)&fresh)[i];
	}
}

static bool page_right(const struct page *p, uint64_t place, uint64_t version)
{
	uint64_t sum = mix(p->version ^ p->place);

	for (size_t i = 0; i < WORDS - 3; i++)
		sum += p->data[i];
	return p->place == place && p->version == version && p->sum == sum;
}

static size_t region_pages; /* of each rewriter */

static void rewrite(struct worker *w)
{
	struct page *region = aligned_alloc(PAGE, region_pages * PAGE);
	/* what must be there, kept apart from it */
	uint32_t *versions = calloc(region_pages, sizeof(*versions));
	uint64_t random = w->seat + 1;

	if (!region || !versions) {
		WRONG(w, "no memory");
		return;
	}
	for (size_t i = 0; i < region_pages; i++)
		page_write(&region[i], i, versions[i]);
	for (;;) {
		unsigned long check = atomic_load(&check_number);

		if (check != atomic_load(&w->checked)) {
			for (size_t i = 0; i < region_pages; i++)
				if (!page_right(&region[i], i, versions[i]))
					WRONG(w, "page %zu of %zu: version %llu, place %llu, expected version %u", i,
					      region_pages, (unsigned long long)region[i].version,
					      (unsigned long long)region[i].place, versions[i]);
			atomic_store(&w->checked, check);
		}
		for (int i = 0; i < 64; i++) {
			random = mix(random + 1);
			/* most writes go to few pages, and there are more reads than writes, as in real programs */
			size_t n = random % (random >> 57 ? region_pages / 16 + 1 : region_pages);
			if (!page_right(&region[n], n, versions[n]))
				WRONG(w, "page %zu: version %llu, expected %u", n,
				      (unsigned long long)region[n].version, versions[n]);
			if (random >> 32 & 15)
				continue;
			page_write(&region[n], n, ++versions[n]);
			atomic_fetch_add(&w->work, 1);
		}
		if (calm || w->seat) /* one spins, the other leaves the processor to the rest */
			pause_us(500);
	}
}

/* ---- a pipe: one writes numbers, one waits for them in read() ---- */

static int pipe_ends[2];

static void pipe_write(struct worker *w)
{
	for (uint64_t n = 0;; n++) {
		if (write(pipe_ends[1], &n, sizeof(n)) != sizeof(n))
			WRONG(w, "write: %s", strerror(errno));
		atomic_fetch_add(&w->work, 1);
		if (n % 16 == 0)
			pause_us(2000);
	}
}

static void pipe_read(struct worker *w)
{
	for (uint64_t expected = 0, n;; expected++) {
		ssize_t size = read(pipe_ends[0], &n, sizeof(n));
		if (size != sizeof(n))
			WRONG(w, "read %zd: %s", size, strerror(errno));
		else if (n != expected)
			WRONG(w, "got %llu, expected %llu", (unsigned long long)n, (unsigned long long)expected);
		if (size != sizeof(n) || n != expected)
			return;
		atomic_fetch_add(&w->work, 1);
	}
}

/* ---- an eventfd behind epoll ---- */

static int event_fd;
static atomic_ulong event_sent;

static void event_send(struct worker *w)
{
	for (uint64_t n = 1;; n = n % 7 + 1) {
		atomic_fetch_add(&event_sent, n);
		if (write(event_fd, &n, sizeof(n)) != sizeof(n))
			WRONG(w, "write: %s", strerror(errno));
		atomic_fetch_add(&w->work, 1);
		pause_us(3000);
	}
}

static void event_wait(struct worker *w)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
	/* The set is waited for by a dup of the number it was made by, and waits for one that is closed. */
	int made = epoll_create1(0), set = dup(made), same = dup(event_fd);
	uint64_t received = 0, n;

	if (set < 0 || epoll_ctl(made, EPOLL_CTL_ADD, same, &event))
		WRONG(w, "epoll: %s", strerror(errno));
	close(made);
	close(same);
	for (;;) {
		int count = epoll_wait(set, &event, 1, -1);
		if (count < 0 && errno == EINTR)
			continue;
		if (count != 1 || event.data.u64 != 0x1122334455667788) {
			WRONG(w, "epoll_wait %d, data %llx: %s", count, (unsigned long long)event.data.u64,
			      strerror(errno));
			return;
		}
		if (read(event_fd, &n, sizeof(n)) != sizeof(n)) {
			WRONG(w, "read: %s", strerror(errno));
			return;
		}
		received += n;
		if (received > atomic_load(&event_sent))
			WRONG(w, "received %llu, more than was sent", (unsigned long long)received);
		atomic_fetch_add(&w->work, 1);
	}
}

/* ---- two threads that hand a number to each other under a condition variable ---- */

static pthread_mutex_t turn_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static uint64_t turn;

static void take_turns(struct worker *w)
{
	uint64_t expected = w->seat;

	for (;;) {
		pthread_mutex_lock(&turn_lock);
		while (turn % 2 != w->seat)
			pthread_cond_wait(&turn_changed, &turn_lock);
		if (turn != expected)
			WRONG(w, "turn %llu, expected %llu", (unsigned long long)turn, (unsigned long long)expected);
		turn++;
		expected += 2;
		pthread_cond_broadcast(&turn_changed);
		pthread_mutex_unlock(&turn_lock);
		atomic_fetch_add(&w->work, 1);
		pause_us(1000);
	}
}

/* ---- threads that come and go, each with its own thread-local data ---- */

static _Thread_local uint64_t local[64];

static void *visit(void *argument)
{
	uint64_t seed = (uint64_t)(uintptr_t)argument, sum = 0;

	for (int i = 0; i < 64; i++) {
		if (local[i])
			wrong("threads", "thread-local data is not fresh");
		local[i] = mix(seed + (uint64_t)i);
	}
	pause_us(500);
	for (int i = 0; i < 64; i++)
		sum += local[i];
	return (void *)(uintptr_t)sum;
}

static void come_and_go(struct worker *w)
{
	for (uint64_t seed = 1;; seed++) {
		pthread_t threads[3];
		for (uint64_t t = 0; t < 3; t++)
			if ((errno = pthread_create(&threads[t], NULL, visit, (void *)(uintptr_t)(seed * 3 + t))))
				WRONG(w, "pthread_create: %s", strerror(errno));
		for (uint64_t t = 0; t < 3; t++) {
			void *result = NULL;
			uint64_t sum = 0;
			for (uint64_t i = 0; i < 64; i++)
				sum += mix(seed * 3 + t + i);
			if (pthread_join(threads[t], &result) || (uint64_t)(uintptr_t)result != sum)
				WRONG(w, "a thread came back with another result");
		}
		atomic_fetch_add(&w->work, 1);
		pause_us(1000);
	}
}

/* ---- mappings that come and go ---- */

#define MAPPINGS 24

static void map_and_unmap(struct worker *w)
{
	struct {
		struct page *pages;
		size_t count;
		uint64_t version;
	} map[MAPPINGS] = {0};
	uint64_t random = 77;

	for (uint64_t version = 1;; version++) {
		random = mix(random + 1);
		size_t slot = random % MAPPINGS;
		for (size_t i = 0; i < map[slot].count; i++)
			if (!page_right(&map[slot].pages[i], i, map[slot].version))
				WRONG(w, "page %zu of a mapping of %zu changed", i, map[slot].count);
		if (map[slot].count && munmap(map[slot].pages, map[slot].count * PAGE))
			WRONG(w, "munmap: %s", strerror(errno));
		map[slot].count = 1 + (random >> 32) % 64;
		map[slot].version = version;
		map[slot].pages = mmap(NULL, map[slot].count * PAGE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map[slot].pages == MAP_FAILED) {
			WRONG(w, "mmap: %s", strerror(errno));
			return;
		}
		for (size_t i = 0; i < map[slot].count; i++) {
			for (size_t k = 0; k < WORDS; k++)
				if (((uint64_t *)&map[slot].pages[i])[k])
					WRONG(w, "fresh memory is not zero");
			page_write(&map[slot].pages[i], i, version);
		}
		atomic_fetch_add(&w->work, 1);
		pause_us(1000);
	}
}

/* ---- deep stacks ---- */

__attribute__((noinline)) static uint64_t descend(struct worker *w, unsigned depth, uint64_t seed)
{
	volatile uint64_t frame[100];

	for (unsigned i = 0; i < 100; i++)
		frame[i] = mix(seed + i);
	if (depth == 0)
		pause_us(1000);
	uint64_t below = depth ? descend(w, depth - 1, mix(seed)) : 0;
	for (unsigned i = 0; i < 100; i++)
		if (frame[i] != mix(seed + i))
			WRONG(w, "a stack frame changed at depth %u", depth);
	return below + frame[depth % 100];
}

static void use_stack(struct worker *w)
{
	for (uint64_t seed = 1;; seed++) {
		descend(w, 60, seed);
		atomic_fetch_add(&w->work, 1);
	}
}

/* ---- numbers in registers: the same sum must come out the same ---- */

static double series(unsigned n)
{
	double sum = 0;
	long double wide = 1;

	for (unsigned i = 1; i <= n; i++) {
		sum += 1.0 / ((double)i * i);
		wide = wide * 0.999999L + 0.5L;
	}
	return sum + (double)wide;
}

static void compute(struct worker *w)
{
	double expected = series(20000);

	for (;;) {
		if (series(20000) != expected)
			WRONG(w, "a sum changed");
		atomic_fetch_add(&w->work, 1);
		pause_us(200);
	}
}

/* ---- the heartbeat ---- */

static atomic_ulong heartbeat_gap_us;

static void beat(struct worker *w)
{
	uint64_t last = now_us();

	for (;;) {
		pause_us(200);
		uint64_t now = now_us(), gap = now - last;
		if (now < last)
			WRONG(w, "the clock went back");
		else if (gap > atomic_load(&heartbeat_gap_us))
			atomic_store(&heartbeat_gap_us, gap);
		last = now;
		atomic_fetch_add(&w->work, 1);
	}
}

static struct worker workers[] = {
	{.name = "rewrite", .run = rewrite, .seat = 0, .takes_part = true},
	{.name = "rewrite2", .run = rewrite, .seat = 1, .takes_part = true},
	{.name = "pipe_write", .run = pipe_write},
	{.name = "pipe_read", .run = pipe_read},
	{.name = "event_send", .run = event_send},
	{.name = "event_wait", .run = event_wait},
	{.name = "turn_even", .run = take_turns, .seat = 0},
	{.name = "turn_odd", .run = take_turns, .seat = 1},
	{.name = "threads", .run = come_and_go},
	{.name = "mappings", .run = map_and_unmap},
	{.name = "stack", .run = use_stack},
	{.name = "compute", .run = compute},
	{.name = "heartbeat", .run = beat},
};
#define WORKERS (sizeof(workers) / sizeof(*workers))

static void *worker_thread(void *argument)
{
	struct worker *w = argument;

	w->run(w);
	return NULL;
}

/* Everybody looks at all it has, and everybody still works. */
static void check(char *reply, size_t size)
{
	unsigned long number = atomic_fetch_add(&check_number, 1) + 1, work[WORKERS];
	uint64_t deadline = now_us() + 20000000;

	for (size_t i = 0; i < WORKERS; i++)
		work[i] = atomic_load(&workers[i].work);
	for (size_t i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];
		while ((w->takes_part && atomic_load(&w->checked) < number) || atomic_load(&w->work) == work[i]) {
			if (now_us() > deadline) {
				WRONG(w, "stands still");
				break;
			}
			pause_us(1000);
		}
	}
	if (atomic_load(&wrong_count))
		snprintf(reply, size, "wrong %d times, first: %s", atomic_load(&wrong_count), wrong_text);
	else
		snprintf(reply, size, "ok %lu", number);
}

static void tell_work(char *reply, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < WORKERS && used < size; i++)
		used += (size_t)snprintf(reply + used, size - used, "%s%s=%lu", i ? " " : "", workers[i].name,
					 atomic_load(&workers[i].work));
}

static void handle(const char *command, char *reply, size_t size)
{
	if (!strcmp(command, "check"))
		check(reply, size);
	else if (!strcmp(command, "work"))
		tell_work(reply, size);
	else if (!strcmp(command, "heartbeat"))
		snprintf(reply, size, "%lu", atomic_exchange(&heartbeat_gap_us, 0));
	else if (!strcmp(command, "quit"))
		exit(atomic_load(&wrong_count) ? 1 : 0);
	else
		snprintf(reply, size, "unknown command");
}

static atomic_bool check_asked, work_asked;

static void ask(int number)
{
	atomic_store(number == SIGUSR1 ? &check_asked : &work_asked, true);
}

int main(int argc, char **argv)
{
	size_t megabytes = argc > 2 ? (size_t)atoi(argv[2]) : 32;
	char reply[512];

	if (argc < 2) {
		fprintf(stderr, "usage: pattern PORT [MEGABYTES [calm]]\n");
		return 2;
	}
	calm = argc > 3 && !strcmp(argv[3], "calm");
	region_pages = megabytes * 1048576 / PAGE / 2;
	event_fd = eventfd(0, 0);
	if (event_fd < 0 || pipe(pipe_ends) || signal(SIGUSR1, ask) == SIG_ERR ||
	    signal(SIGUSR2, ask) == SIG_ERR) {
		perror("pattern");
		return 1;
	}
	for (size_t i = 0; i < WORKERS; i++) {
		pthread_t thread;
		if ((errno = pthread_create(&thread, NULL, worker_thread, &workers[i]))) {
			perror("pattern: pthread_create");
			return 1;
		}
	}
	control_start(atoi(argv[1]), handle);
	say("ready");
	for (;;) {
		pause_us(20000);
		reply[0] = 0;
		if (atomic_exchange(&check_asked, false))
			check(reply, sizeof(reply));
		else if (atomic_exchange(&work_asked, false))
			tell_work(reply, sizeof(reply));
		if (reply[0])
			say("%s", reply);
	}
}
