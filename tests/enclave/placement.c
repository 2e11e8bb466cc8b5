/* SPDX-License-Identifier: Apache-2.0
 *
 * Where mappings go: a program gets again what it has freed, before it uses more
 * of its heap, and is refused only what no gap is large enough for. Against a
 * model that knows each page.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include "tests/check.h"
#include "tests/enclave/support.h"

#define PAGES (HEAP_SIZE / PAGE_SIZE)
#define MAPPINGS 1000
#define OPERATIONS 40000

static bool mapped[PAGES];
static uint64_t low; /* the break's part is below */
static uint64_t seed = 1;
static struct {
	uint64_t first, count;
} mapping[MAPPINGS];

void host_answer(struct thread *t, struct call_area *area)
{
	(void)t, (void)area;
}

static uint64_t largest_gap(void)
{
	uint64_t run = 0, most = 0;
	for (uint64_t p = low; p < PAGES; p++) {
		run = mapped[p] ? 0 : run + 1;
		most = run > most ? run : most;
	}
	return most;
}

static void set(uint64_t first, uint64_t count, bool to)
{
	for (uint64_t p = first; p < first + count; p++) {
		CHECK(mapped[p] != to);
		mapped[p] = to;
	}
}

static uint64_t map(uint64_t count)
{
	int64_t at = mm_mmap(0, count * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	if (at < 0) {
		CHECK(at == -ENOMEM && largest_gap() < count);
		return 0;
	}
	uint64_t first = ((uint64_t)at - HEAP_BASE) / PAGE_SIZE;
	CHECK(first >= low && first + count <= PAGES);
	set(first, count, true);
	return first;
}

static void unmap(uint64_t first, uint64_t count)
{
	CHECK(mm_munmap(HEAP_BASE + first * PAGE_SIZE, count * PAGE_SIZE) == 0);
	set(first, count, false);
}

static void what_is_freed_is_used_again(void)
{
	static const uint64_t counts[] = {1, 3, 4, 5, 8, 100, 1000, 5, 3};
	uint64_t first[9];
	for (int i = 0; i < 9; i++)
		first[i] = map(counts[i]);
	for (int i = 0; i < 9; i++) {
		unmap(first[i], counts[i]);
		CHECK(map(counts[i]) == first[i]);
	}
	/* two that lie together are one gap */
	unmap(first[4], 8);
	unmap(first[3], 5);
	CHECK(map(13) == first[3]);
	unmap(first[3], 13);
	/* a block that grows and moves stays within a few times its size */
	uint64_t at = map(64);
	for (uint64_t n = 64; n < PAGES / 6; n += n / 2) {
		uint64_t to = map(n + n / 2);
		CHECK(to && to + n + n / 2 < low + 1200 + 4 * (n + n / 2));
		unmap(at, n);
		at = to;
		map(1 + random_below(&seed, 4));
	}
}

/* States are looked at by chunks: what is mapped at the beginning of one ends a gap before it. */
static void chunks_have_borders(void)
{
	const uint64_t border = CHUNK_PAGES;
	uint64_t first = map(border - low - 1), last = map(1000);
	CHECK(first && last == border);
	unmap(border - 64, 64);
	CHECK(map(65) == border + 1000 && map(64) == border - 64);
	unmap(first, border - first);
	unmap(border, 1065);
}

static void nothing_that_fits_is_refused(void)
{
	int refused = 0;
	for (int i = 0; i < OPERATIONS; i++) {
		uint64_t n = random_below(&seed, MAPPINGS);
		if (mapping[n].count) {
			/* from either end, or all */
			uint64_t part = 1 + random_below(&seed, mapping[n].count);
			if (random_below(&seed, 2)) {
				unmap(mapping[n].first, part);
				mapping[n].first += part;
			} else {
				unmap(mapping[n].first + mapping[n].count - part, part);
			}
			mapping[n].count -= part;
			continue;
		}
		mapping[n].count = 1 + random_below(&seed, random_below(&seed, 20) ? 20 : 1500);
		mapping[n].first = map(mapping[n].count);
		if (!mapping[n].first) {
			mapping[n].count = 0;
			refused++;
		}
	}
	CHECK(refused > 10); /* or this was no test */
}

int main(void)
{
	enclave_begin();
	low = (uint64_t)mm_mmap(0, PAGE_SIZE, PROT_READ, MAP_PRIVATE) / PAGE_SIZE - HEAP_BASE / PAGE_SIZE;
	mapped[low] = true;
	chunks_have_borders();
	what_is_freed_is_used_again();
	nothing_that_fits_is_refused();
	return 0;
}
