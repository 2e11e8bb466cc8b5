/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of written pages: one byte per page of ELRANGE, stored to by the
 * application's own code after each store (see pass/). The order is the whole
 * point: data store, then mark; the collector takes the mark by an atomic
 * exchange, a full fence, and only then reads the page. A store that the
 * collector's read missed has its mark still to come. Where nothing runs any more
 * it is enough to look.
 */
#include <emmintrin.h>
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

/* Which of sixteen marks are set. */
static uint64_t set_of(__m128i marks)
{
	return 0xffff ^ (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(marks, _mm_setzero_si128()));
}

/* Eight marks at once. */
static uint64_t take_word(uint64_t *word, uint64_t first_bit, uint64_t *bitmap)
{
	uint64_t marks = __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
	uint64_t taken = set_of(_mm_cvtsi64_si128((long long)marks));
	bitmap[first_bit / 64] |= taken << (first_bit % 64);
	if (first_bit % 64 > 56)
		bitmap[first_bit / 64 + 1] |= taken >> (64 - first_bit % 64);
	return (uint64_t)__builtin_popcountll(taken);
}

/* Marks of one chunk, aligned to eight. Most are zero: looked at before the locked exchange. */
static uint64_t take_run(uint64_t page, uint64_t count, uint64_t first_bit, uint64_t *bitmap)
{
	uint64_t *word = (uint64_t *)mark_of(page), taken = 0;
	for (uint64_t i = 0; i < count / 8; i++)
		if (__atomic_load_n(&word[i], __ATOMIC_RELAXED))
			taken += take_word(&word[i], first_bit + i * 8, bitmap);
	return taken;
}

uint64_t marks_look(uint64_t page, uint64_t pages[static 64])
{
	const __m128i *marks = (const __m128i *)mark_of(page);
	uint64_t blocks = 0;
	if (!mm_chunk_ready(page))
		return 0;
	for (unsigned block = 0; block < 64; block++, marks += 4) {
		__m128i a = marks[0], b = marks[1], c = marks[2], d = marks[3];
		pages[block] = set_of(a) | set_of(b) << 16 | set_of(c) << 32 | set_of(d) << 48;
		blocks |= (uint64_t)(pages[block] != 0) << block;
	}
	return blocks;
}

uint64_t marks_take(uint64_t page, uint64_t count, uint64_t *bitmap)
{
	uint64_t taken = 0;
	for (uint64_t i = 0, size; i < count; i += size) {
		uint64_t left = CHUNK_PAGES - (page + i) % CHUNK_PAGES;
		size = left < count - i ? left : count - i;
		if (!mm_chunk_ready(page + i))
			continue;
		if ((page + i) % 8 == 0 && size >= 8) {
			size &= ~7ull;
			taken += take_run(page + i, size, i, bitmap);
			continue;
		}
		size = 1;
		if (__atomic_exchange_n(mark_of(page + i), 0, __ATOMIC_SEQ_CST)) {
			bitmap[i / 64] |= 1ull << (i % 64);
			taken++;
		}
	}
	return taken;
}
