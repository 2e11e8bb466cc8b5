/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests to the host. Private to the runtime; needs an application slot (one
 * that has a call area).
 */
#ifndef ENCLAVE_OCALL_H
#define ENCLAVE_OCALL_H

#include "enclave/rt.h"

struct thread;

/* Address of the call area's data in host memory, CALL_DATA_SIZE bytes. */
uint64_t area_data(struct thread *t);
/* The answer is the host's word: callers check it. interrupted may be NULL. */
int64_t ocall(struct thread *t, enum ocall op, uint64_t nr, const uint64_t arg[6], bool *interrupted);
int64_t ocall1(struct thread *t, enum ocall op, uint64_t arg0);
void rt_trace(uint64_t nr, bool unknown);

/* Why the enclave is dead, FATAL_NONE while it lives: an enum fatal, and above it the signal of a program's own fault.
 * The first reason stays. */
uint64_t rt_dead(void);
void rt_set_dead(uint64_t why);

#endif
