/* SPDX-License-Identifier: Apache-2.0
 *
 * The ENCLU leaves (SDM 38.4), each as the change it makes to a trapped context.
 */
#ifndef SOFTSGX_LEAF_H
#define SOFTSGX_LEAF_H

#include "softsgx/aex.h"

/* Executes the ENCLU at RIP, size bytes long. 0: done, the context has moved on; 1: it faulted as *fault
 * says and the context is unchanged. */
int leaf_inside(struct thread *t, ucontext_t *context, unsigned int size, struct exception *fault);
int leaf_outside(struct thread *t, ucontext_t *context, unsigned int size, struct exception *fault);

#endif
