/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages go: what was written since the last look, what the destination has
 * as it is, and so what each round carries and what stays behind.
 */
#include <errno.h>
#include "enclave/mm.h"
#include "enclave/session.h"

_Static_assert(PAGESET_FIRST % CHUNK_PAGES == 0, "a chunk's blocks are one word of a map of blocks");

struct page_counts {
	uint64_t written;     /* since the last time: the destination has these pages no more as they are */
	uint64_t old, absent; /* live pages that exist there as they were; that do not exist there */
};

/* ---- maps of blocks ---- */

static size_t chunks(void)
{
	return pageset_words(&session.pages.pending) / 64;
}

/* The first block of a map from that one on, counted as the words of a pageset; their number: none. */
static size_t map_next(const uint64_t *map, size_t word)
{
	size_t end = pageset_words(&session.pages.pending);
	for (; word < end; word += 64 - word % 64) {
		uint64_t left = map[word / 64] >> (word % 64);
		if (left)
			return word + (unsigned)__builtin_ctzll(left);
	}
	return end;
}

/* All blocks of a map in turn. What is put into it behind the one under way is met, too. */
#define EACH_BLOCK(i, map)                                                                                   \
	(size_t i = map_next(map, 0); i < pageset_words(&session.pages.pending); i = map_next(map, (i) + 1))

uint64_t source_next_due(uint64_t block)
{
	return PAGESET_FIRST / 64 + map_next(session.pages.due, block - PAGESET_FIRST / 64);
}

/* A block with a page that is pending, or is old there. */
static void make_due(size_t word)
{
	session.pages.active[word / 64] |= 1ull << (word % 64);
	session.pages.due[word / 64] |= 1ull << (word % 64);
}

/* What lives in a block and does not exist at the destination. */
static uint64_t absent_in(size_t word)
{
	return session.pages.live.word[word] & ~session.pages.there.word[word];
}

static uint64_t pending_count(void)
{
	const struct source_pages *p = &session.pages;
	uint64_t count = 0;
	for EACH_BLOCK (i, p->due)
		count += (uint64_t)__builtin_popcountll(p->pending.word[i]);
	return count;
}

bool source_round_sent(void)
{
	return pending_count() == 0;
}

/* A block with these pages marked, or one that was not settled. */
static void collect_block(size_t word, uint64_t dirty, struct page_counts *c)
{
	struct source_pages *p = &session.pages;
	uint64_t bit = 1ull << (word % 64), current = p->current.word[word] &= ~dirty;
	uint64_t changed = p->live.word[word] & ~current, there = p->there.word[word];
	uint8_t absent = (uint8_t)__builtin_popcountll(absent_in(word));
	p->dirty.word[word] = dirty;
	c->written += (uint64_t)__builtin_popcountll(dirty);
	c->old += (uint64_t)__builtin_popcountll(changed & there);
	p->absent_count += absent;
	p->absent_count -= p->absent[word];
	p->absent[word] = absent;
	if (changed & there)
		make_due(word);
	if (!dirty && !changed)
		p->active[word / 64] &= ~bit;
	else
		p->active[word / 64] |= bit;
	if (!dirty) /* what is old is due, and so looked at again */
		p->unsettled[word / 64] &= ~bit;
}

/* What the last round chose: it was dealt with, or is no more to be. */
static void forget_pending(void)
{
	struct source_pages *p = &session.pages;
	for EACH_BLOCK (i, p->due)
		p->pending.word[i] = p->leaving.word[i] = 0;
	for (size_t chunk = 0; chunk < chunks(); chunk++) {
		p->unsettled[chunk] |= p->due[chunk];
		p->due[chunk] = 0;
	}
}

/* Marks into the sets. Where nothing runs, and no other look follows, there is no need to take them: a locked exchange
 * for eight pages each would be most of the work. */
static struct page_counts collect(bool take)
{
	struct page_counts c = {0, 0, 0};
	uint64_t marked[64];
	forget_pending();
	for (size_t chunk = 0; chunk < chunks(); chunk++) {
		uint64_t any = marks_look(PAGESET_FIRST + chunk * CHUNK_PAGES, marked);
		for (uint64_t left = session.pages.unsettled[chunk] |= any; left; left &= left - 1) {
			unsigned block = (unsigned)__builtin_ctzll(left);
			uint64_t dirty = any >> block & 1 ? marked[block] : 0;
			if (dirty && take)
				marks_take(PAGESET_FIRST + (chunk * 64 + block) * 64, 64, &dirty);
			collect_block(chunk * 64 + block, dirty, &c);
		}
	}
	c.absent = session.pages.absent_count;
	return c;
}

