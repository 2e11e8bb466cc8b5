/* SPDX-License-Identifier: Apache-2.0
 *
 * The destination's untrusted half of one migration: the life of the process
 * that receives a program and then is its home.
 */
#ifndef MIGRATE_DESTINATION_H
#define MIGRATE_DESTINATION_H

#include "host/enclave.h"
#include "migrate/wire.h"

struct destination_options {
	const char *image_dir;
	const char *hook; /* NULL: none */
};

/* Runs in a process of its own, which it may fill with threads. control_fd: the connection that said hello.
 * channel_fd: a SOCK_SEQPACKET from the receive service, which brings further connections of this session (a
 * struct frame_attach with the descriptor) and takes one byte once the program runs here. 0 when a program
 * came and has ended: *end, *status as enclave_wait() gives them. Otherwise nothing is left of it. */
int destination_run(const struct destination_options *o, const struct frame_hello *hello, int control_fd,
		    int channel_fd, enum enclave_end *end, int *status);

#endif
