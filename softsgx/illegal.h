/* SPDX-License-Identifier: Apache-2.0
 *
 * Instructions that are #UD inside an enclave (SDM volume 3D, "illegal
 * instructions inside an enclave"). Most fault in user mode anyway, with another
 * vector. For those that do not, CPUID above all, the processor's breakpoints are
 * set: an address in code that was mapped, found by looking at its bytes, is only
 * a guess, and a breakpoint traps only where an instruction really begins. There
 * are four of them.
 */
#ifndef SOFTSGX_ILLEGAL_H
#define SOFTSGX_ILLEGAL_H

#include <signal.h>
#include "softsgx/thread.h"

/* Is what begins here #UD inside? size: how many bytes may be read. */
int illegal_instruction(const uint8_t *code, size_t size);
/* Looks for such instructions in pages that are about to become executable. The enclave is locked. */
void illegal_look(struct enclave *e, size_t first, size_t count);
/* Sets the calling thread's breakpoints if they are not up to date. */
void illegal_arm(struct thread *t);
/* Is this signal one of these breakpoints? */
int illegal_is_trap(int signal, const siginfo_t *info);
/* The enclave goes away. */
void illegal_forget(const struct enclave *e);
/* The thread ends, or is another process's after fork. */
void illegal_disarm(struct thread *t);
/* In a forked child: whoever held our lock is not there. */
void illegal_forked(void);

#endif
