/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing a running enclave: EMODPR, EMODT and the removal of trimmed pages
 * behind the kernel's ioctls. Taking the page table entries away stops other
 * threads from using the old right; then those inside are made to exit, as by
 * ETRACK and the kernel's interrupts.
 */
#include "softsgx/device.h"

#include <errno.h>
#include "softsgx/mm.h"
#include "softsgx/thread.h"

#define BATCH_PAGES 512u

/* One page's entry; an SGX error goes to *result with -EFAULT. */
typedef int (*page_work)(struct enclave *e, size_t index, uint64_t argument, uint64_t *result);
/* What makes the change felt, for a run of pages. */
typedef void (*run_work)(struct enclave *e, size_t first, size_t count);

static long for_each_page(struct enclave *e, uint64_t offset, uint64_t length, uint64_t argument,
			  page_work work, run_work effect, uint64_t *result, uint64_t *count)
{
	size_t first = offset / SGX_PAGE_SIZE, end = first + length / SGX_PAGE_SIZE, i = first;
	int error = 0;

	while (!error && i < end) {
		size_t start = i, limit = end - i < BATCH_PAGES ? end : i + BATCH_PAGES;

		lock_take(&e->lock);
		for (; i < limit; i++) {
			error = epcm_get(&e->epcm, i) & EPCM_VALID ? work(e, i, argument, result) : -EFAULT;
			if (error)
				break;
		}
		if (i > start)
			effect(e, start, i - start);
		lock_drop(&e->lock);
	}
	*count = (i - first) * SGX_PAGE_SIZE;
	mm_generation_bump();
	return error;
}

/* ETRACK and the interrupts after it: nobody is inside with what was true before. */
static void shoot_down(struct enclave *e, uint64_t changed)
{
	if (!changed)
		return;
	enclave_count(&e->stats.shootdowns);
	threads_interrupt(e);
}

static int emodpr(struct enclave *e, size_t index, uint64_t permissions, uint64_t *result)
{
	uint32_t entry = e->epcm.entry[index];

	if (epcm_type(entry) != SGX_PT_REG)
		return -EINVAL;
	if (entry & (EPCM_PENDING | EPCM_MODIFIED)) {
		*result = SGX_PAGE_NOT_MODIFIABLE;
		return -EFAULT;
	}
	epcm_set(&e->epcm, index, (entry & ~(EPCM_RWX & ~(uint32_t)permissions)) | EPCM_PR);
	return 0;
}

static int emodt(struct enclave *e, size_t index, uint64_t type, uint64_t *result)
{
	uint32_t entry = e->epcm.entry[index], from = epcm_type(entry);

	if (!(from == SGX_PT_REG || (from == SGX_PT_TCS && type == SGX_PT_TRIM)))
		return -EINVAL;
	if (type == SGX_PT_TCS) {
		const uint32_t rw = PROT_READ | PROT_WRITE;

		if (((entry >> EPCM_MAX_SHIFT) & rw) != rw)
			return -EPERM;
	}
	if (entry & (EPCM_PENDING | EPCM_MODIFIED)) {
		*result = SGX_PAGE_NOT_MODIFIABLE;
		return -EFAULT;
	}
	if (type == SGX_PT_TCS) {
		entry &= ~(EPCM_MAX_MASK | EPCM_PRESENT);
		entry |= (uint32_t)(PROT_READ | PROT_WRITE) << EPCM_MAX_SHIFT;
	}
	entry &= ~(EPCM_RWX | EPCM_PR | EPCM_TYPE_MASK);
	epcm_set(&e->epcm, index, entry | EPCM_MODIFIED | (uint32_t)type << EPCM_TYPE_SHIFT);
	return 0;
}

static int remove_page(struct enclave *e, size_t index, uint64_t unused, uint64_t *result)
{
	uint32_t entry = e->epcm.entry[index];

	if (epcm_type(entry) != SGX_PT_TRIM || (entry & EPCM_MODIFIED))
		return -EPERM;
	mm_widen(e, index);
	epcm_set(&e->epcm, index, 0);
	mm_epc_release(1);
	return 0;
}

long sgx2_restrict(struct enclave *e, void *arg)
{
	struct sgx_enclave_restrict_permissions *p = arg;
	long error;

	if (!device_range_ok(e, p->offset, p->length) || (p->permissions & ~(uint64_t)EPCM_RWX))
		return -EINVAL;
	if ((p->permissions & SGX_SECINFO_W) && !(p->permissions & SGX_SECINFO_R))
		return -EINVAL;
	if (p->result || p->count)
		return -EINVAL;
	error = for_each_page(e, p->offset, p->length, p->permissions, emodpr, mm_zap, &p->result, &p->count);
	shoot_down(e, p->count);
	return error;
}

long sgx2_modify_types(struct enclave *e, void *arg)
{
	struct sgx_enclave_modify_types *p = arg;
	long error;

	if (!device_range_ok(e, p->offset, p->length) || (p->page_type & ~0xffull))
		return -EINVAL;
	if (p->page_type != SGX_PT_TCS && p->page_type != SGX_PT_TRIM)
		return -EINVAL;
	if (p->result || p->count)
		return -EINVAL;
	error = for_each_page(e, p->offset, p->length, p->page_type, emodt, mm_zap, &p->result, &p->count);
	shoot_down(e, p->count);
	return error;
}

long sgx2_remove(struct enclave *e, void *arg)
{
	struct sgx_enclave_remove_pages *p = arg;
	uint64_t result = 0;

	if (!device_range_ok(e, p->offset, p->length) || p->count)
		return -EINVAL;
	return for_each_page(e, p->offset, p->length, 0, remove_page, mm_discard, &result, &p->count);
}
