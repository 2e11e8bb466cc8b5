/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/leaf.h"

#include <string.h>
#include <time.h>
#include "softsgx/abort.h"
#include "softsgx/bases.h"
#include "softsgx/int3_site.h"
#include "softsgx/keys.h"
#include "softsgx/mm.h"
#include "softsgx/platform.h"

#define RFLAGS_RESULT 0x8d5ull /* CF PF AF ZF SF OF */
#define RFLAGS_ZF 0x40ull
#define RFLAGS_TF 0x100ull

/* A leaf in progress. */
struct leaf {
	struct thread *t;
	struct enclave *e;
	greg_t *g;
	ucontext_t *context;
	struct exception *fault;
};

static int raise_gp(struct leaf *l)
{
	*l->fault = (struct exception){.vector = 13};
	return 1;
}

static int raise_pf(struct leaf *l, uint32_t code, uint64_t address)
{
	*l->fault = (struct exception){.vector = 14, .code = code, .address = address};
	return 1;
}

/* EPCM conflict on a page that is mapped well. */
static int raise_epcm(struct leaf *l, enum mm_access access, uint64_t address)
{
	return raise_pf(l, SGX_PF_SGX | SGX_PF_U | SGX_PF_P | access | MM_MAPPED, address);
}

/* Leaves that report do so in RAX and ZF. */
static int finish(struct leaf *l, int result)
{
	l->g[REG_RAX] = result;
	l->g[REG_EFL] &= ~(greg_t)RFLAGS_RESULT;
	if (result)
		l->g[REG_EFL] |= RFLAGS_ZF;
	return 0;
}

/* A memory operand of at most a page that does not cross one, in our view. The enclave is locked. */
static int operand(struct leaf *l, uint64_t address, size_t align, size_t size, enum mm_access access,
		   void *out)
{
	struct mm_page page;
	uint32_t code;

	if ((address & (align - 1)) || !enclave_contains(l->e, address, size))
		return raise_gp(l);
	code = mm_access(l->e, address, access, &page);
	if (code)
		return raise_pf(l, code, address);
	*(void **)out = l->e->view + (address - l->e->base);
	return 0;
}

/* SECINFO is read once, from memory that other threads of the enclave may be writing. */
static int read_secinfo(struct leaf *l, struct sgx_secinfo *secinfo)
{
	struct sgx_secinfo *at;

	if (operand(l, (uint64_t)l->g[REG_RBX], 64, sizeof(*at), ACCESS_READ, &at))
		return 1;
	*secinfo = *at;
	for (size_t i = 0; i < sizeof(secinfo->reserved); i++)
		if (secinfo->reserved[i])
			return raise_gp(l);
	return 0;
}

/* A page that a leaf works on by its EPCM entry, not by its content. */
static int target_page(struct leaf *l, uint64_t address, struct mm_page *page)
{
	uint32_t code;

	if ((address & (SGX_PAGE_SIZE - 1)) || !enclave_contains(l->e, address, SGX_PAGE_SIZE))
		return raise_gp(l);
	code = mm_present(l->e, address, ACCESS_READ, page);
	return code ? raise_pf(l, code, address) : 0;
}

static int leaf_ereport(struct leaf *l)
{
	struct sgx_targetinfo *target;
	struct sgx_reportdata *data;
	struct sgx_report *out, report;

	if (((uint64_t)l->g[REG_RBX] & 511) || ((uint64_t)l->g[REG_RCX] & 127) ||
	    ((uint64_t)l->g[REG_RDX] & 511))
		return raise_gp(l);
	if (operand(l, (uint64_t)l->g[REG_RBX], 512, sizeof(*target), ACCESS_READ, &target) ||
	    operand(l, (uint64_t)l->g[REG_RCX], 128, sizeof(*data), ACCESS_READ, &data) ||
	    operand(l, (uint64_t)l->g[REG_RDX], 512, sizeof(*out), ACCESS_WRITE, &out))
		return 1;
	report_make(l->e, target, data->data, &report);
	*out = report;
	return 0;
}

static int leaf_egetkey(struct leaf *l)
{
	struct sgx_keyrequest *at, request;
	uint8_t *out, key[16];
	int result;

	if (operand(l, (uint64_t)l->g[REG_RBX], 512, sizeof(*at), ACCESS_READ, &at) ||
	    operand(l, (uint64_t)l->g[REG_RCX], 16, sizeof(key), ACCESS_WRITE, &out))
		return 1;
	request = *at;
	result = key_derive(l->e, &request, key);
	if (result == KEY_REQUEST_INVALID)
		return raise_gp(l);
	if (!result)
		memcpy(out, key, sizeof(key));
	return finish(l, result);
}

