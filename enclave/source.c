/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's trusted half: which pages go, what they say at the moment they
 * are copied, and the point of no return.
 */
#include <errno.h>
#include "enclave/session.h"

int source_offer(struct service_call *call)
{
	uint64_t streams = call->arg[0];
	if (streams == 0 || streams > MIGRATE_STREAMS_MAX || state_is_fresh())
		return -EINVAL;
	session_close(SESSION_NONE);
	int rc = session_open(ROLE_SOURCE, (unsigned)streams);
	uint64_t end = mm_end_page();
	if (rc == 0)
		rc = pageset_init(&session.pending, end);
	if (rc == 0)
		rc = pageset_init(&session.sent, end);
	if (rc == 0)
		rc = handshake_start(&session.handshake, ROLE_SOURCE, session.streams);
	if (rc == 0)
		rc = call_output(call, &session.handshake.own, sizeof(session.handshake.own));
	if (rc)
		session_close(SESSION_NONE);
	else
		session.phase = SESSION_HELLO;
	return rc;
}

int source_answered(struct service_call *call)
{
	struct handshake_hello peer;
	int rc = call_input(call, &peer, sizeof(peer));
	if (rc == 0)
		rc = handshake_join(&session.handshake, &peer);
	if (rc == 0)
		session.phase = SESSION_JOINED;
	return rc;
}

/* ---- rounds ---- */

static bool page_live(uint64_t page)
{
	return (mm_state(page) & (PG_ACCEPTED | PG_MAPPED)) == (PG_ACCEPTED | PG_MAPPED);
}

static void add_live(void)
{
	uint64_t end = session.pending.block_end * 64;
	for (uint64_t page = mm_next_live(PAGESET_FIRST, end); page < end; page = mm_next_live(page + 1, end))
		pageset_add(&session.pending, page);
}

/* Live pages that no round has carried. Whole blocks that went are skipped: while parked, time counts. */
static void add_never_sent(void)
{
	uint64_t end = session.pending.block_end * 64, page = PAGESET_FIRST;
	while ((page = mm_next_live(page, end)) < end) {
		uint64_t sent = *pageset_block(&session.sent, page / 64);
		if (~sent == 0) {
			page = (page | 63) + 1;
			continue;
		}
		if (!(sent >> (page % 64) & 1))
			pageset_add(&session.pending, page);
		page++;
	}
}

static void add_range(void *context, uint64_t page, uint64_t count)
{
	for (uint64_t end = session.pending.block_end * 64; count && page < end; page++, count--)
		if (page >= PAGESET_FIRST)
			pageset_add(&session.pending, page);
}

int source_round(struct service_call *call)
{
	uint64_t pages = session.pending.block_end * 64 - PAGESET_FIRST;
	uint64_t dirty = 0;
	if (mm_end_page() > session.pending.block_end * 64)
		return -EOVERFLOW;
	switch (call->arg[0]) {
	case ROUND_PREPARE:
		if (session.everything)
			return -EPERM;
		add_live();
		break;
	case ROUND_LIVE:
		if (!session.everything)
			add_live();
		/* Cleared before the pages are copied, by an exchange: a store that comes later marks again.
		 */
		dirty = marks_take(PAGESET_FIRST, pages, session.pending.word);
		session.everything = true;
		break;
	case ROUND_FINAL:
		if (!session.stopping || stop_pending() != 0)
			return -EPERM;
		dirty = marks_take(PAGESET_FIRST, pages, session.pending.word);
		stop_always_dirty(add_range, NULL);
		add_never_sent();
		session.phase = SESSION_FINAL;
		break;
	default:
		return -EINVAL;
	}
	session.prepare = call->arg[0] == ROUND_PREPARE;
	for (unsigned i = 0; i < session.streams; i++)
		session.cursor[i] = 0;
	call->ret[0] = pageset_count(&session.pending);
	call->ret[1] = dirty;
	return 0;
}

/* Copies a page and says whether anything but zeros was in it. The application may be writing to it: what
 * counts is that every word is read once, after its mark was taken. */
