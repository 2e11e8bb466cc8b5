/* SPDX-License-Identifier: Apache-2.0
 *
 * A question to a running program's control socket: one line there, lines back.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "host/failure.h"

struct ask {
	FILE *stream; /* NULL: none */
	const char *name;
	int pid;	   /* of who listens; -1: not known */
	uint64_t until_us; /* for the first answer; 0: it has come, or may take its time */
	bool silent;	   /* it has not */
};

/* Sends question, which it frees. -ETIMEDOUT: the program stands still, or its host's threads do. */
int ask_open(struct ask *a, const char *name, json_t *question, struct failure *why);
/* The next answer, or NULL if there is none. The first is waited for a few seconds, those after it for ever. */
json_t *ask_next(struct ask *a);
void ask_close(struct ask *a);
/* Does the program answer at all? For questions whose own answer may take its time. */
int ask_listens(const char *name, struct failure *why);

/* Nonzero if answer is an error's, or NULL: why is filled. */
int ask_failed(const struct ask *a, const json_t *answer, struct failure *why);

#endif
