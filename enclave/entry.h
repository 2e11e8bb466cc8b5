/* SPDX-License-Identifier: Apache-2.0
 *
 * What entry.S calls.
 */
#ifndef ENCLAVE_ENTRY_H
#define ENCLAVE_ENTRY_H

#include "enclave/thread.h"

_Noreturn void entry_c(struct thread *t, uint64_t op, uint64_t rsi, uint64_t rdx);
/* In RAX and RDX. */
struct fault_answer {
	uint64_t fatal; /* 0: resume; else enum fatal */
	uint64_t page;	/* to be waited for before that, 0: none */
};
struct fault_answer fault_c(struct thread *t, uint64_t op);
int64_t gate_enter(struct thread *t, const uint64_t call[7]);
void safepoint_enter(struct thread *t);

#endif
