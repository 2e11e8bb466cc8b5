/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of written pages: one byte per page of ELRANGE, stored to by the
 * application's own code after each store (see pass/). The order is the whole
 * point: data store, then mark; the collector takes the mark by an atomic
 * exchange, a full fence, and only then reads the page. A store that the
 * collector's read missed has its mark still to come.
 */
#include "enclave/mm.h"

static uint8_t *mark_of(uint64_t page)
{
	return (uint8_t *)(MARKS_BASE + (page & MARKS_MASK));
}

void marks_set(uint64_t addr, uint64_t size)
{
	if (size == 0)
		return;
	for (uint64_t p = addr >> PAGE_SHIFT; p <= (addr + size - 1) >> PAGE_SHIFT; p++)
		__atomic_store_n(mark_of(p), 1, __ATOMIC_RELEASE);
}

void marks_set_all(void)
{
	for (uint64_t page = APP_BASE >> PAGE_SHIFT; page < mm_end_page(); page += CHUNK_PAGES)
		if (mm_chunk_ready(page))
			memset(mark_of(page), 1, CHUNK_PAGES);
}

void marks_put_back(uint64_t page)
{
	__atomic_store_n(mark_of(page), 1, __ATOMIC_RELEASE);
}

uint64_t marks_take(uint64_t page, uint64_t count, uint64_t *bitmap)
{
	uint64_t taken = 0;
	for (uint64_t i = 0; i < count;) {
		if (!mm_chunk_ready(page + i)) {
			i += CHUNK_PAGES - (page + i) % CHUNK_PAGES;
			continue;
		}
		uint64_t *word = (uint64_t *)mark_of(page + i);
		if (((page + i) & 7) == 0 && count - i >= 8) {
			/* Most words are zero: look before the locked exchange. A mark that arrives
			 * after the look belongs to the next round. */
			if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0) {
				i += 8;
				continue;
			}
			uint64_t marks = __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
			for (unsigned b = 0; b < 8; b++)
				if (marks >> (8 * b) & 0xff) {
					bitmap[(i + b) / 64] |= 1ull << ((i + b) % 64);
					taken++;
				}
			i += 8;
		} else {
			if (__atomic_exchange_n(mark_of(page + i), 0, __ATOMIC_SEQ_CST)) {
				bitmap[i / 64] |= 1ull << (i % 64);
				taken++;
			}
			i++;
		}
	}
	return taken;
}