static int leaf_eexit(struct leaf *l)
{
	uint64_t target = (uint64_t)l->g[REG_RBX];

	if (!is_canonical(target))
		return raise_gp(l);
	l->g[REG_RIP] = (greg_t)target;
	l->g[REG_RCX] = (greg_t)l->t->tcs->aep;
	l->g[REG_EFL] = (greg_t)(((uint64_t)l->g[REG_EFL] & ~RFLAGS_TF) | l->t->host_tf);
	tcs_release(l->t->tcs);
	thread_left(l->t);
	abort_left(l->e);
	return 0;
}

static int tcs_content_is_valid(const struct sgx_tcs *tcs)
{
	uint8_t reserved = 0;

	for (size_t i = 0; i < sizeof(tcs->reserved); i++)
		reserved |= tcs->reserved[i];
	return !reserved && !tcs->state && tcs->cssa < tcs->nssa && !tcs->aep &&
	       !(tcs->flags & ~SGX_TCS_AEXNOTIFY) && !(tcs->ossa & (SGX_PAGE_SIZE - 1)) &&
	       !(tcs->ofsbase & (SGX_PAGE_SIZE - 1)) && !(tcs->ogsbase & (SGX_PAGE_SIZE - 1));
}

/* REG that was added or restricted, or a page whose type was changed. */
static int eaccept_makes_sense(uint64_t flags)
{
	switch ((flags & EPCM_TYPE_MASK) >> EPCM_TYPE_SHIFT) {
	case SGX_PT_REG:
		return (flags & (EPCM_PENDING | EPCM_PR)) && !(flags & EPCM_MODIFIED);
	case SGX_PT_TCS:
	case SGX_PT_TRIM:
		return (flags & EPCM_MODIFIED) && !(flags & EPCM_PENDING);
	default:
		return 0;
	}
}

static int leaf_eaccept(struct leaf *l)
{
	uint64_t address = (uint64_t)l->g[REG_RCX];
	struct sgx_secinfo secinfo;
	struct mm_page page;
	uint32_t entry, type;

	if (read_secinfo(l, &secinfo))
		return 1;
	if ((secinfo.flags & ~(uint64_t)EPCM_SECINFO_MASK) || !eaccept_makes_sense(secinfo.flags))
		return raise_gp(l);
	if (target_page(l, address, &page))
		return 1;
	entry = l->e->epcm.entry[page.index];
	type = epcm_type(entry);
	if (type != SGX_PT_REG && type != SGX_PT_TCS && type != SGX_PT_TRIM)
		return raise_epcm(l, ACCESS_READ, address);
	if ((entry & EPCM_SECINFO_MASK) != secinfo.flags)
		return finish(l, SGX_PAGE_ATTRIBUTES_MISMATCH);
	if (type == SGX_PT_TCS && !tcs_content_is_valid((void *)(l->e->view + page.index * SGX_PAGE_SIZE)))
		return raise_gp(l);
	epcm_set(&l->e->epcm, page.index, entry & ~(EPCM_PENDING | EPCM_MODIFIED | EPCM_PR));
	/* The enclave will use the page next: spare it the trap. */
	if (type == SGX_PT_REG)
		mm_install(&page);
	return finish(l, 0);
}

static int leaf_emodpe(struct leaf *l)
{
	uint64_t address = (uint64_t)l->g[REG_RCX];
	struct sgx_secinfo secinfo;
	struct mm_page page;
	uint32_t entry;

	if (read_secinfo(l, &secinfo))
		return 1;
	if ((secinfo.flags & SGX_SECINFO_W) && !(secinfo.flags & SGX_SECINFO_R))
		return raise_gp(l);
	if (target_page(l, address, &page))
		return 1;
	entry = l->e->epcm.entry[page.index];
	if (epcm_type(entry) != SGX_PT_REG || (entry & (EPCM_PENDING | EPCM_MODIFIED)))
		return raise_epcm(l, ACCESS_READ, address);
	if (secinfo.flags & SGX_SECINFO_W)
		int3_site_drop(l->e, page.index, 1);
	epcm_set(&l->e->epcm, page.index, entry | (uint32_t)(secinfo.flags & EPCM_RWX));
	return 0;
}

