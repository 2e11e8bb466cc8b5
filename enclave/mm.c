/* SPDX-License-Identifier: Apache-2.0
 *
 * Page states and the memory system calls. A page, once accepted, stays with
 * the enclave: unmapped pages are kept for reuse and zeroed when they are mapped
 * again. What the host puts behind an untouched address is never read before
 * EACCEPT has made it a fresh zero page.
 */
#include <errno.h>
#include <linux/mman.h>
#include "enclave/leaf.h"
#include "enclave/mm.h"
#include "enclave/spin.h"
#include "enclave/thread.h"
#include "enclave/wire.h"

#define CHUNK_OF(page) ((page) / CHUNK_PAGES)
#define CHUNKS (MARKS_SIZE / PAGE_SIZE)
/* A fault brings in this many pages: an exception costs as much as several EACCEPTs. */
#define FAULT_AROUND 16
#define BRK_SIZE_MAX (64ull << 20)
#define PG_TAKING 32u /* some thread's EACCEPT of this page is under way */

#define CHUNK_READY 1u
#define CHUNK_HAS_MARKS 2u /* the first of its two pages is there */
static uint8_t chunk_ready[CHUNKS];
static struct spin chunk_lock;

static struct spin map_lock; /* protects: which pages are PG_MAPPED, next_fit, brk_now */
static uint64_t next_fit;
static uint64_t brk_start, brk_now, brk_end;

static uint64_t heap_first(void)
{
	return CONFIG->heap_base >> PAGE_SHIFT;
}

uint64_t mm_end_page(void)
{
	return (CONFIG->heap_base + CONFIG->heap_size) >> PAGE_SHIFT;
}

static uint8_t *state_of(uint64_t page)
{
	return (uint8_t *)(PAGESTATE_BASE + page);
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

static void state_set(uint64_t page, uint8_t bits)
{
	__atomic_fetch_or(state_of(page), bits, __ATOMIC_ACQ_REL);
}

static void state_clear(uint64_t page, uint8_t bits)
{
	__atomic_fetch_and(state_of(page), (uint8_t)~bits, __ATOMIC_ACQ_REL);
}

static int accept_fresh(uint64_t addr)
{
	static const struct sgx_secinfo fresh = {
		.flags = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING};
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
			__atomic_store_n(&chunk_ready[chunk], CHUNK_HAS_MARKS | CHUNK_READY, __ATOMIC_RELEASE);
	}
	spin_unlock(&chunk_lock);
	return rc;
}

static int chunks_prepare(uint64_t page, uint64_t count)
{
	for (uint64_t c = CHUNK_OF(page); c <= CHUNK_OF(page + count - 1); c++) {
		int rc = chunk_prepare(c * CHUNK_PAGES);
		if (rc < 0)
			return rc;
	}
	return 0;
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
		for (uint64_t k = CHUNK_OF(APP_BASE >> PAGE_SHIFT); k <= CHUNK_OF((image_end - 1) >> PAGE_SHIFT); k++)
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
	uint64_t brk_size = c->heap_size / 8 < BRK_SIZE_MAX ? c->heap_size / 8 : BRK_SIZE_MAX;
	brk_start = brk_now = c->heap_base;
	brk_end = brk_start + (brk_size & ~(uint64_t)(PAGE_SIZE - 1));
	next_fit = brk_end >> PAGE_SHIFT;
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
	for (page = page > heap_first() ? page : heap_first(); page <= (addr + size - 1) >> PAGE_SHIFT; page++)
		if ((mm_state(page) & (PG_MAPPED | PG_NOACCESS)) != PG_MAPPED)
			return false;
	return true;
}

/*
 * One EACCEPT for a page, ever: by the thread that set PG_TAKING. Were two to try, the host could take the page away
 * between them, with what a third has already written there, and let the second accept an empty one.
 * -EBUSY while another thread is at it.
 */
