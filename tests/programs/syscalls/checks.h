/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of syscalls share: how a check says that it failed, and the
 * list of each part.
 */
#ifndef TESTS_PROGRAMS_SYSCALLS_CHECKS_H
#define TESTS_PROGRAMS_SYSCALLS_CHECKS_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

/* Ends the check it stands in. */
#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		errno = 0;                                                                                   \
		if (!(condition)) {                                                                          \
			check_failed(__FILE__, __LINE__, #condition);                                        \
			return;                                                                              \
		}                                                                                            \
	} while (0)

struct check {
	const char *name;
	void (*run)(void);
};

/* each ends with one that has no name */
extern const struct check checks_of_memory[], checks_of_files[], checks_of_events[], checks_of_sockets[],
    checks_of_threads[], checks_of_signals[], checks_of_library[], checks_of_process[];

/* Counts and prints it, with errno as it is. */
void check_failed(const char *file, int line, const char *condition);

uint64_t now_ns(clockid_t clock);

/* A file of this process in the directory the program was given. */
void path_of(const char *name, char out[256]);

#endif
