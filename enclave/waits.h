/* SPDX-License-Identifier: Apache-2.0
 *
 * Waiting on descriptors with a time-out. The deadline is the enclave's own and
 * is kept in the thread's context, so a wait that is parked goes on with what
 * remains of its time, here or elsewhere.
 */
#ifndef ENCLAVE_WAITS_H
#define ENCLAVE_WAITS_H

#include <stdint.h>

struct thread;

/* poll, ppoll, select, pselect6, epoll_wait, epoll_pwait */
int64_t waits_call(struct thread *t, uint64_t nr, const uint64_t arg[6]);

#endif
