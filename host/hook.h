/* SPDX-License-Identifier: Apache-2.0
 *
 * The operator's hook: one process that lives as long as a migration, so that
 * nothing is spawned while the program stands still. Each event is one line on
 * its standard input, "EVENT NAME\n"; it answers "ok" or a line of its own
 * that says why not. Untrusted, like everything here.
 */
#ifndef HOST_HOOK_H
#define HOST_HOOK_H

#include "host/failure.h"

struct hook;

enum hook_event {
	HOOK_PRE_STOP,
	HOOK_POST_STOP,
	HOOK_PRE_RESUME,
	HOOK_POST_RESUME,
	HOOK_FAILED,
	HOOK_EVENT_COUNT
};

/* Starts program (searched in PATH) with the argument `role` ("source" or "destination"). */
int hook_start(const char *program, const char *role, struct hook **out, struct failure *why);
/* Tells it and waits for its line. h may be NULL: 0. -ETIMEDOUT, -EPIPE if it has ended, -ECANCELED with
 * its own words in why if it answered anything but "ok". detail: the enclave's name. */
int hook_tell(struct hook *h, enum hook_event event, const char *detail, unsigned timeout_ms,
	      struct failure *why);
/* Closes its input, waits briefly, then ends it. NULL is fine. */
void hook_stop(struct hook *h);

#endif
