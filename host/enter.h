/* SPDX-License-Identifier: Apache-2.0
 *
 * One crossing of the border, callable from C. The vDSO's function keeps none of
 * the registers a C caller relies on but RBX, RBP and RSP (an asynchronous exit
 * clears R12 to R15), and returns the enclave's words in registers.
 */
#ifndef HOST_ENTER_H
#define HOST_ENTER_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include "sgx/uapi.h"

/* Passed to the enclave, and what it left there. enter.S knows the layout. */
struct enter_words {
	uint64_t rdi, rsi, rdx;
};

/* function: SGX_EENTER or SGX_ERESUME. Returns what the vDSO's function returns. */
int enter_enclave(sgx_enter_enclave_fn enter, struct enter_words *words, unsigned function,
		  struct sgx_enclave_run *run);
#endif

#endif
