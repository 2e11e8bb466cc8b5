/* SPDX-License-Identifier: Apache-2.0
 *
 * follow PORT [MEGABYTES]: fills memory, each page with what only it has, and
 * leaves it alone: after a move that leaves pages behind they stay there until
 * somebody asks.
 *
 * Commands: look (at every page), crowd (THREADS threads at once, each at its own), change (moves, unmaps, gives up parts of
 * it), fault (a handler of SIGSEGV on a stack among the program's variables), warm (keeps writing to those), quit. Answers "ok ..." or
 * "wrong ...".
 */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))
#define THREADS 24
#define PART 64 /* pages that `change` takes for each thing it does */

static uint64_t *memory;
static size_t pages;
/* What `warm` writes to all the time, and the stack of the handler in the middle of it. */
static struct {
	uint64_t before[64][WORDS];
	_Alignas(PAGE) char stack[8 * PAGE];
	uint64_t after[64][WORDS];
} variables;

static uint64_t word_of(size_t page, size_t i)
{
	return (page * WORDS + i) * 0x9e3779b97f4a7c15u | 1;
}

static bool page_right(const uint64_t *at, size_t page)
{
	for (size_t i = 0; i < WORDS; i++)
		if (at[i] != word_of(page, i))
			return false;
	return true;
}

static bool page_zero(const uint64_t *at)
{
	for (size_t i = 0; i < WORDS; i++)
		if (at[i])
			return false;
	return true;
}

static size_t wrong_pages(size_t first, size_t step)
{
	size_t wrong = 0;

	for (size_t page = first; page < pages; page += step)
		wrong += !page_right(memory + page * WORDS, page);
	return wrong;
}

/* ---- crowd ---- */

static pthread_barrier_t together;

static void *one_of_many(void *seat)
{
	pthread_barrier_wait(&together);
	return (void *)wrong_pages((size_t)seat, THREADS);
}

static size_t crowd(void)
{
	pthread_t thread[THREADS];
	size_t wrong = 0;

	pthread_barrier_init(&together, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, one_of_many, (void *)i))
			return pages;
	for (size_t i = 0; i < THREADS; i++) {
		void *count;
		pthread_join(thread[i], &count);
		wrong += (size_t)count;
	}
	return wrong;
}

/* ---- change ---- */

static void put_back(size_t first)
{
	for (size_t page = first; page < first + PART; page++)
		for (size_t i = 0; i < WORDS; i++)
			memory[page * WORDS + i] = word_of(page, i);
}

/* Every part is one that has not been looked at since the program was moved. */
static const char *change(void)
{
	uint64_t *part = memory + pages / 2 * WORDS;
	size_t first = pages / 2;

	/* given up: zeros, and what still comes from elsewhere is not wanted */
	if (madvise(part, PART * PAGE, MADV_DONTNEED))
		return "madvise";
	for (size_t i = 0; i < PART; i++)
		if (!page_zero(part + i * WORDS))
			return "a page that was given up came back";
	put_back(first);
	first += PART, part += PART * WORDS;

	/* unmapped, and mapped anew */
	if (munmap(part, PART * PAGE) || mmap(part, PART * PAGE, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != part)
		return "munmap, mmap";
	for (size_t i = 0; i < PART; i++)
		if (!page_zero(part + i * WORDS))
			return "a page that was unmapped came back";
	put_back(first);
	first += PART, part += PART * WORDS;

	/* moved: it goes along. To the end of memory, behind which there is no room to grow */
	uint64_t *moved = mremap(part, PART * PAGE, 2 * PART * PAGE, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED || moved == part)
		return "mremap";
	for (size_t i = 0; i < PART; i++)
		if (!page_right(moved + i * WORDS, first + i) || !page_zero(moved + (PART + i) * WORDS))
			return "pages were lost by mremap";
	if (mmap(part, PART * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	    part)
		return "mmap";
	put_back(first);
	first += PART, part += PART * WORDS;

	/* the same for what nobody may touch while it is moved */
	if (mprotect(part, PART * PAGE, PROT_NONE))
		return "mprotect";
	moved = mremap(part, PART * PAGE, 2 * PART * PAGE, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED || mprotect(moved, PART * PAGE, PROT_READ))
		return "mremap of pages without access";
	for (size_t i = 0; i < PART; i++)
		if (!page_right(moved + i * WORDS, first + i))
			return "pages without access were lost by mremap";
	if (mmap(part, PART * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
	    part)
		return "mmap";
	put_back(first);
	return NULL;
}

/* ---- fault ---- */

static sigjmp_buf back;

static void on_fault(int number)
{
	char here;

	(void)number;
	if (&here < variables.stack || &here >= variables.stack + sizeof(variables.stack))
		abort();
	siglongjmp(back, 1);
}

static void fault(void)
{
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
	stack_t stack = {.ss_sp = variables.stack, .ss_size = sizeof(variables.stack)};

	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		*(volatile int *)8 = 0;
}

static void *write_always(void *unused)
{
	volatile uint64_t *word = (volatile uint64_t *)&variables;

	(void)unused;
	for (;;) {
		for (size_t i = 0; i < sizeof(variables) / sizeof(uint64_t); i += WORDS)
			word[i]++;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	return NULL;
}

static void handle(const char *command, char *reply, size_t size)
{
	const char *what = NULL;
	size_t wrong = 0;
	pthread_t thread;

	if (!strcmp(command, "look"))
		wrong = wrong_pages(0, 1);
	else if (!strcmp(command, "crowd"))
		wrong = crowd();
	else if (!strcmp(command, "change"))
		what = change();
	else if (!strcmp(command, "fault"))
		fault();
	else if (!strcmp(command, "warm"))
		pthread_create(&thread, NULL, write_always, NULL);
	else if (!strcmp(command, "quit"))
		exit(7);
	else
		what = "unknown command";
	if (what)
		snprintf(reply, size, "wrong: %s: %s", what, strerror(errno));
	else
		snprintf(reply, size, wrong ? "wrong: %zu pages" : "ok %zu", wrong ? wrong : pages);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	pages = (argc > 2 ? (size_t)atoi(argv[2]) : 16) * 1048576 / PAGE;
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	for (size_t page = 0; page < pages; page++)
		for (size_t i = 0; i < WORDS; i++)
			memory[page * WORDS + i] = word_of(page, i);
	control_start(atoi(argv[1]), handle);
	say("ready");
	for (;;)
		pause();
}
