/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the libc: says what does not hold, and goes on.
 */
#ifndef TESTS_LIBC_CHECK_H
#define TESTS_LIBC_CHECK_H

#include <stdio.h>

static int failed;

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			printf("%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                 \
			failed = 1;                                                                          \
		}                                                                                            \
	} while (0)

#endif