int source_pages_begin(void)
{
	struct source_pages *p = &session.pages;
	struct pageset *const all[] = {SOURCE_PAGESETS(p)};
	int rc = 0;
	for (unsigned i = 0; rc == 0 && i < sizeof(all) / sizeof(all[0]); i++)
		rc = pageset_init(all[i], mm_end_page());
	if (rc)
		return rc;
	p->maps_size = chunks() * (3 * sizeof(uint64_t) + 64);
	p->active = rt_pages_alloc(p->maps_size);
	if (!p->active)
		return -ENOMEM;
	memset(p->active, 0, p->maps_size);
	p->due = p->active + chunks();
	p->unsettled = p->due + chunks();
	p->absent = (uint8_t *)(p->unsettled + chunks());
	p->absent_count = 0;
	/* What a fresh enclave has from the start. */
	for (uint32_t i = 0; i < CONFIG->range_count; i++)
		for (uint64_t page = CONFIG->range[i].start >> PAGE_SHIFT;
		     page < CONFIG->range[i].end >> PAGE_SHIFT; page++)
			pageset_add(&p->there, page);
	for (uint64_t page = 0; page < CONFIG->heap_static >> PAGE_SHIFT; page++)
		pageset_add(&p->there, (CONFIG->heap_base >> PAGE_SHIFT) + page);
	memset(session.hot_first, 0, sizeof(session.hot_first));
	mm_export_all();
	collect(true); /* what was written before says nothing about now */
	return 0;
}

/* ---- rounds ---- */

/* The map of what changed, and so which pages live, goes before what is chosen by it. */
static int tell_map(void)
{
	struct blob *b = &session.memory;
	struct source_pages *p = &session.pages;
	struct pageset *const all[] = {SOURCE_PAGESETS(p)};
	if (b->done < b->size)
		return -EPERM;
	/* Before the map is read: what comes into use behind its back is the next round's. */
	uint64_t end = mm_used_end();
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		pageset_limit(all[i], end);
	long size = mm_export(b->data, b->capacity, p->live.word, p->unsettled);
	for (int tries = 0; size == -ENOSPC && tries < 3; tries++) {
		int rc = blob_reserve(b, mm_export_max());
		if (rc)
			return rc;
		size = mm_export(b->data, b->capacity, p->live.word, p->unsettled);
	}
	if (size < 0)
		return (int)size;
	b->size = (size_t)size;
	b->done = 0;
	return 0;
}

/* Each sets pending, and what else the round is about, in one block. */

static void choose_live(size_t i)
{
	const struct source_pages *p = &session.pages;
	p->pending.word[i] = p->live.word[i] & ~p->current.word[i];
}

/* Pages seen written for the first time. */
static uint64_t choose_watch(size_t i)
{
	const struct source_pages *p = &session.pages;
	uint64_t news = p->dirty.word[i] & ~p->again.word[i];
	p->again.word[i] |= news;
	return (uint64_t)__builtin_popcountll(news);
}

static void choose_old(size_t i)
{
	const struct source_pages *p = &session.pages;
	p->pending.word[i] = p->live.word[i] & p->there.word[i] & ~p->current.word[i];
}

/* Pages that do not exist there, were seen written, and are quiet now. */
static uint64_t seen_and_quiet(void)
{
	const struct source_pages *p = &session.pages;
	uint64_t count = 0;
	for EACH_BLOCK (i, p->active)
		count += (uint64_t)__builtin_popcountll(absent_in(i) & ~p->dirty.word[i] & p->again.word[i]);
	return count;
}

/* Of pages that do not exist there: those never seen written, those that were? */
static void choose_quiet(size_t i, bool take_out, bool unseen, bool seen)
{
	const struct source_pages *p = &session.pages;
	uint64_t old = p->live.word[i] & ~p->current.word[i], dirty = p->dirty.word[i];
	uint64_t restless = old & p->there.word[i] & dirty;
	p->leaving.word[i] = take_out ? restless & p->again.word[i] : 0;
	p->again.word[i] |= restless;
	uint64_t again = p->again.word[i];
	uint64_t candidates = p->there.word[i] | (unseen ? ~again : 0) | (seen ? again : 0);
	p->pending.word[i] = (old & ~dirty & candidates) | p->leaving.word[i];
}

