/* SPDX-License-Identifier: Apache-2.0
 *
 * Page states, and what a fault on a page means by them. What the host puts
 * behind an untouched address is never read before EACCEPT has made it a fresh
 * zero page, or EACCEPTCOPY the page that a move brought.
 */
#include <elf.h>
#include <errno.h>
#include "enclave/leaf.h"
#include "enclave/mm_private.h"
#include "enclave/thread.h"

#define CHUNKS (MARKS_SIZE / PAGE_SIZE)
/* A fault brings in this many pages: an exception costs as much as several EACCEPTs. */
#define FAULT_AROUND 16

#define CHUNK_READY 1u
#define CHUNK_HAS_MARKS 2u /* the first of its two pages is there */
static uint8_t chunk_ready[CHUNKS];
static struct spin chunk_lock;

static uint8_t changed[CHUNKS]; /* chunk_changed() */
static int64_t deferred;	/* pages in state PG_DEFERRED */

uint64_t mm_end_page(void)
{
	return (CONFIG->heap_base + CONFIG->heap_size) >> PAGE_SHIFT;
}

bool mm_chunk_ready(uint64_t page)
{
	return __atomic_load_n(&chunk_ready[CHUNK_OF(page)], __ATOMIC_ACQUIRE) & CHUNK_READY;
}

uint8_t mm_state(uint64_t page)
{
	if (page >= ELRANGE_SIZE_MAX >> PAGE_SHIFT || !mm_chunk_ready(page))
		return 0;
	return __atomic_load_n(state_of(page), __ATOMIC_ACQUIRE);
}

void chunk_changed(uint64_t page)
{
	__atomic_store_n(&changed[CHUNK_OF(page)], 1, __ATOMIC_SEQ_CST);
}

bool chunk_take_changed(uint64_t chunk)
{
	return __atomic_load_n(&changed[chunk], __ATOMIC_RELAXED) &&
	       __atomic_exchange_n(&changed[chunk], 0, __ATOMIC_SEQ_CST);
}

static int accept_fresh(uint64_t addr)
{
	static const struct sgx_secinfo fresh = {.flags = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W |
							  SGX_SECINFO_PENDING};
	struct thread *self = thread_self();
	self->accepting = true;
	int rc = encl_eaccept(&fresh, addr) == SGX_SUCCESS ? 0 : -ENOMEM;
	self->accepting = false;
	return rc;
}

static int chunk_prepare(uint64_t page)
{
	if (mm_chunk_ready(page))
		return 0;
	uint64_t chunk = CHUNK_OF(page);
	int rc = 0;
	spin_lock(&chunk_lock);
	if (!(chunk_ready[chunk] & (CHUNK_HAS_MARKS | CHUNK_READY))) {
		rc = accept_fresh(MARKS_BASE + chunk * PAGE_SIZE);
		if (rc == 0)
			chunk_ready[chunk] = CHUNK_HAS_MARKS;
	}
	if (rc == 0 && !(chunk_ready[chunk] & CHUNK_READY)) {
		rc = accept_fresh(PAGESTATE_BASE + chunk * PAGE_SIZE);
		if (rc == 0)
			__atomic_store_n(&chunk_ready[chunk], CHUNK_HAS_MARKS | CHUNK_READY,
					 __ATOMIC_RELEASE);
	}
	spin_unlock(&chunk_lock);
	return rc;
}

