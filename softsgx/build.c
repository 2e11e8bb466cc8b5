/* SPDX-License-Identifier: Apache-2.0
 *
 * Building an enclave: ECREATE, EADD, EEXTEND and EINIT behind the kernel's
 * ioctls.
 */
#include "softsgx/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "softsgx/aex.h"
#include "softsgx/measure.h"
#include "softsgx/mm.h"
#include "softsgx/platform.h"
#include "softsgx/signals.h"
#include "softsgx/sigstruct.h"
#include "softsgx/source.h"

#define CHUNK_PAGES 64u

/* XCR0 combinations the processor accepts. */
static int xfrm_is_legal(uint64_t xfrm)
{
	if ((xfrm & 3) != 3 || (xfrm & ~platform_xfrm()))
		return 0;
	if ((xfrm & 0xe0) && ((xfrm & 0xe0) != 0xe0 || !(xfrm & 4)))
		return 0;
	return 1;
}

static int all_zero(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	return !size || (!*p && !memcmp(p, p + 1, size - 1));
}

/* What makes ECREATE fault. */
static int ecreate_faults(const struct sgx_secs *secs)
{
	const uint64_t attributes = platform_attributes() & ~SGX_ATTR_INIT;
	const unsigned int largest =
	    secs->attributes.flags & SGX_ATTR_MODE64BIT ? PLATFORM_SIZE_LOG2 : PLATFORM_SIZE_LOG2_32;
	size_t frame = (size_t)secs->ssa_frame_size * SGX_PAGE_SIZE;
	size_t misc = secs->miscselect & SGX_MISC_EXINFO ? sizeof(struct sgx_exinfo) : 0;

	if (secs->size < 2 * SGX_PAGE_SIZE || secs->size > 1ull << largest || secs->base & (secs->size - 1))
		return 1;
	if (secs->attributes.flags & ~attributes)
		return 1;
	/* It could be made, though nobody here could enter it. */
	if (!(secs->attributes.flags & SGX_ATTR_MODE64BIT) && secs->base >> 32)
		return 1;
	if (!is_canonical(secs->base))
		return 1;
	if ((secs->miscselect & ~SGX_MISC_EXINFO) || !xfrm_is_legal(secs->attributes.xfrm))
		return 1;
	if (frame < xsave_size(secs->attributes.xfrm) + misc + sizeof(struct sgx_gprsgx))
		return 1;
	if (!(secs->attributes.flags & SGX_ATTR_KSS) &&
	    (!all_zero(secs->configid, sizeof(secs->configid)) || secs->config_svn))
		return 1;
	if (secs->cet_legacy_bitmap || secs->cet_attributes)
		return 1;
	return !all_zero(secs->reserved1, sizeof(secs->reserved1)) ||
	       !all_zero(secs->reserved2, sizeof(secs->reserved2)) ||
	       !all_zero(secs->reserved3, sizeof(secs->reserved3)) ||
	       !all_zero(secs->reserved4, sizeof(secs->reserved4));
}

long build_create(struct enclave *e, void *arg)
{
	struct sgx_enclave_create *create = arg;
	struct sgx_secs secs;
	void *view;
	int error;

	if (sys_copy_in(&secs, (void *)create->src, sizeof(secs)))
		return -EFAULT;
	if (!secs.size || secs.size & (secs.size - 1))
		return -EINVAL;
	if (ecreate_faults(&secs))
		return -EIO;
	if (SYS(SYS_ftruncate, e->backing_fd, secs.size))
		return -ENOMEM;
	view =
	    sys_mmap(NULL, secs.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, e->backing_fd, 0);
	if (sys_failed(view))
		return -ENOMEM;
	SYS(SYS_madvise, view, secs.size, MADV_DONTDUMP);
	error = epcm_create(&e->epcm, secs.size / SGX_PAGE_SIZE);
	if (error) {
		SYS(SYS_munmap, view, secs.size);
		return error;
	}
	memset(secs.mrenclave, 0, sizeof(secs.mrenclave));
	memset(secs.mrsigner, 0, sizeof(secs.mrsigner));
	secs.isv_prod_id = 0;
	secs.isv_svn = 0;
	e->view = view;
	e->base = secs.base;
	e->size = secs.size;
	e->secs = secs;
	e->attributes_allowed = (SGX_ATTR_DEBUG | SGX_ATTR_MODE64BIT | SGX_ATTR_KSS | SGX_ATTR_AEXNOTIFY) &
				platform_attributes();
	measure_ecreate(&e->measurement, secs.ssa_frame_size, secs.size);
	e->created = 1;
	return mm_created(e);
}

