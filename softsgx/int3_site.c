/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/int3_site.h"

#define INT3 0xcc
#define KIND_SHIFT 60

static const uint8_t first_byte[] = {[INT3_ENCLU] = 0x0f, [INT3_BASE] = 0xf3};

/* An entry that is in use is never 0: it has a kind. */
static uint64_t entry_of(uint64_t offset, enum int3_kind kind)
{
	return offset | (uint64_t)kind << KIND_SHIFT;
}

static uint64_t offset_of(uint64_t entry)
{
	return entry & ((1ull << KIND_SHIFT) - 1);
}

enum int3_kind int3_site(const struct enclave *e, uint64_t offset)
{
	for (size_t i = 0; i < INT3_SITES; i++) {
		uint64_t entry = __atomic_load_n(&e->int3_site[i], __ATOMIC_ACQUIRE);

		if (entry && offset_of(entry) == offset)
			return (enum int3_kind)(entry >> KIND_SHIFT);
	}
	return INT3_NONE;
}

void int3_site_make(struct enclave *e, uint64_t offset, enum int3_kind kind)
{
	uint32_t entry = epcm_get(&e->epcm, offset / SGX_PAGE_SIZE);
	uint64_t *free = NULL;

	if (epcm_type(entry) != SGX_PT_REG || !(entry & SGX_SECINFO_X) || (entry & SGX_SECINFO_W) ||
	    int3_site(e, offset))
		return;
	for (size_t i = 0; i < INT3_SITES && !free; i++)
		if (!e->int3_site[i])
			free = &e->int3_site[i];
	if (!free)
		return;
	/* Known before it traps. One byte: other threads fetch the old instruction or the new one. */
	__atomic_store_n(free, entry_of(offset, kind), __ATOMIC_SEQ_CST);
	__atomic_store_n(e->view + offset, INT3, __ATOMIC_SEQ_CST);
}

static int lies_in(uint64_t entry, size_t first, size_t count)
{
	return entry && offset_of(entry) / SGX_PAGE_SIZE - first < count;
}

static void put_back(struct enclave *e, uint64_t entry)
{
	__atomic_store_n(e->view + offset_of(entry), first_byte[entry >> KIND_SHIFT], __ATOMIC_SEQ_CST);
}

void int3_site_drop(struct enclave *e, size_t first, size_t count)
{
	for (size_t i = 0; i < INT3_SITES; i++) {
		if (!lies_in(e->int3_site[i], first, count))
			continue;
		put_back(e, e->int3_site[i]);
		__atomic_store_n(&e->int3_site[i], 0, __ATOMIC_SEQ_CST);
	}
}

void int3_site_hide(struct enclave *e, size_t page)
{
	for (size_t i = 0; i < INT3_SITES; i++)
		if (lies_in(e->int3_site[i], page, 1))
			put_back(e, e->int3_site[i]);
}

void int3_site_show(struct enclave *e, size_t page)
{
	for (size_t i = 0; i < INT3_SITES; i++)
		if (lies_in(e->int3_site[i], page, 1))
			__atomic_store_n(e->view + offset_of(e->int3_site[i]), INT3, __ATOMIC_SEQ_CST);
}
