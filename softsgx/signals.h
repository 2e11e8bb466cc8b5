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

/* Makes context enter the program's handler for this signal, or lets the default action happen. t may be
 * NULL. */
void signals_deliver(int signal, const siginfo_t *info, ucontext_t *context, struct thread *t);

#endif
