/* SPDX-License-Identifier: Apache-2.0
 *
 * Futexes: the queues are in here, only the sleeping is the host's. A host that
 * wakes early or never wakes can delay, not confuse.
 */
#ifndef ENCLAVE_FUTEX_H
#define ENCLAVE_FUTEX_H

#include <stdint.h>

struct thread;

/* May park: then it does not return (the wait is issued again, its value compared again). */
int64_t futex_call(struct thread *t, const uint64_t arg[6]);
int64_t futex_wake(uint64_t addr, uint32_t count, uint32_t bitset);

#endif
