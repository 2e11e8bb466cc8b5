/* SPDX-License-Identifier: Apache-2.0
 *
 * Who gets a signal. Ours come first to softsgx_signal (entry.S) on our
 * alternate stack with everything blocked. What is not ours is delivered again
 * by hand, as the kernel would have done it: frame, stack, mask and flags are
 * those the program asked for.
 */
#ifndef SOFTSGX_SIGNALS_H
#define SOFTSGX_SIGNALS_H

#include <signal.h>
#include <ucontext.h>
#include "softsgx/thread.h"

int signals_init(void);
int signals_active(void);
/* Handlers that the C library has installed for itself since. */
void signals_adopt_hidden(void);
/* Is a signal waiting that the program would handle and does not block? */
int signals_wait(uint64_t blocked);
/* sigaltstack() of a thread that has a record: its real alternate stack stays ours. 0 or -errno. */
int signals_altstack(const stack_t *stack, stack_t *old);
/* Takes the signals that enclave code traps with out of a mask to block. */
void signals_keep_ours(sigset_t *set);

/* Makes context enter the program's handler for this signal, or lets the default action happen. t may be
 * NULL. */
void signals_deliver(int signal, const siginfo_t *info, ucontext_t *context, struct thread *t);

#endif