/* Memory for a page takes the kernel longer than all else of EACCEPTCOPY, so that threads get it side by side. The page
 * stays pending meanwhile, so that only leaves that are given it have to wait (wait_for_copy). */
static int copy_unlocked(struct leaf *l, const struct mm_page *page, int rights, const uint8_t *source)
{
	struct epcm *epcm = &l->e->epcm;
	int error;

	epcm_set(epcm, page->index, epcm->entry[page->index] | EPCM_COPYING);
	lock_drop(&l->e->lock);
	error = mm_install_copy(page, rights, source);
	lock_take(&l->e->lock);
	epcm_set(epcm, page->index, epcm->entry[page->index] & ~EPCM_COPYING);
	return !error;
}

static int leaf_eacceptcopy(struct leaf *l)
{
	const uint32_t fresh = SGX_SECINFO_REG | EPCM_PENDING | SGX_SECINFO_R | SGX_SECINFO_W;
	uint64_t address = (uint64_t)l->g[REG_RCX];
	struct sgx_secinfo secinfo;
	struct mm_page page;
	uint8_t *source;
	uint32_t entry;
	size_t from;
	int copied;

	if (read_secinfo(l, &secinfo))
		return 1;
	if ((secinfo.flags & ~(uint64_t)EPCM_RWX) != SGX_SECINFO_REG ||
	    ((secinfo.flags & SGX_SECINFO_W) && !(secinfo.flags & SGX_SECINFO_R)))
		return raise_gp(l);
	if (operand(l, (uint64_t)l->g[REG_RDX], SGX_PAGE_SIZE, SGX_PAGE_SIZE, ACCESS_READ, &source) ||
	    target_page(l, address, &page))
		return 1;
	entry = l->e->epcm.entry[page.index];
	if (epcm_type(entry) != SGX_PT_REG)
		return raise_epcm(l, ACCESS_READ, address);
	if ((entry & EPCM_SECINFO_MASK) != fresh)
		return finish(l, SGX_PAGE_ATTRIBUTES_MISMATCH);
	from = (size_t)(source - l->e->view) / SGX_PAGE_SIZE;
	int3_site_hide(l->e, from);
	copied = copy_unlocked(l, &page, (int)(secinfo.flags & EPCM_RWX), source);
	if (!copied)
		memcpy(l->e->view + page.index * SGX_PAGE_SIZE, source, SGX_PAGE_SIZE);
	int3_site_show(l->e, from);
	entry = l->e->epcm.entry[page.index] & ~(EPCM_PENDING | EPCM_RWX);
	epcm_set(&l->e->epcm, page.index, entry | (uint32_t)(secinfo.flags & EPCM_RWX) | EPCM_STORED);
	/* As for EACCEPT. */
	if (!copied)
		mm_install(&page);
	return finish(l, 0);
}

static int leaf_everifyreport2(struct leaf *l)
{
	struct sgx_reportmacstruct *at, copy;

	if (operand(l, (uint64_t)l->g[REG_RBX], 256, sizeof(*at), ACCESS_READ, &at))
		return 1;
	copy = *at;
	return finish(l, reportmac_check(&copy));
}

/* All pages of an SSA frame must be ordinary writable ones. */
static int ssa_is_usable(struct leaf *l, struct enclave *e, const struct sgx_tcs *tcs, uint32_t frame)
{
	uint8_t *at = ssa_frame(e, tcs, frame);
	struct mm_page page;

	if (!at)
		return raise_gp(l);
	for (uint32_t i = 0; i < e->secs.ssa_frame_size; i++) {
		uint64_t address = e->base + (uint64_t)(at - e->view) + (uint64_t)i * SGX_PAGE_SIZE;
		uint32_t code = mm_access(e, address, ACCESS_WRITE, &page);

		if (code)
			return raise_pf(l, code, address);
	}
	return 0;
}

static int leaf_edeccssa(struct leaf *l)
{
	struct sgx_tcs *tcs = l->t->tcs;

	if (!tcs->cssa)
		return raise_gp(l);
	if (ssa_is_usable(l, l->e, tcs, tcs->cssa - 1))
		return 1;
	tcs->cssa--;
	return 0;
}

static int (*const inside_leaves[SGX_ENCLU_LEAF_COUNT])(struct leaf *) = {
    [SGX_EREPORT] = leaf_ereport,
    [SGX_EGETKEY] = leaf_egetkey,
    [SGX_EEXIT] = leaf_eexit,
    [SGX_EACCEPT] = leaf_eaccept,
    [SGX_EMODPE] = leaf_emodpe,
    [SGX_EACCEPTCOPY] = leaf_eacceptcopy,
    [SGX_EVERIFYREPORT2] = leaf_everifyreport2,
    [SGX_EDECCSSA] = leaf_edeccssa,
};