int chunks_prepare(uint64_t page, uint64_t count)
{
	for (uint64_t c = CHUNK_OF(page); c <= CHUNK_OF(page + count - 1); c++) {
		int rc = chunk_prepare(c * CHUNK_PAGES);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What the loader puts there and nobody ever takes away: the runtime's own, and of the program what is not written. Noted
 * in the beginning: the fault handler could not read program headers that are gone themselves. */
#define LOADED_MAX 64
static struct loaded {
	uint64_t start, end;
	uint32_t rights; /* PF_R, PF_W, PF_X */
} loaded[LOADED_MAX];
static unsigned loaded_count;

static void loaded_add(uint64_t start, uint64_t size, uint32_t rights)
{
	uint64_t end = (start + size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
	if (loaded_count == LOADED_MAX)
		rt_die(FATAL_INTERNAL, "the image has too many segments");
	loaded[loaded_count++] = (struct loaded){start & ~(uint64_t)(PAGE_SIZE - 1), end, rights};
}

static void loaded_init(void)
{
	const Elf64_Phdr *h = (const Elf64_Phdr *)CONFIG->phdr;
	loaded_count = 0;
	loaded_add(STOP_WORD, PAGE_SIZE, PF_R | PF_W);
	for (uint32_t i = 0; i < CONFIG->phdr_count; i++)
		if (h[i].p_type == PT_LOAD && h[i].p_memsz && h[i].p_vaddr != OUTSIDE_BASE &&
		    (h[i].p_vaddr < APP_BASE || !(h[i].p_flags & PF_W)))
			loaded_add(h[i].p_vaddr, h[i].p_memsz, h[i].p_flags);
}

#define CODE_WRITE 2u /* of a page fault's error code */
#define CODE_FETCH 16u
bool mm_fault_is_strange(uint64_t addr, uint32_t code)
{
	uint32_t needs = code & CODE_FETCH ? PF_X : code & CODE_WRITE ? PF_W : PF_R;
	for (unsigned i = 0; i < loaded_count; i++)
		if (addr >= loaded[i].start && addr < loaded[i].end)
			return loaded[i].rights & needs;
	return false;
}

void mm_init(void)
{
	const struct image_config *c = CONFIG;
	/* Added by the loader: what covers the image and the static part of the heap. */
	uint64_t image_end = 0;
	for (uint32_t i = 0; i < c->range_count; i++)
		if (c->range[i].end > image_end)
			image_end = c->range[i].end;
	if (image_end)
		for (uint64_t k = CHUNK_OF(APP_BASE >> PAGE_SHIFT);
		     k <= CHUNK_OF((image_end - 1) >> PAGE_SHIFT); k++)
			chunk_ready[k] = CHUNK_HAS_MARKS | CHUNK_READY;
	if (c->heap_static)
		for (uint64_t k = CHUNK_OF(heap_first());
		     k <= CHUNK_OF((c->heap_base + c->heap_static - 1) >> PAGE_SHIFT); k++)
			chunk_ready[k] = CHUNK_HAS_MARKS | CHUNK_READY;
	for (uint32_t i = 0; i < c->range_count; i++)
		for (uint64_t p = c->range[i].start >> PAGE_SHIFT; p < c->range[i].end >> PAGE_SHIFT; p++)
			state_set(p, PG_ACCEPTED | PG_MAPPED | PG_IMAGE);
	for (uint64_t p = 0; p < c->heap_static >> PAGE_SHIFT; p++)
		state_set(heap_first() + p, PG_ACCEPTED);
	loaded_init();
	mmap_init();
}

void mm_touch_image(void)
{
	const Elf64_Phdr *h = (const Elf64_Phdr *)CONFIG->phdr;
	for (uint32_t i = 0; i < CONFIG->phdr_count; i++) {
		uint64_t end = h[i].p_vaddr + h[i].p_memsz;
		/* Of what is written only the runtime's own: the program may have taken its rights to its own. */
		bool own = h[i].p_vaddr < APP_BASE;
		if (h[i].p_type != PT_LOAD || (h[i].p_flags & PF_W && !own) || h[i].p_vaddr == OUTSIDE_BASE)
			continue;
		for (uint64_t at = h[i].p_vaddr; at < end; at += PAGE_SIZE)
			(void)*(const volatile uint8_t *)at;
	}
}

uint64_t mm_used_end(void)
{
	uint64_t chunk = CHUNK_OF(mm_end_page() - 1) + 1;
	while (chunk > CHUNK_OF(APP_BASE >> PAGE_SHIFT) && !mm_chunk_ready((chunk - 1) * CHUNK_PAGES))
		chunk--;
	return chunk * CHUNK_PAGES;
}

bool mm_movable(uint64_t page)
{
	if (page >= heap_first() && page < mm_end_page())
		return true;
	for (uint32_t i = 0; i < CONFIG->range_count; i++)
		if (page >= CONFIG->range[i].start >> PAGE_SHIFT && page < CONFIG->range[i].end >> PAGE_SHIFT)
			return true;
	return false;
}

bool mm_app_span(uint64_t addr, uint64_t size)
{
	uint64_t end = CONFIG->heap_base + CONFIG->heap_size;
	return addr >= APP_BASE && addr <= end && size <= end - addr;
}

bool mm_app_range(uint64_t addr, uint64_t size)
{
	if (!mm_app_span(addr, size))
		return false;
	if (size == 0 || addr + size <= CONFIG->heap_base)
		return true;
	uint64_t page = addr >> PAGE_SHIFT;
	for (page = page > heap_first() ? page : heap_first(); page <= (addr + size - 1) >> PAGE_SHIFT;
	     page++)
		if ((mm_state(page) & (PG_MAPPED | PG_NOACCESS)) != PG_MAPPED)
			return false;
	return true;
}

/* Ends PG_TAKING: the page exists if rc is 0. */
static int taken_done(uint64_t page, int rc)
{
	if (rc == 0) {
		state_set(page, PG_ACCEPTED);
		chunk_changed(page);
	}
	state_clear(page, PG_TAKING);
	return rc;
}

/*
 * One EACCEPT for a page, ever: by the thread that set PG_TAKING. Were two to try, the host could take the
 * page away between them, with what a third has already written there, and let the second accept an empty
 * one. -EBUSY while another thread is at it; -EINPROGRESS if the page has content that is still to come.
 */
static int page_accept(uint64_t page)
{
	uint8_t state = mm_state(page);
	do {
		if (state & PG_ACCEPTED)
			return 0;
		if (state & PG_TAKING)
			return -EBUSY;
		if (state & PG_DEFERRED)
			return -EINPROGRESS;
	} while (!__atomic_compare_exchange_n(state_of(page), &state, state | PG_TAKING, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return taken_done(page, accept_fresh(page << PAGE_SHIFT));
}

/* ---- content from elsewhere ---- */

/* The page comes into being with this content, at once; NULL: zeros. */
static int accept_content(uint64_t page, const void *content)
{
	static const struct sgx_secinfo writable = {.flags = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W};
	struct thread *self = thread_self();
	if (!content)
		return accept_fresh(page << PAGE_SHIFT);
	self->accepting = true;
	int rc =
	    encl_eacceptcopy(&writable, page << PAGE_SHIFT, (uint64_t)content) == SGX_SUCCESS ? 0 : -ENOMEM;
	self->accepting = false;
	return rc;
}

/* Most pages that are zero there are zero here: reading is cheaper than writing. */
static void page_zero(uint64_t page)
{
	uint64_t *word = (uint64_t *)(page << PAGE_SHIFT), any = 0;
	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		any |= word[i];
	if (any)
		memset(word, 0, PAGE_SIZE);
}

/* Takes the page for this thread to bring in. False: it exists, or another thread is at it. */
static bool take_absent(uint64_t page, uint8_t only_if)
{
	uint8_t state = mm_state(page);
	do {
		if (state & (PG_ACCEPTED | PG_TAKING) || (state & only_if) != only_if)
			return false;
	} while (!__atomic_compare_exchange_n(state_of(page), &state, state | PG_TAKING, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return true;
}

static void deferred_end(uint64_t page)
{
	if (__atomic_fetch_and(state_of(page), (uint8_t)~PG_DEFERRED, __ATOMIC_ACQ_REL) & PG_DEFERRED)
		deferred_count_add(-1);
}

static int bring_in(uint64_t page, const void *content)
{
	int rc = taken_done(page, accept_content(page, content));
	if (rc == 0)
		deferred_end(page); /* it exists already: nobody waits for it or brings it in again */
	return rc;
}

int mm_install(uint64_t page, const void *content)
{
	int rc = chunks_prepare(page, 1);
	if (rc)
		return rc;
	if (take_absent(page, 0))
		return bring_in(page, content);
	if (!(mm_state(page) & PG_ACCEPTED))
		return -EBUSY;
	if (content)
		memcpy((void *)(page << PAGE_SHIFT), content, PAGE_SIZE);
	else
		page_zero(page);
	return 0;
}

int mm_make_room(uint64_t page)
{
	int rc = chunks_prepare(page, 1);
	return rc || !take_absent(page, 0) ? rc : bring_in(page, NULL);
}

int mm_arrive(uint64_t page, const void *content)
{
	if (!take_absent(page, PG_DEFERRED))
		return 0;
	int rc = bring_in(page, content);
	return rc ? rc : 1;
}

int mm_take_out(uint64_t page)
{
	static const struct sgx_secinfo trimmed = {.flags = SGX_SECINFO_TRIM | SGX_SECINFO_MODIFIED};
	struct thread *self = thread_self();
	uint8_t state = mm_state(page);
	/* In one step: a map that comes at the same moment finds the page here or deferred. */
	do {
		if (!(state & PG_ACCEPTED))
			return 0;
	} while (!__atomic_compare_exchange_n(state_of(page), &state,
					      (uint8_t)((state & ~PG_ACCEPTED) | PG_DEFERRED), false,
					      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	deferred_count_add(1);
	self->accepting = true;
	int rc = encl_eaccept(&trimmed, page << PAGE_SHIFT) == SGX_SUCCESS ? 0 : -EIO;
	self->accepting = false;
	return rc;
}

void deferred_count_add(int64_t change)
{
	__atomic_fetch_add(&deferred, change, __ATOMIC_ACQ_REL);
}

uint64_t mm_deferred(void)
{
	return (uint64_t)__atomic_load_n(&deferred, __ATOMIC_ACQUIRE);
}

void page_forget_deferred(uint64_t page)
{
	uint8_t state = mm_state(page);
	while (state & PG_DEFERRED) {
		if (state & PG_TAKING) {
			__asm__ volatile("pause");
			state = mm_state(page);
		} else if (__atomic_compare_exchange_n(state_of(page), &state,
						       (uint8_t)(state & ~PG_DEFERRED), false,
						       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			deferred_count_add(-1);
			return;
		}
	}
}

/* ---- faults ---- */

int mm_fault(uint64_t addr)
{
	uint64_t page = addr >> PAGE_SHIFT;
	/* A mark for a page whose chunk does not exist yet: a store through a wild pointer, harmless. */
	if (addr >= MARKS_BASE && addr < MARKS_BASE + MARKS_SIZE)
		return mm_chunk_ready(addr - MARKS_BASE) ? -EEXIST : chunk_prepare(addr - MARKS_BASE);
	if (!mm_movable(page))
		return -EFAULT;
	uint8_t state = mm_state(page);
	if (!(state & PG_MAPPED) || state & PG_NOACCESS)
		return -EFAULT;
	if (state & PG_ACCEPTED)
		return -EEXIST;
	int rc = page_accept(page);
	if (rc < 0)
		return rc;
	for (uint64_t p = page + 1; p < page + FAULT_AROUND && p < mm_end_page(); p++) {
		state = mm_state(p);
		if ((state & (PG_MAPPED | PG_NOACCESS | PG_ACCEPTED | PG_DEFERRED)) != PG_MAPPED ||
		    page_accept(p) < 0)
			break;
	}
	return 0;
}

uint64_t mm_next_live(uint64_t page, uint64_t end)
{
	const uint64_t live = PG_ACCEPTED | PG_MAPPED;
	while (page < end) {
		if (!mm_chunk_ready(page)) {
			page = (CHUNK_OF(page) + 1) * CHUNK_PAGES;
			continue;
		}
		if ((page & 7) == 0 && page + 8 <= end) {
			uint64_t w = __atomic_load_n((uint64_t *)state_of(page), __ATOMIC_RELAXED);
			if ((w & 0x0101010101010101ull * PG_ACCEPTED) == 0) {
				page += 8;
				continue;
			}
		}
		if ((mm_state(page) & live) == live)
			return page;
		page++;
	}
	return end;
}

void mm_counts(uint64_t *accepted, uint64_t *mapped)
{
	*accepted = *mapped = 0;
	for (uint64_t p = APP_BASE >> PAGE_SHIFT; p < mm_end_page(); p++) {
		if (!mm_chunk_ready(p)) {
			p = (CHUNK_OF(p) + 1) * CHUNK_PAGES - 1;
			continue;
		}
		uint8_t s = mm_state(p);
		*accepted += (s & PG_ACCEPTED) != 0;
		*mapped += (s & PG_MAPPED) != 0;
	}
}