static int secinfo_is_valid(const struct sgx_secinfo *secinfo)
{
	uint64_t rwx = secinfo->flags & EPCM_RWX, type = secinfo->flags & EPCM_TYPE_MASK;

	if (type != SGX_SECINFO_REG && type != SGX_SECINFO_TCS)
		return 0;
	if ((rwx & SGX_SECINFO_W) && !(rwx & SGX_SECINFO_R))
		return 0;
	if (type == SGX_SECINFO_TCS && rwx)
		return 0;
	return !(secinfo->flags & ~(EPCM_RWX | (uint64_t)EPCM_TYPE_MASK)) &&
	       all_zero(secinfo->reserved, sizeof(secinfo->reserved));
}

static int tcs_is_valid(const struct enclave *e, const struct sgx_tcs *tcs)
{
	/* Segments are of a size where there are segments. */
	if (!(e->secs.attributes.flags & SGX_ATTR_MODE64BIT) &&
	    ((tcs->fslimit & 0xfff) != 0xfff || (tcs->gslimit & 0xfff) != 0xfff))
		return 0;
	return !(tcs->flags & ~(SGX_TCS_DBGOPTIN | (platform_has_sgx2() ? SGX_TCS_AEXNOTIFY : 0))) &&
	       !(tcs->ossa & (SGX_PAGE_SIZE - 1)) && !(tcs->ofsbase & (SGX_PAGE_SIZE - 1)) &&
	       !(tcs->ogsbase & (SGX_PAGE_SIZE - 1)) && all_zero(tcs->reserved, sizeof(tcs->reserved));
}

/* What is found out before the source is looked at. */
static int page_has_place(const struct enclave *e, uint64_t offset)
{
	if (mm_epc_charge(1))
		return -ENOMEM;
	mm_epc_release(1);
	return epcm_get(&e->epcm, offset / SGX_PAGE_SIZE) & EPCM_VALID ? -EBUSY : 0;
}

/* EADD, then EEXTEND if asked. page is our copy and may be changed. */
static int add_page(struct enclave *e, uint64_t offset, uint8_t *page, const struct sgx_secinfo *secinfo,
		    int measure)
{
	uint32_t rwx = secinfo->flags & EPCM_RWX;
	uint32_t entry = EPCM_VALID | (uint32_t)secinfo->flags;
	struct sgx_tcs *tcs = (void *)page;

	int error = page_has_place(e, offset);

	if (error)
		return error;
	if (mm_epc_charge(1))
		return -ENOMEM;
	if (epcm_type(entry) == SGX_PT_TCS) {
		if (!tcs_is_valid(e, tcs)) {
			mm_epc_release(1);
			return -EIO;
		}
		tcs->flags &= ~SGX_TCS_DBGOPTIN;
		tcs->state = 0;
		tcs->cssa = 0;
		tcs->aep = 0;
		rwx = PROT_READ | PROT_WRITE;
	}
	/* A page of zeros stays a hole of the backing file. */
	if (!all_zero(page, SGX_PAGE_SIZE)) {
		long written = SYS(SYS_pwrite64, e->backing_fd, page, SGX_PAGE_SIZE, offset);

		if (written != SGX_PAGE_SIZE) {
			mm_epc_release(1);
			return -ENOMEM;
		}
		entry |= EPCM_STORED;
	}
	epcm_set(&e->epcm, offset / SGX_PAGE_SIZE, entry | rwx << EPCM_MAX_SHIFT);
	measure_eadd(&e->measurement, offset, secinfo);
	if (measure)
		measure_eextend_page(&e->measurement, offset, page);
	enclave_count(&e->stats.eadd);
	return 0;
}

/* The next pages of the source, copied into chunk: how many bytes, or -errno. Pages nobody ever wrote are not
 * even read. */
static long source_read(uint64_t from, size_t size, uint8_t *chunk, struct source *source)
{
	size_t untouched;
	int error;

	if (from >= source->end) {
		error = source_look(from, source);
		if (error)
			return error;
		if (!source->end)
			source->end = from + size;
	}
	if (source->noexec)
		return -EACCES;
	if (size > source->end - from)
		size = source->end - from;
	if (size > CHUNK_PAGES * SGX_PAGE_SIZE)
		size = CHUNK_PAGES * SGX_PAGE_SIZE;
	if (source->anonymous && source->untouched <= from) {
		untouched = source_untouched(from, source->end - from);
		if (untouched)
			source->untouched = from + untouched;
	}
	if (source->untouched > from) {
		if (size > source->untouched - from)
			size = source->untouched - from;
		/* Still, it must be readable. */
		error = sys_copy_in(chunk, (void *)from, 1);
		memset(chunk, 0, size);
		return error ? error : (long)size;
	}
	if (!sys_copy_in(chunk, (void *)from, size))
		return (long)size;
	error = sys_copy_in(chunk, (void *)from, SGX_PAGE_SIZE);
	return error ? error : (long)SGX_PAGE_SIZE;
}