static bool page_copy(uint8_t *to, uint64_t page)
{
	const uint64_t *from = (const uint64_t *)(page << PAGE_SHIFT);
	uint64_t *out = (uint64_t *)to, any = 0;
	for (unsigned i = 0; i < PAGE_SIZE / sizeof(uint64_t); i++) {
		uint64_t word = from[i];
		any |= word;
		out[i] = word;
	}
	return any != 0;
}

/* False if the record has no room for another run. */
static bool add_page(struct record *r, uint64_t page, enum run_kind kind)
{
	struct record_header *h = &r->header;
	struct record_run *last = h->run_count ? &r->run[h->run_count - 1] : NULL;
	if (last && last->kind == kind && last->page + last->count == page &&
	    page % RECORD_BLOCK_PAGES != 0) {
		last->count++;
		return true;
	}
	if (h->run_count == RECORD_RUNS_MAX)
		return false;
	r->run[h->run_count++] = (struct record_run){.page = page, .count = 1, .kind = kind};
	return true;
}

/* Moves pages of one block from pending into the record. False when the record is full. */
static bool take_block(struct record *r, uint64_t block, uint64_t counts[static 2])
{
	uint64_t *pending = pageset_block(&session.pending, block);
	uint64_t *sent = pageset_block(&session.sent, block);
	while (*pending) {
		unsigned bit = (unsigned)__builtin_ctzll(*pending);
		uint64_t page = block * 64 + bit, mask = 1ull << bit;
		enum run_kind kind = RUN_EXPECT;
		if (!page_live(page)) {
			/* Gone meanwhile. Should it come back, it counts as never sent. */
			*pending &= ~mask;
			*sent &= ~mask;
			continue;
		}
		if (!session.prepare) {
			if (r->header.body_size == RECORD_BODY_MAX)
				return false;
			kind = page_copy(r->body + r->header.body_size, page) ? RUN_DATA : RUN_ZERO;
		}
		if (!add_page(r, page, kind))
			return false;
		if (kind == RUN_DATA)
			r->header.body_size += PAGE_SIZE;
		if (kind != RUN_EXPECT) {
			counts[kind == RUN_ZERO]++;
			*sent |= mask;
		}
		*pending &= ~mask;
	}
	return true;
}

int source_send(struct service_call *call)
{
	uint64_t stream = call->arg[0];
	if (stream >= session.streams)
		return -EINVAL;
	if (call->out_size < RECORD_SIZE_MAX)
		return -ENOSPC;
	struct record *r = session.record[stream];
	uint64_t counts[2] = {0, 0}, block = session.cursor[stream];
	record_start(r, RECORD_PAGES);
	if (block == 0)
		for (block = PAGESET_FIRST / 64; block % session.streams != stream;)
			block++;
	while (block < session.pending.block_end && take_block(r, block, counts))
		block += session.streams;
	session.cursor[stream] = block;
	call->ret[1] = counts[0];
	call->ret[2] = counts[1];
	return r->header.run_count ? call_send(call, &session.channel[stream], r) : call_nothing(call);
}

/* ---- the switch ---- */

int source_stop(struct service_call *call)
{
	session.stopping = true;
	stop_begin();
	return 0;
}

int source_pending(struct service_call *call)
{
	call->ret[0] = stop_pending();
	return session.stopping ? 0 : -EPERM;
}

int source_slots(struct service_call *call)
{
	uint8_t slots[THREAD_SLOTS_MAX / 8];
	state_slots(slots);
	return call_output(call, slots, sizeof(slots));
}

/* The whole state is one sealed string; the share that completes its key stays here until COMMIT. */
static int seal_state(struct blob *b)
{
	static const uint8_t iv[GCM_IV_SIZE];
	struct gcm_key expanded;
	uint8_t key[GCM_KEY_SIZE];
	long size = state_export(b->data, b->capacity - RECORD_TAG_SIZE);
	if (size < 0)
		return (int)size;
	rt_random(session.share, sizeof(session.share));
	int rc = handshake_state_key(&session.handshake, session.share, key);
	if (rc == 0) {
		gcm_expand(&expanded, key);
		gcm_seal(&expanded, iv, session.handshake.transcript, HASH_SIZE, b->data, (size_t)size,
			 b->data + size);
		b->size = (size_t)size + RECORD_TAG_SIZE;
		rt_wipe(&expanded, sizeof(expanded));
	}
	rt_wipe(key, sizeof(key));
	return rc;
}

