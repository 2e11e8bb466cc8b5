/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls of the application. gate.c decides who answers: the runtime
 * itself (memory, threads, futexes, clocks, signals) or, marshaled by calls.c,
 * the host.
 */
#ifndef ENCLAVE_CALLS_H
#define ENCLAVE_CALLS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

struct thread;

/* A call that waits asks these after every return from outside. */
bool call_must_park(void);
bool call_must_signal(struct thread *t);
/* Parks; the call is issued again, with what remains of its time. */
_Noreturn void call_park_again(struct thread *t);

/* Answers the call in t->ctx.call. Parks, or goes to a signal handler, where one is due. */
int64_t gate_answer(struct thread *t);

#define CALL_UNKNOWN (-4096) /* no such call in the table */
/* Calls of the host. CALL_UNKNOWN when the table has none of that number. */
int64_t calls_host(struct thread *t, uint64_t nr, const uint64_t arg[6]);
/* One blocking step outside: parks or reports -EINTR as needed, repeats when nothing happened. */
int64_t call_out(struct thread *t, uint64_t nr, const uint64_t arg[6]);
/* So much of a socket's address says where: a path ends with its NUL, whatever the program has behind it. */
uint64_t address_used(const void *address, uint64_t size);
/* What the host says, or -EIO: no result is more than was asked for. */
static inline int64_t call_bounded(int64_t rc, int64_t most)
{
	return rc > most || rc < -4095 ? -EIO : rc;
}

#endif