long build_add_pages(struct enclave *e, void *arg)
{
	struct sgx_enclave_add_pages *add = arg;
	struct sgx_secinfo secinfo;
	struct source source = {0};
	uint8_t *chunk;
	long error = 0;
	uint64_t done = 0;

	if (add->src & (SGX_PAGE_SIZE - 1) || !device_range_ok(e, add->offset, add->length))
		return -EINVAL;
	if (sys_copy_in(&secinfo, (void *)add->secinfo, sizeof(secinfo)))
		return -EFAULT;
	if (!secinfo_is_valid(&secinfo))
		return -EINVAL;
	chunk = sys_reserve(CHUNK_PAGES * SGX_PAGE_SIZE, MAP_PRIVATE);
	if (sys_failed(chunk))
		return -ENOMEM;
	lock_take(&e->lock);
	while (!error && done < add->length && !(done && signals_wait(e->signals_blocked))) {
		long size;

		error = page_has_place(e, add->offset + done);
		if (error)
			break;
		size = source_read(add->src + done, add->length - done, chunk, &source);
		error = size < 0 ? size : 0;
		for (long at = 0; !error && at < size; at += SGX_PAGE_SIZE) {
			error = add_page(e, add->offset + done, chunk + at, &secinfo,
					 add->flags & SGX_PAGE_MEASURE);
			if (!error)
				done += SGX_PAGE_SIZE;
		}
	}
	lock_drop(&e->lock);
	SYS(SYS_munmap, chunk, CHUNK_PAGES * SGX_PAGE_SIZE);
	add->count = done;
	return error;
}

/* EINIT. 0 or an enum sgx_error, which the kernel does not pass on. */
static int einit(struct enclave *e, const struct sgx_sigstruct *sig)
{
	struct sgx_secs *secs = &e->secs;
	uint8_t mrenclave[32];
	int error = sigstruct_check_form(sig);

	if (!error)
		error = sigstruct_check_signature(sig);
	if (error)
		return error;
	measure_final(&e->measurement, mrenclave);
	if (memcmp(mrenclave, sig->enclavehash, sizeof(mrenclave)))
		return SGX_INVALID_MEASUREMENT;
	if (((secs->attributes.flags ^ sig->attributes.flags) & sig->attribute_mask.flags) ||
	    ((secs->attributes.xfrm ^ sig->attributes.xfrm) & sig->attribute_mask.xfrm) ||
	    ((secs->miscselect ^ sig->miscselect) & sig->miscmask))
		return SGX_INVALID_ATTRIBUTE;

	memcpy(secs->mrenclave, mrenclave, sizeof(mrenclave));
	sigstruct_mrsigner(sig, secs->mrsigner);
	secs->isv_prod_id = sig->isv_prod_id;
	secs->isv_svn = sig->isv_svn;
	if (secs->attributes.flags & SGX_ATTR_KSS) {
		memcpy(e->isv_family_id, sig->isv_family_id, sizeof(e->isv_family_id));
		memcpy(e->isv_ext_prod_id, sig->isv_ext_prod_id, sizeof(e->isv_ext_prod_id));
	}
	secs->attributes.flags |= SGX_ATTR_INIT;
	return 0;
}

long build_init(struct enclave *e, void *arg)
{
	struct sgx_enclave_init *init = arg;
	const uint64_t attributes = platform_attributes() & ~SGX_ATTR_INIT;
	struct sgx_sigstruct sig;
	int error;

	if (sys_copy_in(&sig, (void *)init->sigstruct, sizeof(sig)))
		return -EFAULT;
	if (sig.vendor != 0 && sig.vendor != 0x8086)
		return -EINVAL;
	if (e->secs.attributes.flags & ~e->attributes_allowed)
		return -EACCES;
	if ((sig.attributes.flags & sig.attribute_mask.flags & ~attributes) ||
	    (sig.attributes.xfrm & sig.attribute_mask.xfrm & ~platform_xfrm()) ||
	    (sig.miscselect & sig.miscmask & ~SGX_MISC_EXINFO))
		return -EINVAL;
	lock_take(&e->lock);
	error = einit(e, &sig);
	if (!error)
		e->initialised = 1;
	lock_drop(&e->lock);
	return error ? -EPERM : 0;
}

long build_provision(struct enclave *e, void *arg)
{
	struct sgx_enclave_provision *provision = arg;

	if (!device_is_provision((int)provision->fd))
		return -EINVAL;
	e->attributes_allowed |= SGX_ATTR_PROVISIONKEY;
	return 0;
}
