/* SPDX-License-Identifier: Apache-2.0
 *
 * syscalls [DIRECTORY [CHECK]]: one small check for each facility of the C
 * library a program may count on, by subject in syscalls/. Prints the name of
 * what fails; the exit status says whether anything did. Nothing here knows
 * where it runs.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *directory = "/tmp";
static const char *current;
static int failures;

static const struct check *const parts[] = {
	checks_of_memory, checks_of_files, checks_of_events, checks_of_sockets,
	checks_of_threads, checks_of_signals, checks_of_library, checks_of_process,
};

void check_failed(const char *file, int line, const char *condition)
{
	printf("FAILED %s: %s:%d: %s (%s)\n", current, file, line, condition, strerror(errno));
	failures++;
}

uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void path_of(const char *name, char out[256])
{
	snprintf(out, 256, "%s/syscalls.%d.%s", directory, (int)getpid(), name);
}

int main(int argc, char **argv)
{
	size_t count = 0;

	if (argc > 1)
		directory = argv[1];
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		for (const struct check *check = parts[i]; check->name; check++) {
			count++;
			current = check->name;
			if (argc > 2 && strcmp(argv[2], current))
				continue;
			check->run();
			fflush(stdout);
		}
	}
	printf("%zu checks, %d failed\n", count, failures);
	return failures ? 1 : 0;
}
