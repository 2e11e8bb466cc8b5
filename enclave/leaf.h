/* SPDX-License-Identifier: Apache-2.0
 *
 * ENCLU, one function per leaf the runtime uses, named as Intel names them.
 */
#ifndef ENCLAVE_LEAF_H
#define ENCLAVE_LEAF_H

#include "sgx/arch.h"

#define ENCLU ".byte 0x0f, 0x01, 0xd7"

/* Returns an enum sgx_error. */
static inline int encl_eaccept(const struct sgx_secinfo *secinfo, uint64_t page)
{
	uint64_t rax = SGX_EACCEPT;
	__asm__ volatile(ENCLU : "+a"(rax) : "b"(secinfo), "c"(page) : "memory", "cc");
	return (int)rax;
}

/* Makes a page that the host has just added exist with what is at from. Returns an enum sgx_error. */
static inline int encl_eacceptcopy(const struct sgx_secinfo *secinfo, uint64_t page, uint64_t from)
{
	uint64_t rax = SGX_EACCEPTCOPY;
	__asm__ volatile(ENCLU : "+a"(rax) : "b"(secinfo), "c"(page), "d"(from) : "memory", "cc");
	return (int)rax;
}

static inline void encl_ereport(const struct sgx_targetinfo *target, const struct sgx_reportdata *data,
				struct sgx_report *report)
{
	uint64_t rax = SGX_EREPORT;
	__asm__ volatile(ENCLU : "+a"(rax) : "b"(target), "c"(data), "d"(report) : "memory", "cc");
}

#endif
