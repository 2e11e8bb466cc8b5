/* SPDX-License-Identifier: Apache-2.0
 *
 * The receive service: one thread that accepts connections, looks at their
 * first frame, and gives each session a process of its own, which becomes the
 * program's home. Untrusted side.
 */
#ifndef MIGRATE_RECEIVE_H
#define MIGRATE_RECEIVE_H

#include <stdbool.h>
#include "migrate/address.h"
#include "migrate/destination.h"

struct receive_options {
	struct address at;
	bool once; /* ends with the first program that came here and has ended */
	struct destination_options destination;
	/* The exit status for how a program ended. */
	int (*exit_status)(enum enclave_end end, int status);
};
/* Of a process that took nothing in. */
#define EXIT_NOT_TAKEN 76

/* Until SIGTERM or SIGINT, which is passed on to the programs that live here by then, or as `once` says.
 * *status: the exit status that ended it, 0 after a signal. */
int receive_run(const struct receive_options *o, int *status, struct failure *why);

#endif
