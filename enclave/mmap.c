/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory system calls. A page, once accepted, stays with the enclave:
 * unmapped pages are kept for reuse and zeroed when they are mapped again.
 */
#include <errno.h>
#include <linux/mman.h>
#include "enclave/mm_private.h"

#define BRK_SIZE_MAX (64ull << 20)

static struct spin map_lock; /* protects: which pages are PG_MAPPED, fit_from, brk_now */
#define FIT_CLASSES 16
static uint64_t fit_from[FIT_CLASSES]; /* no run of 2^i free pages begins below [i] */
static uint64_t brk_start, brk_now, brk_end;

void mmap_init(void)
{
	const struct image_config *c = CONFIG;
	uint64_t brk_size = c->heap_size / 8 < BRK_SIZE_MAX ? c->heap_size / 8 : BRK_SIZE_MAX;
	brk_start = brk_now = c->heap_base;
	brk_end = brk_start + (brk_size & ~(uint64_t)(PAGE_SIZE - 1));
}

uint64_t mm_brk_now(void)
{
	return brk_now;
}

bool mm_brk_ok(uint64_t brk)
{
	return brk >= brk_start && brk <= brk_end;
}

void mm_mapped_anew(uint64_t brk)
{
	brk_now = brk;
	memset(fit_from, 0, sizeof fit_from);
}

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

#define EIGHT (0x0101010101010101ull * PG_MAPPED)

/* The end of the run of mapped (or else of free) pages that begins at p; no further than end. */
static uint64_t run_end(uint64_t p, uint64_t end, bool mapped)
{
	const uint64_t wanted = mapped ? EIGHT : 0;
	while (p < end) {
		uint64_t next = (CHUNK_OF(p) + 1) * CHUNK_PAGES;
		if (!mm_chunk_ready(p)) {
			if (mapped)
				return p;
			p = next;
			continue;
		}
		while (p < next && p < end)
			if (!(p & 7) && (*(volatile uint64_t *)state_of(p) & EIGHT) == wanted)
				p += 8;
			else if (!(mm_state(p) & PG_MAPPED) == mapped)
				return p;
			else
				p++;
	}
	return end;
}

/* Of the least power of two that is as large. */
static unsigned fit_class(uint64_t count)
{
	unsigned c = count > 1 ? 64 - (unsigned)__builtin_clzll(count - 1) : 0;
	return c < FIT_CLASSES ? c : FIT_CLASSES - 1;
}

static uint64_t first_fit(uint64_t p, uint64_t count)
{
	for (uint64_t high = mm_end_page(), end; (p = run_end(p, high, true)) < high; p = end) {
		end = run_end(p, p + count < high ? p + count : high, false);
		if (end - p >= count)
			return p;
	}
	return 0;
}

/* What a program frees it gets again: so its memory stays together, and it uses no more of it than it has to. Holes that
 * are too small for others of the class are passed over while there is room behind them. */
static uint64_t find_free(uint64_t count)
{
	uint64_t low = brk_end >> PAGE_SHIFT, *from = &fit_from[fit_class(count)];
	uint64_t start = *from > low ? *from : low, p = first_fit(start, count);
	if (!p)
		return start > low ? first_fit(low, count) : 0;
	if (count <= 1ull << (FIT_CLASSES - 1))
		*from = p;
	return p;
}

/* These pages are free now, and so may be some around them. */
static void note_free(uint64_t first, uint64_t count)
{
	const uint64_t most = 1ull << (FIT_CLASSES - 1);
	uint64_t low = brk_end >> PAGE_SHIFT, end = first + count;
	if (end <= low)
		return;
	low = first > low + most ? first - most : low;
	while (first > low && mm_chunk_ready(first - 1) && !(mm_state(first - 1) & PG_MAPPED))
		first -= first & 7 || first < low + 8 || *(volatile uint64_t *)state_of(first - 8) & EIGHT ? 1 : 8;
	if (end - first < most)
		end = run_end(end, first + most < mm_end_page() ? first + most : mm_end_page(), false);
	for (unsigned c = 0; c <= fit_class(end - first); c++)
		if (fit_from[c] > first)
			fit_from[c] = first;
}

static void range_changed(uint64_t first, uint64_t count)
{
	for (uint64_t c = CHUNK_OF(first); c <= CHUNK_OF(first + count - 1); c++)
		chunk_changed(c * CHUNK_PAGES);
}

/* Takes the pages for a mapping. Under map_lock. */
static int map_pages(uint64_t first, uint64_t count, uint8_t bits)
{
	int rc = chunks_prepare(first, count);
	if (rc < 0)
		return rc;
	for (uint64_t p = first; p < first + count; p++) {
		page_forget_deferred(p); /* it held something else */
		state_clear(p, PG_NOACCESS | PG_READONLY);
		state_set(p, PG_MAPPED | bits);
	}
	range_changed(first, count);
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
		if (mm_chunk_ready(p)) {
			page_forget_deferred(p);
			state_clear(p, PG_MAPPED | PG_NOACCESS | PG_READONLY);
		}
	range_changed(first, count);
	note_free(first, count);
}

static bool heap_range(uint64_t addr, uint64_t size)
{
	uint64_t end = CONFIG->heap_base + CONFIG->heap_size;
	return !(addr & (PAGE_SIZE - 1)) && size && addr >= CONFIG->heap_base && addr <= end &&
	       size <= end - addr;
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
	range_changed(first, count);
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
	int64_t to = mm_mmap(0, new_size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	if (to < 0)
		return to;
	/* It is about to go: until then the copy may touch it, also where content has yet to come. */
	if (bits & PG_NOACCESS)
		mm_mprotect(old, old_size, PROT_READ | PROT_WRITE);
	for (uint64_t i = 0; i < have; i++)
		if (mm_state(first + i) & (PG_ACCEPTED | PG_DEFERRED)) {
			uint64_t d = (uint64_t)to + (i << PAGE_SHIFT);
			memcpy((void *)d, (void *)((first + i) << PAGE_SHIFT), PAGE_SIZE);
			marks_set(d, PAGE_SIZE);
		}
	mm_munmap(old, old_size);
	if (bits)
		mm_mprotect((uint64_t)to, new_size, bits & PG_NOACCESS ? PROT_NONE : PROT_READ);
	return to;
}

int64_t mm_madvise(uint64_t addr, uint64_t size, int advice)
{
	if (addr & (PAGE_SIZE - 1))
		return -EINVAL;
	if (advice == MADV_DONTNEED && heap_range(addr, pages_of(size) << PAGE_SHIFT))
		for (uint64_t p = addr >> PAGE_SHIFT; p < (addr >> PAGE_SHIFT) + pages_of(size); p++) {
			if (!(mm_state(p) & PG_MAPPED))
				continue;
			page_forget_deferred(p);
			zero_reused(p, 1);
		}
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
