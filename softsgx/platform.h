/* SPDX-License-Identifier: Apache-2.0
 *
 * What the simulated machine can do, and the settings that shape it.
 */
#ifndef SOFTSGX_PLATFORM_H
#define SOFTSGX_PLATFORM_H

#include <stdint.h>
#include "sgx/arch.h"

#define PLATFORM_SIZE_LOG2 56u
#define PLATFORM_SIZE_LOG2_32 31u /* of enclaves of 32-bit programs */

/* SOFTSGX_SGX1: without SGX2, AEX-Notify and the leaves that came later. */
int platform_has_sgx2(void);
/* SECS attributes that an enclave may have. */
uint64_t platform_attributes(void);
/* XCR0 bits that an enclave may have. */
uint64_t platform_xfrm(void);
/* Bytes of EPC that CPUID reports: SOFTSGX_EPC (a number with an optional K, M, G), else half of memory. */
uint64_t platform_epc_size(void);
/* Bytes that enclaves may have in all, paged out or not: SOFTSGX_LIMIT, else no limit. */
uint64_t platform_epc_limit(void);

#endif
