/* SPDX-License-Identifier: Apache-2.0
 *
 * What the simulated machine can do, and the settings that shape it.
 */
#ifndef SOFTSGX_PLATFORM_H
#define SOFTSGX_PLATFORM_H

#include <stdint.h>
#include "sgx/arch.h"

#define PLATFORM_SIZE_LOG2 56u
#define PLATFORM_ATTRIBUTES                                                                                  \
	(SGX_ATTR_INIT | SGX_ATTR_DEBUG | SGX_ATTR_MODE64BIT | SGX_ATTR_PROVISIONKEY |                       \
	 SGX_ATTR_EINITTOKENKEY | SGX_ATTR_KSS | SGX_ATTR_AEXNOTIFY)
#define PLATFORM_MISCSELECT SGX_MISC_EXINFO

/* XCR0 bits that an enclave may have. */
uint64_t platform_xfrm(void);
/* Bytes of EPC that CPUID reports: SOFTSGX_EPC (a number with an optional K, M, G), else half of memory. */
uint64_t platform_epc_size(void);
/* Bytes that enclaves may have in all, paged out or not: SOFTSGX_LIMIT, else no limit. */
uint64_t platform_epc_limit(void);

#endif
