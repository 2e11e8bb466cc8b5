/* SPDX-License-Identifier: Apache-2.0
 *
 * Why something failed, for the person at the terminal. Filled by the function
 * that knows, printed once at the edge (command line, log, JSON).
 */
#ifndef HOST_FAILURE_H
#define HOST_FAILURE_H

struct failure {
	int code;	   /* -errno, 0 if none */
	char message[400]; /* what, where, and what to do; no newline */
};

/* Fills why (may be NULL) and returns code, so that callers can `return fail(why, -EINVAL, "...")`. */
int fail(struct failure *why, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
