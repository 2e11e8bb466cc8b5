/* SPDX-License-Identifier: Apache-2.0
 *
 * A condition that does not hold is named, and ends the process at once: it may be one that a test has forked.
 */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdio.h>
#include <unistd.h>

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: %s (errno %m)\n", __FILE__, __LINE__, #condition);           \
			fflush(stdout);                                                                      \
			_exit(1);                                                                            \
		}                                                                                            \
	} while (0)

#endif
