/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's timers: setitimer's and timer_create's. They stand in enclave
 * time, or in the time its threads have used of processors, and so move with what
 * remains of them. The host only says when it is time to look; one that says so late is a slow machine, too early is no matter.
 */
#ifndef ENCLAVE_TIMER_H
#define ENCLAVE_TIMER_H

#include "enclave/wire.h"

struct thread;

/* CALL_UNKNOWN for a call that is none of timers. */
int64_t timer_call(struct thread *t, uint64_t nr, const uint64_t a[6]);

/* RLIMIT_CPU, in seconds, ~0 for none: SIGXCPU from soft on, every second, SIGKILL at hard. */
void timers_cpu_limit(struct thread *t, uint64_t soft_s, uint64_t hard_s);

/* SERVICE_TIMERS: rings the first that is due. *slot: to be kicked, or -1. Returns when to look again, in the host's
 * time, ~0 for never; cpu: the same by its processor times. Nothing rings while threads are stopped for a move. */
uint64_t timers_look(int64_t *slot, uint64_t cpu[2]);

/* Which of them raised this signal, for its siginfo: code and value; false if none did. Under the lock. */
struct timer_rung {
	int32_t code, id, overrun;
	uint64_t value;
};
bool timer_raised(int signum, uint32_t tid, struct timer_rung *out);

/* Between these two nothing rings: what is pending and what is due are one state. */
void timers_lock(void);
void timers_unlock(void);
void timers_export(struct writer *w);
void timers_import(struct reader *r);

#endif
