/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked into a tracked program, does to it what the rounds of a move do while
 * nothing is sent: marks are switched on, and a process that shares the
 * program's memory, on the processor it does not use, takes them round after
 * round and copies pages as the mode does: hybrid those that were written and
 * have become quiet; with PRECOPY defined, all that were written. A process and
 * not a thread: the C library would lock more if it knew of a thread, and its time
 * would count as the program's.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "abi/layout.h"

#define ROUND_NS 1000000 /* what a round costs at least, its messages */
#define STACK_SIZE (256 << 10)

/* The C library's own clone makes threads only; this is what it calls (libc/native/gate.S). */
int __optmig_clone(int (*run)(void *), void *stack, int flags, void *argument, void *, void *, void *);

static int maps, memory;
static uint8_t restless[(MARKS_MASK + 1) / 8]; /* written in the last round: a bit a page */

/* Of eight pages: a bit for each that has a mark. */
static unsigned take_eight(uintptr_t page)
{
	uint64_t *marks = (uint64_t *)(MARKS_BASE + (page & MARKS_MASK)), taken;
	unsigned written = 0;

	if (__atomic_load_n(marks, __ATOMIC_RELAXED) == 0)
		return 0;
	taken = __atomic_exchange_n(marks, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 8; i++)
		written |= (unsigned)((taken >> (8 * i) & 0xff) != 0) << i;
	return written;
}

static unsigned goes(uint8_t *before, unsigned written)
{
#ifdef PRECOPY
	(void)before;
	return written;
#else
	unsigned was = *before;

	if (was != written)
		*before = (uint8_t)written;
	return was & ~written;
#endif
}

static void take(uintptr_t first, uintptr_t end)
{
	static uint8_t copy[PAGE_SIZE];

	for (uintptr_t page = first & ~7ul; page < end; page += 8) {
		unsigned going = goes(&restless[(page & MARKS_MASK) / 8], take_eight(page));

		for (unsigned i = 0; going >> i; i++)
			/* through the kernel: the program may be unmapping it */
			if (going >> i & 1)
				(void)!pread(memory, copy, PAGE_SIZE, (off_t)((page + i) << PAGE_SHIFT));
	}
}

/* A hexadecimal number; *text is left behind it. */
static uintptr_t parse(const char **text)
{
	uintptr_t value = 0;

	for (;; ++*text) {
		if (**text >= '0' && **text <= '9')
			value = value << 4 | (uintptr_t)(**text - '0');
		else if (**text >= 'a' && **text <= 'f')
			value = value << 4 | (uintptr_t)(**text - 'a' + 10);
		else
			return value;
	}
}

/* Writable memory above the runtime's. Nothing of libc that writes: its variables are the program's. */
static void take_all(void)
{
	static char text[16 << 10];
	ssize_t size = pread(maps, text, sizeof(text) - 1, 0);

	text[size > 0 ? size : 0] = 0;
	for (const char *line = text; *line;) {
		uintptr_t start = parse(&line), end = (line++, parse(&line));

		if (line[0] && line[1] && line[2] == 'w' && start >= APP_BASE)
			take(start >> PAGE_SHIFT, end >> PAGE_SHIFT);
		while (*line && *line++ != '\n')
			;
	}
}

static int collect(void *unused)
{
	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		take_all();
		nanosleep(&(struct timespec){0, ROUND_NS}, NULL);
	}
}

__attribute__((constructor)) static void begin(void)
{
	static uint8_t stack[STACK_SIZE];

	maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	*(volatile uint8_t *)TRACK_WORD = 1;
	if (maps < 0 || memory < 0 ||
	    __optmig_clone(collect, stack + STACK_SIZE, CLONE_VM | CLONE_FILES, NULL, NULL, NULL, NULL) < 0) {
		perror("collector");
		_exit(1);
	}
}
