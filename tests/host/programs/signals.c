/* SPDX-License-Identifier: Apache-2.0
 *
 * Says "ready" and then is somewhere when a signal comes: computing, asleep,
 * reading, or not listening. Or ends by itself, in a way it is told.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t got;

static void handler(int number)
{
	got = number;
}

static char other_stack[65536];

/* Says where, and ends: what a crash handler does. */
static void crashed(int number, siginfo_t *info, void *context)
{
	char here;
	(void)context;
	printf("%d %d %lx%s\n", number, info->si_code, (unsigned long)info->si_addr,
	       (unsigned long)(&here - other_stack) < sizeof(other_stack) ? " elsewhere" : "");
	fflush(stdout);
	_exit(9);
}

static void expect_crash(int number)
{
	struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof(other_stack)};

	sigaltstack(&stack, NULL);
	sigaction(number, &action, NULL);
}

static unsigned deeper(unsigned n)
{
	volatile char room[1000];

	room[n % sizeof(room)] = (char)n;
	return deeper(n + 1) + (unsigned char)room[(n + 1) % sizeof(room)];
}

static void ready(void)
{
	struct sigaction action = {.sa_handler = handler};

	sigaction(SIGTERM, &action, NULL);
	puts("ready");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	char byte;

	if (!strcmp(how, "compute")) {
		ready();
		while (!got)
			;
		return got;
	}
	if (!strcmp(how, "sleep")) {
		ready();
		return sleep(20) && got ? got : 1;
	}
	if (!strcmp(how, "read")) {
		ready();
		return read(0, &byte, 1) < 0 && got ? got : 1;
	}
	if (!strcmp(how, "deaf")) {
		ready();
		for (;;)
			pause();
	}
	if (!strcmp(how, "default")) {
		puts("ready");
		fflush(stdout);
		for (;;)
			pause();
	}
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "wild"))
		*(volatile int *)0x1f0000000 = 1;
	if (!strcmp(how, "wild-handled")) {
		expect_crash(SIGSEGV);
		*(volatile int *)0x1f0000040 = 1;
	}
	if (!strcmp(how, "divide") || !strcmp(how, "divide-handled")) {
		volatile int zero = 0;
		if (strcmp(how, "divide"))
			expect_crash(SIGFPE);
		return 7 / zero;
	}
	if (!strcmp(how, "illegal"))
		__builtin_trap();
	if (!strcmp(how, "nowhere")) {
		void (*volatile none)(void) = NULL;
		expect_crash(SIGSEGV);
		none();
	}
	if (!strcmp(how, "deep"))
		return (int)deeper(1);
	if (!strcmp(how, "deep-handled")) {
		expect_crash(SIGSEGV);
		return (int)deeper(1);
	}
	if (!strcmp(how, "raise"))
		raise(SIGBUS);
	if (!strcmp(how, "alarm")) {
		alarm(1);
		pause();
	}
	if (!strcmp(how, "fork"))
		return fork() == -1 ? 0 : 1;
	if (!strcmp(how, "exit"))
		return atoi(argv[2]);
	if (!strcmp(how, "environment"))
		puts(getenv("GREETING"));
	if (!strcmp(how, "arguments"))
		for (int i = 2; i < argc; i++)
			puts(argv[i]);
	return 0;
}
