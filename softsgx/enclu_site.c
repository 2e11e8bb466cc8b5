/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/enclu_site.h"

#define INT3 0xcc
#define ENCLU_FIRST_BYTE 0x0f

/* An offset is never 0: entries are offset + 1. */
int enclu_site(const struct enclave *e, uint64_t offset)
{
	for (size_t i = 0; i < ENCLU_SITES; i++)
		if (__atomic_load_n(&e->enclu_site[i], __ATOMIC_ACQUIRE) == offset + 1)
			return 1;
	return 0;
}

void enclu_site_make(struct enclave *e, uint64_t offset)
{
	uint32_t entry = epcm_get(&e->epcm, offset / SGX_PAGE_SIZE);
	uint64_t *free = NULL;

	if (epcm_type(entry) != SGX_PT_REG || !(entry & SGX_SECINFO_X) || (entry & SGX_SECINFO_W) ||
	    enclu_site(e, offset))
		return;
	for (size_t i = 0; i < ENCLU_SITES && !free; i++)
		if (!e->enclu_site[i])
			free = &e->enclu_site[i];
	if (!free)
		return;
	/* Known before it traps. One byte: other threads fetch the old instruction or the new one. */
	__atomic_store_n(free, offset + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(e->view + offset, INT3, __ATOMIC_SEQ_CST);
}

void enclu_site_drop(struct enclave *e, size_t first, size_t count)
{
	for (size_t i = 0; i < ENCLU_SITES; i++) {
		uint64_t offset = e->enclu_site[i] - 1;

		if (!e->enclu_site[i] || offset / SGX_PAGE_SIZE - first >= count)
			continue;
		__atomic_store_n(e->view + offset, ENCLU_FIRST_BYTE, __ATOMIC_SEQ_CST);
		__atomic_store_n(&e->enclu_site[i], 0, __ATOMIC_SEQ_CST);
	}
}
