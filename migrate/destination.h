/* SPDX-License-Identifier: Apache-2.0
 *
 * The destination's untrusted half of one migration: the life of the process
 * that receives a program and then is its home.
 */
#ifndef MIGRATE_DESTINATION_H
#define MIGRATE_DESTINATION_H

#include <stdatomic.h>
#include "host/enclave.h"
#include "migrate/wire.h"

struct destination_options {
	const char *image_dir;
	const char *hook; /* NULL: none */
};

/* In memory that the receive service and the session's process share. Each of them goes on from COMING by an
 * exchange, and only one of them can: a session that was given up never says READY, and once it has, the
 * process outlives the service, for the program may be nowhere else. */
enum session_stage {
	STAGE_COMING,
	STAGE_GIVEN_UP, /* by the service */
	STAGE_READY,	/* by the process, as all that follow */
	STAGE_HOME,	/* the program runs here */
};

/* Runs in a process of its own, which it may fill with threads. control_fd: the connection that said hello.
 * attach_fd: of attach_listen(), where further connections of this session come. stage: shared with the service.
 * 0 when a program came and has ended: *end, *status as enclave_wait() gives them. Otherwise nothing is left of
 * it. */
int destination_run(const struct destination_options *o, const struct frame_hello *hello, int control_fd,
		    int attach_fd, atomic_int *stage, enum enclave_end *end, int *status);

#endif
