/* SPDX-License-Identifier: Apache-2.0
 *
 * The map that travels: for each chunk that changed since it was last told, runs
 * of equal page states. A destination holds it against what it has itself: a
 * page that lives at the source and does not exist here is deferred.
 */
#include <errno.h>
#include "enclave/mm_private.h"
#include "enclave/wire.h"

#define PG_PROTECTION (PG_MAPPED | PG_NOACCESS | PG_READONLY)
#define PG_LIVE (PG_ACCEPTED | PG_MAPPED)
_Static_assert(CHUNK_PAGES == 64 * 64, "a bit for each 64 pages of a chunk is one word");

struct map_head {
	uint64_t brk;
	uint64_t chunks;
} __attribute__((packed));

struct map_chunk {
	uint32_t chunk;
	uint32_t runs;
} __attribute__((packed));

struct map_run {
	uint16_t first, last; /* pages of the chunk, both included */
	uint8_t bits;	      /* PG_PROTECTION, and PG_ACCEPTED for a live page */
} __attribute__((packed));

static uint64_t chunk_end(void)
{
	return CHUNK_OF(mm_end_page() - 1) + 1;
}

static uint8_t carried_bits(uint8_t state)
{
	return state & PG_MAPPED ? state & (PG_PROTECTION | PG_ACCEPTED) : 0;
}

/* ---- out ---- */

/* Runs of a chunk whose states exist; its live pages into 64 words. */
static void export_chunk(struct writer *w, uint64_t chunk, uint64_t *live)
{
	const uint8_t *state = state_of(chunk * CHUNK_PAGES);
	struct map_chunk head = {(uint32_t)chunk, 0};
	size_t head_at = w->used;
	put_bytes(w, &head, sizeof(head));
	memset(live, 0, CHUNK_PAGES / 8);
	for (unsigned p = 0; p < CHUNK_PAGES;) {
		uint8_t raw = __atomic_load_n(&state[p], __ATOMIC_ACQUIRE), bits = carried_bits(raw);
		uint64_t eight = raw * 0x0101010101010101ull;
		unsigned first = p++;
		while (p < CHUNK_PAGES) {
			if (p % 8 == 0 && *(const volatile uint64_t *)&state[p] == eight)
				p += 8;
			else if (carried_bits(__atomic_load_n(&state[p], __ATOMIC_ACQUIRE)) == bits)
				p++;
			else
				break;
		}
		if (bits == 0)
			continue;
		struct map_run run = {(uint16_t)first, (uint16_t)(p - 1), bits};
		put_bytes(w, &run, sizeof(run));
		head.runs++;
		for (unsigned i = first; bits & PG_ACCEPTED && i < p; i++)
			live[i / 64] |= 1ull << (i % 64);
	}
	if (w->used <= w->capacity)
		memcpy(w->base + head_at, &head, sizeof(head));
}

void mm_export_all(void)
{
	for (uint64_t chunk = CHUNK_OF(APP_BASE >> PAGE_SHIFT); chunk < chunk_end(); chunk++)
		if (mm_chunk_ready(chunk * CHUNK_PAGES))
			chunk_changed(chunk * CHUNK_PAGES);
}

long mm_export(uint8_t *out, size_t capacity, uint64_t *live, uint64_t *anew)
{
	const uint64_t first = CHUNK_OF(APP_BASE >> PAGE_SHIFT);
	struct writer w = {out, capacity, 0};
	struct map_head head = {.brk = mm_brk_now()};
	put_bytes(&w, &head, sizeof(head));
	for (uint64_t chunk = first; chunk < chunk_end(); chunk++) {
		if (!mm_chunk_ready(chunk * CHUNK_PAGES) || !chunk_take_changed(chunk))
			continue;
		export_chunk(&w, chunk, live + (chunk - first) * (CHUNK_PAGES / 64));
		anew[chunk - first] = ~0ull;
		if (w.used > capacity) {
			mm_export_all(); /* nothing was told */
			return -ENOSPC;
		}
		head.chunks++;
	}
	if (w.used > capacity)
		return -ENOSPC; /* not even the head */
	memcpy(out, &head, sizeof(head));
	return (long)w.used;
}

