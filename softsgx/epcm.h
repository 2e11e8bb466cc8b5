/* SPDX-License-Identifier: Apache-2.0
 *
 * Enclave page cache map: one word per page of ELRANGE. The words lie in a
 * sparse shared mapping that costs memory only where pages exist; a directory
 * with a count per 512 pages keeps readers from populating it.
 *
 * Bits 0..5 and 8..15 are those of SECINFO.FLAGS, so that EACCEPT's comparison is
 * one mask. Changed under the enclave's lock.
 */
#ifndef SOFTSGX_EPCM_H
#define SOFTSGX_EPCM_H

#include <stddef.h>
#include <stdint.h>
#include "sgx/arch.h"

#define EPCM_RWX 0x7u
#define EPCM_PENDING ((uint32_t)SGX_SECINFO_PENDING)
#define EPCM_MODIFIED ((uint32_t)SGX_SECINFO_MODIFIED)
#define EPCM_PR ((uint32_t)SGX_SECINFO_PR)
#define EPCM_VALID 0x40u
#define EPCM_PRESENT 0x80u /* a kernel would have the page table entry filled */
#define EPCM_TYPE_SHIFT 8
#define EPCM_TYPE_MASK 0xff00u
#define EPCM_SECINFO_MASK 0xff3fu
#define EPCM_MAX_SHIFT 16 /* the most a mapping may allow: RWX again */
#define EPCM_MAX_MASK (EPCM_RWX << EPCM_MAX_SHIFT)
#define EPCM_NARROWED (1u << 20) /* our real mapping allows less than the program asked for */
#define EPCM_STORED (1u << 21)	 /* the backing file holds the page */
#define EPCM_COPYING (1u << 22)	 /* EACCEPTCOPY is at it, without the lock */

#define EPCM_CHUNK_SHIFT 9

struct epcm {
	uint32_t *entry;
	uint16_t *chunk; /* valid entries in each 512 */
	size_t count;	 /* pages */
};

/* Valid pages. */
size_t epcm_used(const struct epcm *epcm);
int epcm_create(struct epcm *epcm, size_t page_count);
/* This process's mapping of it; the structure itself is shared and stays as it is. */
void epcm_destroy(const struct epcm *epcm);

static inline uint32_t epcm_get(const struct epcm *epcm, size_t index)
{
	if (index >= epcm->count || !epcm->chunk[index >> EPCM_CHUNK_SHIFT])
		return 0;
	return __atomic_load_n(&epcm->entry[index], __ATOMIC_RELAXED);
}

static inline void epcm_set(struct epcm *epcm, size_t index, uint32_t value)
{
	uint32_t old = epcm->entry[index];

	__atomic_store_n(&epcm->entry[index], value, __ATOMIC_RELAXED);
	epcm->chunk[index >> EPCM_CHUNK_SHIFT] += !!(value & EPCM_VALID) - !!(old & EPCM_VALID);
}

/* First valid entry at or after index, or end. */
static inline size_t epcm_next(const struct epcm *epcm, size_t index, size_t end)
{
	while (index < end) {
		if (!epcm->chunk[index >> EPCM_CHUNK_SHIFT])
			index = ((index >> EPCM_CHUNK_SHIFT) + 1) << EPCM_CHUNK_SHIFT;
		else if (epcm->entry[index] & EPCM_VALID)
			return index;
		else
			index++;
	}
	return end;
}

/* Does the page have content to look at? A hole is zeros, and reading it would fill it. */
static inline int epcm_is_stored(const struct epcm *epcm, size_t index)
{
	const uint32_t wanted = EPCM_VALID | EPCM_STORED;

	return (epcm_get(epcm, index) & wanted) == wanted;
}

static inline unsigned int epcm_type(uint32_t entry)
{
	return (entry & EPCM_TYPE_MASK) >> EPCM_TYPE_SHIFT;
}

#endif