static int export_begin(void)
{
	size_t room = state_export_max() + RECORD_TAG_SIZE;
	if (pageset_count(&session.pending) != 0)
		return -EPERM;
	int rc = blob_reserve(&session.memory, room);
	if (rc == 0)
		rc = blob_reserve(&session.state, room);
	if (rc)
		return rc;
	long size = mm_export(session.memory.data, session.memory.capacity);
	if (size < 0)
		return (int)size;
	session.memory.size = (size_t)size;
	return seal_state(&session.state);
}

int source_export(struct service_call *call)
{
	if (call->out_size < RECORD_SIZE_MAX)
		return -ENOSPC;
	if (session.state.size == 0) {
		int rc = export_begin();
		if (rc)
			return rc;
	}
	struct record *r = session.out;
	bool memory = session.memory.done < session.memory.size;
	struct blob *b = memory ? &session.memory : &session.state;
	size_t size = b->size - b->done;
	if (size == 0)
		return call_nothing(call);
	if (size > RECORD_BODY_MAX)
		size = RECORD_BODY_MAX;
	record_start(r, memory ? RECORD_MEMORY : RECORD_STATE);
	r->header.offset = b->done;
	r->header.total = b->size;
	r->header.body_size = (uint32_t)size;
	memcpy(r->body, b->data + b->done, size);
	int rc = call_send(call, &session.send, r);
	if (rc == 0)
		b->done += size;
	return rc;
}

static int receive_control(const struct service_call *call)
{
	int rc = record_read(session.in, call->in, call->in_size);
	return rc ? rc : record_open(&session.receive, session.in);
}

/* Does the destination hold exactly what was sent? */
static int manifest_check(void)
{
	const struct record *r = session.in;
	struct manifest m;
	if (r->header.type != RECORD_READY || r->header.run_count != 0 || r->header.body_size != sizeof(m))
		return -EBADMSG;
	memcpy(&m, r->body, sizeof(m));
	for (unsigned i = 0; i < session.streams; i++)
		if (m.next[i] != session.channel[i].next)
			return -EBADMSG;
	bool same = m.control_next == session.send.next && m.memory_size == session.memory.size &&
		    m.state_size == session.state.size && session.state.size != 0 &&
		    session.state.done == session.state.size;
	return same ? 0 : -EBADMSG;
}

int source_commit(struct service_call *call)
{
	struct record *r = session.out;
	if (session.phase == SESSION_COMMITTED) {
		/* Never sealed twice: whoever asks again gets the same bytes. */
		if (call->in_size != 0)
			return -EINVAL;
		return call_write(call, r);
	}
	int rc = receive_control(call);
	if (rc == 0)
		rc = manifest_check();
	if (rc)
		return rc;
	record_start(r, RECORD_COMMIT);
	r->header.body_size = sizeof(session.share);
	if (call->out_size < record_size(r))
		return -ENOSPC;
	/* The point of no return, before the frame that lets the other side run exists. */
	rc = stop_commit();
	if (rc)
		return rc;
	session.phase = SESSION_COMMITTED;
	memcpy(r->body, session.share, sizeof(session.share));
	rt_wipe(session.share, sizeof(session.share));
	return call_send(call, &session.send, r);
}

int source_finish(struct service_call *call)
{
	int rc = receive_control(call);
	if (rc)
		return rc;
	switch (session.in->header.type) {
	case RECORD_RESUMED:
		session_close(SESSION_OVER);
		return 0;
	case RECORD_REFUSED:
		/* Authentic, so the instance that got the share has wiped what the share opens. */
		rc = stop_uncommit();
		if (rc)
			return rc;
		session_close(SESSION_NONE);
		call->ret[0] = 1;
		return 0;
	}
	return -EBADMSG;
}

int source_cancel(struct service_call *call)
{
	if (session.stopping)
		stop_undo();
	session_close(SESSION_NONE);
	return 0;
}