static int page_accept(uint64_t page)
{
	uint8_t state = mm_state(page);
	do {
		if (state & PG_ACCEPTED)
			return 0;
		if (state & PG_TAKING)
			return -EBUSY;
	} while (!__atomic_compare_exchange_n(state_of(page), &state, state | PG_TAKING, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	int rc = accept_fresh(page << PAGE_SHIFT);
	if (rc == 0)
		state_set(page, PG_ACCEPTED);
	state_clear(page, PG_TAKING);
	return rc;
}

int mm_accept(uint64_t page, uint64_t count)
{
	if (count == 0)
		return 0;
	int rc = chunks_prepare(page, count);
	for (uint64_t i = 0; i < count && rc == 0; i++)
		while ((rc = page_accept(page + i)) == -EBUSY)
			__asm__ volatile("pause");
	return rc;
}

int mm_fault(uint64_t addr)
{
	uint64_t page = addr >> PAGE_SHIFT;
	/* A mark for a page whose chunk does not exist yet: a store through a wild pointer, harmless. */
	if (addr >= MARKS_BASE && addr < MARKS_BASE + MARKS_SIZE)
		return mm_chunk_ready(addr - MARKS_BASE) ? -EEXIST : chunk_prepare(addr - MARKS_BASE);
	if (page < heap_first() || page >= mm_end_page())
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
		if ((state & (PG_MAPPED | PG_NOACCESS | PG_ACCEPTED)) != PG_MAPPED || page_accept(p) < 0)
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

/* ---- mappings ---- */

static uint8_t prot_bits(int prot)
{
	if (prot == PROT_NONE)
		return PG_NOACCESS;
	return prot & PROT_WRITE ? 0 : PG_READONLY;
}

static bool range_free(uint64_t first, uint64_t count)
{
	for (uint64_t p = first; p < first + count; p++)
		if (mm_state(p) & PG_MAPPED)
			return false;
	return true;
}

/* First fit from a moving start, so that fresh addresses come before reused ones only while there are any. */
static uint64_t find_free(uint64_t count)
{
	uint64_t low = brk_end >> PAGE_SHIFT, high = mm_end_page();
	for (int pass = 0; pass < 2; pass++) {
		uint64_t run = 0;
		for (uint64_t p = pass ? low : next_fit; p < high;) {
			if (!mm_chunk_ready(p)) {
				uint64_t skip = (CHUNK_OF(p) + 1) * CHUNK_PAGES - p;
				if (skip > high - p)
					skip = high - p;
				run += skip;
				p += skip;
			} else if (!(p & 7) && p + 8 <= high &&
				   !(*(volatile uint64_t *)state_of(p) & 0x0101010101010101ull * PG_MAPPED)) {
				run += 8;
				p += 8;
			} else {
				run = mm_state(p) & PG_MAPPED ? 0 : run + 1;
				p++;
			}
			if (run >= count)
				return p - run;
		}
	}
	return 0;
}

/* Takes the pages for a mapping. Under map_lock. */
static int map_pages(uint64_t first, uint64_t count, uint8_t bits)
{
	int rc = chunks_prepare(first, count);
	if (rc < 0)
		return rc;
	for (uint64_t p = first; p < first + count; p++) {
		state_clear(p, PG_NOACCESS | PG_READONLY);
		state_set(p, PG_MAPPED | bits);
	}
	return 0;
}

/* A page that exists already held something else. Outside every lock: this touches application memory. */
static void zero_reused(uint64_t first, uint64_t count)
{
	for (uint64_t p = first; p < first + count; p++)
		if (mm_state(p) & PG_ACCEPTED) {
			memset((void *)(p << PAGE_SHIFT), 0, PAGE_SIZE);
			marks_set(p << PAGE_SHIFT, PAGE_SIZE);
		}
}

static void unmap_pages(uint64_t first, uint64_t count)
{
	for (uint64_t p = first; p < first + count; p++)
		if (mm_chunk_ready(p))
			state_clear(p, PG_MAPPED | PG_NOACCESS | PG_READONLY);
}

static bool heap_range(uint64_t addr, uint64_t size)
{
	uint64_t end = CONFIG->heap_base + CONFIG->heap_size;
	return !(addr & (PAGE_SIZE - 1)) && size && addr >= CONFIG->heap_base && addr <= end && size <= end - addr;
}

static uint64_t pages_of(uint64_t size)
{
	return (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

int64_t mm_mmap(uint64_t addr, uint64_t size, int prot, int flags)
{
	if (size == 0)
		return -EINVAL;
	if (size > CONFIG->heap_size)
		return -ENOMEM;
	if (prot & PROT_EXEC)
		return -EACCES; /* code pages are never made at run time */
	uint64_t count = pages_of(size), first;
	int rc = 0;
	spin_lock(&map_lock);
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		first = addr >> PAGE_SHIFT;
		if (!heap_range(addr, count << PAGE_SHIFT))
			rc = addr & (PAGE_SIZE - 1) ? -EINVAL : -ENOMEM;
		else if (flags & MAP_FIXED_NOREPLACE && !range_free(first, count))
			rc = -EEXIST;
	} else if (addr >> PAGE_SHIFT >= brk_end >> PAGE_SHIFT && heap_range(addr, count << PAGE_SHIFT) &&
		   range_free(addr >> PAGE_SHIFT, count)) {
		first = addr >> PAGE_SHIFT; /* a hint that can be followed */
	} else {
		first = find_free(count);
		if (first == 0)
			rc = -ENOMEM;
		else
			next_fit = first + count;
	}
	if (rc == 0)
		rc = map_pages(first, count, prot_bits(prot));
	spin_unlock(&map_lock);
	if (rc < 0)
		return rc;
	zero_reused(first, count);
	return (int64_t)(first << PAGE_SHIFT);
}

int64_t mm_munmap(uint64_t addr, uint64_t size)
{
	if (addr & (PAGE_SIZE - 1) || size == 0)
		return -EINVAL;
	if (!heap_range(addr, pages_of(size) << PAGE_SHIFT))
		return mm_app_span(addr, size) ? 0 : -EINVAL;
	spin_lock(&map_lock);
	unmap_pages(addr >> PAGE_SHIFT, pages_of(size));
	spin_unlock(&map_lock);
	return 0;
}

int64_t mm_mprotect(uint64_t addr, uint64_t size, int prot)
{
	if (addr & (PAGE_SIZE - 1))
		return -EINVAL;
	if (size == 0)
		return 0;
	if (prot & PROT_EXEC)
		return -EACCES;
	if (!heap_range(addr, pages_of(size) << PAGE_SHIFT))
		return mm_app_span(addr, size) ? 0 : -ENOMEM; /* relro of the image: read-only already */
	uint64_t first = addr >> PAGE_SHIFT, count = pages_of(size);
	int rc = 0;
	spin_lock(&map_lock);
	for (uint64_t p = first; p < first + count && rc == 0; p++)
		if (!(mm_state(p) & PG_MAPPED))
			rc = -ENOMEM;
	for (uint64_t p = first; p < first + count && rc == 0; p++) {
		state_clear(p, PG_NOACCESS | PG_READONLY);
		state_set(p, prot_bits(prot));
	}
	spin_unlock(&map_lock);
	return rc;
}

int64_t mm_mremap(uint64_t old, uint64_t old_size, uint64_t new_size, int flags, uint64_t new_addr)
{
	if (old & (PAGE_SIZE - 1) || new_size == 0 || flags & ~MREMAP_MAYMOVE)
		return -EINVAL;
	uint64_t have = pages_of(old_size), want = pages_of(new_size), first = old >> PAGE_SHIFT;
	if (!heap_range(old, old_size))
		return -EFAULT;
	for (uint64_t p = first; p < first + have; p++)
		if (!(mm_state(p) & PG_MAPPED))
			return -EFAULT;
	if (new_size > CONFIG->heap_size)
		return -ENOMEM;
	if (want <= have) {
		if (want < have)
			mm_munmap(old + (want << PAGE_SHIFT), (have - want) << PAGE_SHIFT);
		return (int64_t)old;
	}
	bool grown = false;
	spin_lock(&map_lock);
	uint8_t bits = mm_state(first) & (PG_NOACCESS | PG_READONLY);
	if (heap_range(old, want << PAGE_SHIFT) && range_free(first + have, want - have))
		grown = map_pages(first + have, want - have, bits) == 0;
	spin_unlock(&map_lock);
	if (grown) {
		zero_reused(first + have, want - have);
		return (int64_t)old;
	}
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	int64_t to = mm_mmap(0, new_size, bits & PG_NOACCESS ? PROT_NONE : PROT_READ | PROT_WRITE, MAP_PRIVATE);
	if (to < 0)
		return to;
	for (uint64_t i = 0; i < have; i++)
		if (mm_state(first + i) & PG_ACCEPTED) {
			uint64_t d = (uint64_t)to + (i << PAGE_SHIFT);
			memcpy((void *)d, (void *)((first + i) << PAGE_SHIFT), PAGE_SIZE);
			marks_set(d, PAGE_SIZE);
		}
	mm_munmap(old, old_size);
	return to;
}

int64_t mm_madvise(uint64_t addr, uint64_t size, int advice)
{
	if (addr & (PAGE_SIZE - 1))
		return -EINVAL;
	if (advice == MADV_DONTNEED && heap_range(addr, pages_of(size) << PAGE_SHIFT))
		for (uint64_t p = addr >> PAGE_SHIFT; p < (addr >> PAGE_SHIFT) + pages_of(size); p++)
			if ((mm_state(p) & (PG_MAPPED | PG_ACCEPTED)) == (PG_MAPPED | PG_ACCEPTED))
				zero_reused(p, 1);
	return 0;
}

int64_t mm_brk(uint64_t addr)
{
	uint64_t first = 0, count = 0;
	spin_lock(&map_lock);
	if (addr >= brk_start && addr <= brk_end) {
		uint64_t now = pages_of(brk_now), then = pages_of(addr);
		if (then > now) {
			first = now;
			count = then - now;
			if (map_pages(first, count, 0) < 0)
				count = 0, addr = brk_now;
		} else if (then < now) {
			unmap_pages(then, now - then);
		}
		brk_now = addr;
	}
	int64_t result = (int64_t)brk_now;
	spin_unlock(&map_lock);
	zero_reused(first, count);
	return result;
}

/* ---- hand-over ---- */

#define PG_CARRIED (PG_MAPPED | PG_NOACCESS | PG_READONLY)
struct run {
	uint64_t first, count;
	uint64_t bits;
} __attribute__((packed));

static size_t export_to(struct writer *out)
{
	struct writer w = *out;
	put_u64(&w, brk_now);
	put_u64(&w, next_fit);
	size_t count_at = w.used;
	put_u64(&w, 0);
	uint64_t runs = 0;
	struct run r = {0, 0, 0};
	uint64_t end = mm_end_page();
	for (uint64_t p = heap_first(); p <= end; p++) {
		uint8_t bits = p < end ? mm_state(p) & PG_CARRIED : 0;
		if (r.count && (bits != r.bits || p == end)) {
			if (r.bits) {
				put_bytes(&w, &r, sizeof r);
				runs++;
			}
			r.count = 0;
		}
		if (p < end && !mm_chunk_ready(p)) {
			p = (CHUNK_OF(p) + 1) * CHUNK_PAGES - 1;
			if (p >= end)
				p = end - 1;
			continue;
		}
		if (r.count++ == 0)
			r = (struct run){p, 1, bits};
	}
	if (w.used <= w.capacity)
		memcpy(w.base + count_at, &runs, sizeof runs);
	return w.used;
}

long mm_export(uint8_t *out, size_t capacity)
{
	struct writer w = {out, capacity, 0};
	size_t size = export_to(&w);
	return size <= capacity ? (long)size : -ENOSPC;
}

size_t mm_export_max(void)
{
	uint8_t none[1];
	struct writer w = {none, 0, 0};
	return export_to(&w);
}

int mm_import(const uint8_t *in, size_t size)
{
	struct reader r = {in, size, 0, false};
	uint64_t new_brk = get_u64(&r), new_next = get_u64(&r), runs = get_u64(&r);
	if (r.bad || runs > (size - r.used) / sizeof(struct run) || new_brk < brk_start || new_brk > brk_end ||
	    new_next < brk_end >> PAGE_SHIFT || new_next > mm_end_page())
		return -EBADMSG;
	const uint8_t *list = in + r.used;
	uint64_t from = heap_first();
	for (uint64_t i = 0; i < runs; i++) {
		struct run run;
		memcpy(&run, list + i * sizeof run, sizeof run);
		if (run.first < from || run.first >= mm_end_page() || run.count == 0 ||
		    run.count > mm_end_page() - run.first || run.bits & ~(uint64_t)PG_CARRIED || !run.bits)
			return -EBADMSG;
		from = run.first + run.count;
	}
	for (uint64_t i = 0; i < runs; i++) {
		struct run run;
		memcpy(&run, list + i * sizeof run, sizeof run);
		if (chunks_prepare(run.first, run.count) < 0)
			return -ENOMEM;
		for (uint64_t p = run.first; p < run.first + run.count; p++)
			state_set(p, (uint8_t)run.bits);
	}
	brk_now = new_brk;
	next_fit = new_next;
	return 0;
}
