/* SPDX-License-Identifier: Apache-2.0 */
/*
 * witness: what this machine does to a thread that only sleeps. Prints the longest gap between two of its
 * wake-ups, in us, when it gets SIGTERM.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static volatile sig_atomic_t told;

static void tell(int signal)
{
	told = signal;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int main(void)
{
	uint64_t longest = 0;

	signal(SIGTERM, tell);
	for (uint64_t last = now_us(), now; !told; last = now) {
		nanosleep(&(struct timespec){0, 200 * 1000}, NULL);
		now = now_us();
		if (now - last > longest)
			longest = now - last;
	}
	printf("%llu\n", (unsigned long long)longest);
	return 0;
}
