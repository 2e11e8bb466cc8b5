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
	if (!strcmp(how, "exit"))
		return atoi(argv[2]);
	if (!strcmp(how, "environment"))
		puts(getenv("GREETING"));
	if (!strcmp(how, "arguments"))
		for (int i = 2; i < argc; i++)
			puts(argv[i]);
	return 0;
}