/* Before anything is looked at: the lock is not held all the time. */
static void wait_for_copy(const struct leaf *l)
{
	static const struct timespec moment = {0, 20 * 1000};
	uint64_t address = (uint64_t)l->g[REG_RCX];

	while (enclave_contains(l->e, address, 1) &&
	       (epcm_get(&l->e->epcm, enclave_page(l->e, address)) & EPCM_COPYING)) {
		lock_drop(&l->e->lock);
		SYS(SYS_nanosleep, &moment, NULL);
		lock_take(&l->e->lock);
	}
}

int leaf_inside(struct thread *t, ucontext_t *context, unsigned int size, struct exception *fault)
{
	greg_t *g = context->uc_mcontext.gregs;
	struct leaf l = {.t = t, .e = t->enclave, .g = g, .context = context, .fault = fault};
	uint32_t number = (uint32_t)g[REG_RAX];
	greg_t at = g[REG_RIP];
	int raised;

	if (number >= SGX_ENCLU_LEAF_COUNT || !inside_leaves[number] ||
	    (number > SGX_EEXIT && !platform_has_sgx2()))
		return raise_gp(&l);
	enclave_count(&l.e->stats.leaf[number]);
	if (number == SGX_EEXIT)
		return leaf_eexit(&l);
	lock_take(&l.e->lock);
	if (number == SGX_EACCEPT || number == SGX_EACCEPTCOPY || number == SGX_EMODPE)
		wait_for_copy(&l);
	raised = inside_leaves[number](&l);
	lock_drop(&l.e->lock);
	if (!raised)
		g[REG_RIP] = at + size;
	return raised;
}

/* --- entering --- */

/* A TCS operand that is no enclave's: as on real memory, which no page of an enclave is. */
static int raise_foreign_tcs(struct leaf *l, uint64_t tcs)
{
	uint8_t byte;
	uint32_t code = sys_copy_in(&byte, (void *)tcs, 1) ? 0x6 : 0x8007 | MM_MAPPED;

	return raise_pf(l, code, tcs + SGX_PAGE_SIZE - 1);
}

/* With the TCS ours: the rest of EENTER. */
static int enter_claimed(struct leaf *l, struct sgx_tcs *tcs, unsigned int size)
{
	struct enclave *e = l->e;
	uint64_t entry = e->base + tcs->oentry;
	uint64_t fs = e->base + tcs->ofsbase, gs = e->base + tcs->ogsbase;
	struct sgx_gprsgx *gpr;

	if (tcs->cssa >= tcs->nssa || !is_canonical(entry) || !is_canonical(fs) || !is_canonical(gs))
		return raise_gp(l);
	if (ssa_is_usable(l, e, tcs, tcs->cssa))
		return 1;
	gpr = ssa_gpr(e, ssa_frame(e, tcs, tcs->cssa));
	gpr->ursp = (uint64_t)l->g[REG_RSP];
	gpr->urbp = (uint64_t)l->g[REG_RBP];
	tcs->aep = (uint64_t)l->g[REG_RCX];
	l->t->enclave_fs = fs;
	l->t->enclave_gs = gs;
	l->g[REG_RAX] = tcs->cssa;
	l->g[REG_RCX] = l->g[REG_RIP] + size;
	l->g[REG_RIP] = (greg_t)entry;
	if (!tcs->cssa) {
		l->t->ready.entry = entry;
		l->t->ready.fs = fs;
		l->t->ready.gs = gs;
		l->t->ready.gpr = gpr;
	}
	return 0;
}

static int resume_claimed(struct leaf *l, struct sgx_tcs *tcs)
{
	struct enclave *e = l->e;
	uint64_t ursp = (uint64_t)l->g[REG_RSP], urbp = (uint64_t)l->g[REG_RBP],
		 aep = (uint64_t)l->g[REG_RCX];
	uint8_t *frame;

	if (!tcs->cssa)
		return raise_gp(l);
	if (ssa_is_usable(l, e, tcs, tcs->cssa - 1))
		return 1;
	frame = ssa_frame(e, tcs, tcs->cssa - 1);
	if (ssa_load(e, frame, l->context, &l->t->enclave_fs, &l->t->enclave_gs))
		return raise_gp(l);
	ssa_gpr(e, frame)->ursp = ursp;
	ssa_gpr(e, frame)->urbp = urbp;
	tcs->aep = aep;
	tcs->cssa--;
	return 0;
}

