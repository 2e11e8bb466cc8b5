/* SPDX-License-Identifier: Apache-2.0
 *
 * A question to a running program's control socket: one line there, lines back.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <jansson.h>
#include <stdio.h>
#include "host/failure.h"

struct ask {
	FILE *stream;
};

/* Sends question, which it frees. */
int ask_open(struct ask *a, const char *name, json_t *question, struct failure *why);
/* The next answer, or NULL if there is none. */
json_t *ask_next(struct ask *a);
void ask_close(struct ask *a);

/* True if it is an error's answer: why is filled. */
int ask_failed(const json_t *answer, struct failure *why);

#endif
