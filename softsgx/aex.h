/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaving and re-entering enclave mode with registers in the SSA (SDM 37).
 */
#ifndef SOFTSGX_AEX_H
#define SOFTSGX_AEX_H

#include <ucontext.h>
#include "softsgx/thread.h"

/* Why enclave code stopped. */
struct exception {
	uint8_t vector;
	uint32_t code;	  /* low 16 bits are the error code; MM_BUS and MM_MAPPED choose the signal */
	uint64_t address; /* #PF */
};
#define VECTOR_NONE 0xff /* an interrupt: no EXITINFO */

/* Frame CSSA-1+n of a TCS, in our view. NULL if it is not inside the enclave. */
uint8_t *ssa_frame(const struct enclave *e, const struct sgx_tcs *tcs, uint32_t frame);
struct sgx_gprsgx *ssa_gpr(const struct enclave *e, uint8_t *frame);

/* Asynchronous exit: registers go to the SSA, context becomes the synthetic state at the AEP. */
void aex(struct thread *t, ucontext_t *context, const struct exception *why);

/* ERESUME's load of a frame into context: 0 or -1 (#GP, context unchanged). */
int ssa_load(const struct enclave *e, uint8_t *frame, ucontext_t *context, uint64_t *fs, uint64_t *gs);

static inline int is_canonical(uint64_t address)
{
	return (int64_t)(address << 16) >> 16 == (int64_t)address;
}

#endif