size_t mm_export_max(void)
{
	size_t runs = 0, chunks = 0;
	for (uint64_t chunk = CHUNK_OF(APP_BASE >> PAGE_SHIFT); chunk < chunk_end(); chunk++) {
		if (!mm_chunk_ready(chunk * CHUNK_PAGES))
			continue;
		chunks++;
		const uint8_t *state = state_of(chunk * CHUNK_PAGES);
		for (unsigned p = 0; p < CHUNK_PAGES; p++)
			runs += p == 0 || carried_bits(state[p]) != carried_bits(state[p - 1]);
	}
	return sizeof(struct map_head) + chunks * sizeof(struct map_chunk) + runs * sizeof(struct map_run);
}

/* ---- in ---- */

/* Looks at everything, changes nothing. */
static int check_chunk(struct reader *r, uint64_t from, uint64_t *chunk)
{
	struct map_chunk head;
	unsigned next = 0;
	get_bytes(r, &head, sizeof(head));
	if (r->bad || head.chunk < from || head.chunk >= chunk_end())
		return -EBADMSG;
	for (uint32_t i = 0; i < head.runs; i++) {
		struct map_run run;
		get_bytes(r, &run, sizeof(run));
		if (r->bad || run.first < next || run.last < run.first || run.last >= CHUNK_PAGES ||
		    !(run.bits & PG_MAPPED) || run.bits != carried_bits(run.bits))
			return -EBADMSG;
		for (uint64_t p = run.first; p <= run.last; p++)
			if (!mm_movable(head.chunk * CHUNK_PAGES + p))
				return -EBADMSG;
		next = run.last + 1u;
	}
	*chunk = head.chunk;
	return 0;
}

static void page_told(uint64_t page, uint8_t bits)
{
	uint8_t state = mm_state(page), now;
	do {
		now = state & (uint8_t)~(PG_PROTECTION | PG_DEFERRED);
		now |= bits & PG_PROTECTION;
		if ((bits & PG_LIVE) == PG_LIVE && !(state & PG_ACCEPTED))
			now |= PG_DEFERRED;
		if (now == state)
			return;
	} while (!__atomic_compare_exchange_n(state_of(page), &state, now, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	deferred_count_add(!!(now & PG_DEFERRED) - !!(state & PG_DEFERRED));
}

static void import_chunk(struct reader *r)
{
	struct map_chunk head;
	struct map_run run = {0, 0, 0};
	get_bytes(r, &head, sizeof(head));
	uint64_t page = (uint64_t)head.chunk * CHUNK_PAGES, told = 0;
	for (uint32_t i = 0; i <= head.runs; i++) {
		uint64_t gap_end = CHUNK_PAGES;
		if (i < head.runs) {
			get_bytes(r, &run, sizeof(run));
			gap_end = run.first;
		}
		for (; told < gap_end; told++)
			if (mm_movable(page + told))
				page_told(page + told, 0);
		if (i < head.runs)
			for (; told <= run.last; told++)
				page_told(page + told, run.bits);
	}
}

int mm_import(const uint8_t *in, size_t size)
{
	struct reader look = {in, size, 0, false};
	struct map_head head;
	get_bytes(&look, &head, sizeof(head));
	if (look.bad || !mm_brk_ok(head.brk))
		return -EBADMSG;
	struct reader apply = look;
	uint64_t chunk = CHUNK_OF(APP_BASE >> PAGE_SHIFT);
	for (uint64_t i = 0; i < head.chunks; i++, chunk++)
		if (check_chunk(&look, chunk, &chunk))
			return -EBADMSG;
	if (look.used != size)
		return -EBADMSG;
	for (uint64_t i = 0; i < head.chunks; i++) {
		struct map_chunk next;
		memcpy(&next, in + apply.used, sizeof(next));
		if (chunks_prepare((uint64_t)next.chunk * CHUNK_PAGES, 1))
			return -ENOMEM;
		import_chunk(&apply);
	}
	mm_mapped_anew(head.brk);
	return 0;
}
