/* SPDX-License-Identifier: Apache-2.0
 *
 * One enclave: what the kernel and the processor would know of it. Lies in
 * memory shared over fork. Not known here: who maps it (mm.h) and who is inside
 * (thread.h).
 */
#ifndef SOFTSGX_ENCLAVE_H
#define SOFTSGX_ENCLAVE_H

#include <mbedtls/sha256.h>
#include "sgx/arch.h"
#include "softsgx/epcm.h"
#include "softsgx/lock.h"
#include "softsgx/softsgx.h"

#define ENCLAVES_MAX 256
#define INT3_SITES 64

/* Longest XSAVE image an SSA frame may have to hold: XFRM 0x2e7. */
#define XSAVE_SIZE_MAX 2696u

struct enclave {
	struct lock lock;	  /* EPCM, measurement, SECS */
	uint32_t index;		  /* in the process's table of enclaves */
	uint32_t busy;		  /* an ioctl is in progress */
	uint64_t signals_blocked; /* by the program, while the ioctl runs with all of them blocked */
	int32_t creator;	  /* process */
	uint32_t created;
	uint32_t initialised;
	uint64_t base;
	uint64_t size;
	uint8_t *view; /* our own read-write mapping of all pages */
	int backing_fd;
	struct epcm epcm;
	uint64_t int3_site[INT3_SITES]; /* see int3_site.h */

	struct sgx_secs secs;
	uint8_t isv_family_id[16];
	uint8_t isv_ext_prod_id[16];
	uint64_t attributes_allowed;
	mbedtls_sha256_context measurement;

	struct softsgx_stats stats;
};

static inline int enclave_contains(const struct enclave *e, uint64_t address, uint64_t size)
{
	return address >= e->base && size <= e->size && address - e->base <= e->size - size;
}

static inline size_t enclave_page(const struct enclave *e, uint64_t address)
{
	return (address - e->base) >> 12;
}

static inline void enclave_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* TCS.STATE bit 0: a thread is inside. The page is aligned, whatever its packed type says. */
static inline int tcs_claim(struct sgx_tcs *tcs)
{
	return !(__atomic_fetch_or((uint64_t *)(void *)tcs, 1, __ATOMIC_ACQUIRE) & 1);
}

static inline void tcs_release(struct sgx_tcs *tcs)
{
	__atomic_and_fetch((uint64_t *)(void *)tcs, ~1ull, __ATOMIC_RELEASE);
}

/* Largest SSA part that XSAVE needs for these features, bytes. */
static inline size_t xsave_size(uint64_t xfrm)
{
	if (xfrm & (1ull << 9))
		return 2696;
	if (xfrm & 0xe0)
		return 2688;
	return xfrm & 4 ? 832 : 576;
}

#endif
