/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer (whose mark the pass has put after its store) races a collector that
 * takes the mark and then copies the page. After each round: a page that
 * changed after it was copied must be marked. With the mark taken by atomic
 * exchange none may be lost; with a plain store some must be, or this test could
 * not have seen it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "abi/layout.h"

#define ROUNDS_SOUND 1000000u
#define SECONDS_BROKEN_MAX 8

static uint64_t *page = (uint64_t *)0x1000000000;
static volatile uint8_t *mark = (volatile uint8_t *)MARKS_BASE + (0x1000000000 >> PAGE_SHIFT);
static atomic_uint start_round, done_round;
static atomic_bool stop;

enum collector {
	EXCHANGE,
	PLAIN_STORE,
};

static void delay(unsigned count)
{
	for (volatile unsigned i = 0; i < count; i++)
		;
}

__attribute__((noinline)) static void write_page(uint64_t value)
{
	*page = value;
}

static void *writer(void *unused)
{
	for (unsigned round = 1; !atomic_load(&stop); round++) {
		while (atomic_load(&start_round) != round)
			if (atomic_load(&stop))
				return unused;
		delay(round * 7 % 13);
		write_page(round);
		atomic_store(&done_round, round);
	}
	return unused;
}

/* Stores that miss the cache wait in the processor's store buffer, and so does a plain store to the
 * mark behind them: the load of the page overtakes it for longer. */
static void fill_store_buffer(void)
{
	static uint8_t far[64 << 20];
	static size_t at;

	for (int i = 0; i < 32; i++) {
		at = (at + 4096 * 5 + 64) % sizeof(far);
		((volatile uint8_t *)far)[at] = 1;
	}
}

static uint64_t collect(enum collector how)
{
	fill_store_buffer();
	if (how == EXCHANGE)
		__atomic_exchange_n(mark, 0, __ATOMIC_SEQ_CST);
	else
		*mark = 0;
	return *(volatile uint64_t *)page;
}

/* Rounds in which the change was lost; stops early once one is, if `any` is enough. */
static unsigned race(enum collector how, unsigned rounds, bool any)
{
	struct timespec begin, now;
	unsigned lost = 0;
	pthread_t thread;

	atomic_store(&stop, false);
	atomic_store(&start_round, 0);
	atomic_store(&done_round, 0);
	pthread_create(&thread, NULL, writer, NULL);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned round = 1; round <= rounds && !(any && lost); round++) {
		*mark = 1;
		atomic_store(&start_round, round);
		delay(round * 5 % 17);
		uint64_t copied = collect(how);
		while (atomic_load(&done_round) != round)
			;
		lost += copied != round && !*mark;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - begin.tv_sec > SECONDS_BROKEN_MAX)
			break;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	return lost;
}

int main(void)
{
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) < 2) {
		puts("one processor: there is no race");
		return 77;
	}
	if (mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		 -1, 0) != page) {
		perror("mmap");
		return 1;
	}
	*(volatile uint8_t *)TRACK_WORD = 1;
	unsigned lost = race(EXCHANGE, ROUNDS_SOUND, false);
	unsigned lost_broken = race(PLAIN_STORE, UINT32_MAX, true);

	printf("lost with exchange: %u; seen to be lost without: %s\n", lost, lost_broken ? "yes" : "no");
	return lost != 0 || lost_broken == 0;
}
