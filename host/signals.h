/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals sent to the host process are the program's: a thread takes them and
 * hands them in. It also wakes the program's timers, which live in the enclave. A second SIGINT or SIGTERM within SIGNALS_IMPATIENCE_MS, while
 * the program still runs, ends the process, for programs that do not listen.
 */
#ifndef HOST_SIGNALS_H
#define HOST_SIGNALS_H

#include "host/enclave.h"

#define SIGNALS_IMPATIENCE_MS 2000

/* In main(), before any thread is made: they inherit the mask. */
void signals_block(void);
/* From now on signals go to the enclave. Lasts as long as the process. 0 or -errno. */
int signals_forward(struct enclave *e);

/* A move: once the program's state is being handed out, the enclave here is the wrong one to tell. What comes between
 * hold and release is kept: told by release if the move was undone, else for the other side. */
void signals_hold(void);
void signals_release(struct enclave *e);
/* Those kept so far, all that were sent before this call among them, bit n - 1 for signal n. They are the caller's now. */
uint64_t signals_take(void);
/* At the other side. */
void signals_give(struct enclave *e, uint64_t set);
/* A timer was set (OCALL_TIMERS), or threads that were stopped go on. */
void signals_timers(struct enclave *e);

#endif