/* In each block that is active. How many pages were seen written for the first time, if somebody watches. */
static uint64_t choose_by_block(uint64_t kind, bool take_out, bool unseen, bool seen)
{
	const struct source_pages *p = &session.pages;
	uint64_t news = 0;
	for EACH_BLOCK (i, p->active) {
		if (kind == ROUND_WATCH)
			news += choose_watch(i);
		else if (kind == ROUND_QUIET)
			choose_quiet(i, take_out, unseen, seen);
		else if (kind == ROUND_OLD)
			choose_old(i);
		else
			choose_live(i);
		if (p->pending.word[i])
			make_due(i);
	}
	return news;
}

static void add_range(void *context, uint64_t page, uint64_t count)
{
	struct pageset *s = context;
	for (uint64_t end = s->block_end * 64; count && page < end; page++, count--)
		if (page >= PAGESET_FIRST) {
			pageset_add(s, page);
			make_due(page / 64 - PAGESET_FIRST / 64);
		}
}

/* What the destination has in an old version, or, where all is few, everything that is not current. Always dirty
 * ranges are pending already. */
static void choose_final(bool all)
{
	const struct source_pages *p = &session.pages;
	const uint64_t *map = all ? p->active : p->due;
	for EACH_BLOCK (i, map) {
		p->pending.word[i] |= p->live.word[i] & ~p->current.word[i] & (all ? ~0ull : p->there.word[i]);
		if (p->pending.word[i])
			make_due(i);
	}
}

/* Of pages that do not exist there. */
static uint64_t pending_absent(void)
{
	const struct source_pages *p = &session.pages;
	uint64_t count = 0;
	for EACH_BLOCK (i, p->due)
		count += (uint64_t)__builtin_popcountll(p->pending.word[i] & absent_in(i));
	return count;
}

/* Of all pages there or of those that are not, whether they have changed or not. */
static void choose_some(uint64_t most, bool there)
{
	struct source_pages *p = &session.pages;
	for (size_t i = 0; i < pageset_words(&p->pending) && most; i++) {
		uint64_t left = p->live.word[i] & (there ? p->there.word[i] : ~p->there.word[i]);
		for (; left && most; left &= left - 1, most--)
			p->pending.word[i] |= left & -left;
		if (p->pending.word[i])
			make_due(i);
	}
}

uint64_t source_left(void)
{
	return session.pages.left_count;
}

uint64_t source_stays(uint64_t block)
{
	return absent_in(block - PAGESET_FIRST / 64);
}

void source_pages_left(void)
{
	struct source_pages *p = &session.pages;
	for EACH_BLOCK (i, p->active) {
		p->pending.word[i] = absent_in(i);
		make_due(i);
	}
}

int source_round(struct service_call *call)
{
	struct source_pages *p = &session.pages;
	uint64_t kind = call->arg[0];
	if (kind > ROUND_OLD || (kind == ROUND_FINAL && (!session.stopping || stop_pending() != 0)))
		return kind > ROUND_OLD ? -EINVAL : -EPERM;
	/* No content is sent, and nothing told of what is written, before writes are tracked. */
	if (kind != ROUND_PREPARE && kind != ROUND_FINAL && tracking_begin() != 0)
		return -EAGAIN;
	int rc = tell_map();
	if (rc)
		return rc;
	struct page_counts counts = collect(kind != ROUND_FINAL);
	uint64_t news = 0, most = call->arg[1];
	session.prepare = kind == ROUND_PREPARE;
	if (kind == ROUND_SAMPLE || kind == ROUND_PREPARE) {
		choose_some(most, kind == ROUND_SAMPLE && call->arg[2] != 0);
	} else if (kind == ROUND_FINAL) {
		stop_always_dirty(add_range, &p->pending);
		choose_final(counts.old + counts.absent <= most);
		p->left_count = counts.absent - pending_absent();
		session.phase = SESSION_FINAL;
	} else {
		bool unseen = kind == ROUND_QUIET && call->arg[2] != GROW_NOT;
		bool seen = unseen && seen_and_quiet() < call->arg[2];
		news = choose_by_block(kind, counts.old > most, unseen, seen);
	}
	memset(session.cursor, 0, sizeof(session.cursor));
	call->ret[0] = kind == ROUND_WATCH ? counts.written : pending_count();
	call->ret[1] = kind == ROUND_WATCH ? news : counts.written;
	call->ret[2] = counts.old;
	call->ret[3] = counts.absent;
	return 0;
}
