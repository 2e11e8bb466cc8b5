/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files behind mm.h share. Nobody else includes it.
 *
 *   mm.c        page states: which pages exist, and how one comes into being
 *   mmap.c      the memory system calls
 *   mm_carry.c  the map that travels
 */
#ifndef ENCLAVE_MM_PRIVATE_H
#define ENCLAVE_MM_PRIVATE_H

#include "enclave/mm.h"
#include "enclave/spin.h"

#define PG_TAKING 32u /* some thread's EACCEPT or EACCEPTCOPY of this page is under way */
#define CHUNK_OF(page) ((page) / CHUNK_PAGES)

static inline uint64_t heap_first(void)
{
	return CONFIG->heap_base >> PAGE_SHIFT;
}

static inline uint8_t *state_of(uint64_t page)
{
	return (uint8_t *)(PAGESTATE_BASE + page);
}

static inline void state_set(uint64_t page, uint8_t bits)
{
	__atomic_fetch_or(state_of(page), bits, __ATOMIC_ACQ_REL);
}

static inline void state_clear(uint64_t page, uint8_t bits)
{
	__atomic_fetch_and(state_of(page), (uint8_t)~bits, __ATOMIC_ACQ_REL);
}

/* Marks and states of these pages exist when it returns 0. */
int chunks_prepare(uint64_t page, uint64_t count);
/* What travels of this chunk's states has changed. After the change: whoever takes the flag then sees it. */
void chunk_changed(uint64_t page);
bool chunk_take_changed(uint64_t chunk);
/* Content that has not arrived yet is not wanted any more: the page is as if never touched. One whose content
 * is just being put in place is waited for, and exists then. */
void page_forget_deferred(uint64_t page);
void deferred_count_add(int64_t change);

/* mmap.c: what of it travels, and what it is to know once mappings have come */
uint64_t mm_brk_now(void);
bool mm_brk_ok(uint64_t brk);
void mm_mapped_anew(uint64_t brk);
void mmap_init(void);

#endif
