/* SPDX-License-Identifier: Apache-2.0
 *
 * Accesses to enclave pages from outside: reads give ones, writes vanish. The
 * instruction is stepped over a page of ones put in the enclave page's place.
 *
 * Only pages that are not installed for the enclave's own code can be kept from
 * the host like that: see SOFTSGX_STRICT in docs/softsgx.md.
 */
#ifndef SOFTSGX_ABORT_H
#define SOFTSGX_ABORT_H

#include <ucontext.h>
#include "softsgx/thread.h"

/* A host access faulted at address: 0 if context may go on with it, else the page-fault code the program is
 * to see (mm.h). */
uint32_t abort_begin(struct thread *t, ucontext_t *context, uint64_t address, uint32_t error);
/* Puts the pages back. 1 if the trap was our own step. */
int abort_end(struct thread *t, ucontext_t *context);
/* An exit, when nobody of the program is inside any more: nothing is left for the host to see, if asked for.
 */
void abort_left(struct enclave *e);

#endif