/* AEX-Notify: the enclave wants to be told before it goes on. */
static int resume_becomes_enter(const struct enclave *e, const struct sgx_tcs *tcs)
{
	uint8_t *frame;

	if (!(tcs->flags & SGX_TCS_AEXNOTIFY) || !(e->secs.attributes.flags & SGX_ATTR_AEXNOTIFY) ||
	    !tcs->cssa)
		return 0;
	frame = ssa_frame(e, tcs, tcs->cssa - 1);
	return frame && (ssa_gpr(e, frame)->aexnotify & 1);
}

/* AEX-Notify is for all threads or none, but for a debugger's. */
static int tcs_notifies_as(const struct enclave *e, const struct sgx_tcs *tcs)
{
	int enclave = !!(e->secs.attributes.flags & SGX_ATTR_AEXNOTIFY);
	int thread = !!(tcs->flags & SGX_TCS_AEXNOTIFY);

	return enclave == thread || (tcs->flags & SGX_TCS_DBGOPTIN);
}

static int enter_locked(struct leaf *l, uint64_t address, uint32_t leaf, unsigned int size)
{
	struct enclave *e = l->e;
	struct mm_page page;
	struct sgx_tcs *tcs;
	uint32_t code, entry;
	int raised;

	code = mm_present(e, address, ACCESS_WRITE, &page);
	if (code)
		return raise_pf(l, code, address);
	entry = e->epcm.entry[page.index];
	if (epcm_type(entry) != SGX_PT_TCS || (entry & (EPCM_PENDING | EPCM_MODIFIED)))
		return raise_epcm(l, ACCESS_WRITE, address);
	if (!e->initialised || !(e->secs.attributes.flags & SGX_ATTR_MODE64BIT))
		return raise_gp(l);
	tcs = (void *)(e->view + page.index * SGX_PAGE_SIZE);
	if (!tcs_notifies_as(e, tcs))
		return raise_gp(l);
	if (!tcs_claim(tcs))
		return raise_gp(l);
	l->t->enclave = e;
	l->t->tcs = tcs;
	l->t->tcs_address = address;
	if (leaf == SGX_ERESUME && !resume_becomes_enter(e, tcs))
		raised = resume_claimed(l, tcs);
	else
		raised = enter_claimed(l, tcs, size);
	if (raised)
		tcs_release(tcs);
	return raised;
}

int leaf_outside(struct thread *t, ucontext_t *context, unsigned int size, struct exception *fault)
{
	greg_t *g = context->uc_mcontext.gregs;
	struct leaf l = {.t = t, .g = g, .context = context, .fault = fault};
	uint64_t address = (uint64_t)g[REG_RBX], generation = softsgx_generation;
	uint32_t leaf = (uint32_t)g[REG_RAX];
	struct vma vma;
	int raised;

	if (leaf != SGX_EENTER && leaf != SGX_ERESUME)
		return raise_gp(&l);
	if ((address & (SGX_PAGE_SIZE - 1)) || !is_canonical(address) || !is_canonical((uint64_t)g[REG_RCX]))
		return raise_gp(&l);
	if (!mm_find(address, &vma) || !vma.enclave->created)
		return raise_foreign_tcs(&l, address);
	l.e = vma.enclave;
	enclave_count(&l.e->stats.leaf[leaf]);
	/* The short entry goes by what this thread entered last. */
	if (leaf == SGX_EENTER || address != t->ready.tcs)
		t->ready.tcs = 0;
	lock_take(&l.e->lock);
	raised = enter_locked(&l, address, leaf, size);
	lock_drop(&l.e->lock);
	if (raised)
		return 1;
	if (leaf == SGX_EENTER && !t->tcs->cssa && !bases_are_told()) {
		t->ready.view = t->tcs;
		t->ready.counter = &l.e->stats.leaf[SGX_EENTER];
		t->ready.generation = generation;
		t->ready.tcs = address;
	}
	t->host_tf = (uint64_t)g[REG_EFL] & RFLAGS_TF;
	g[REG_EFL] &= ~(greg_t)RFLAGS_TF;
	bases_read(&t->host_fs, &t->host_gs);
	t->told_gs = t->host_gs;
	t->inside = 1;
	return 0;
}
