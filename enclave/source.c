/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's trusted half: what pages say at the moment they are copied, and
 * the point of no return. Which pages go: source_pages.c.
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
	if (rc == 0)
		rc = source_pages_begin();
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

/* ---- pages ---- */

static bool page_live(uint64_t page)
{
	return (mm_state(page) & (PG_ACCEPTED | PG_MAPPED)) == (PG_ACCEPTED | PG_MAPPED);
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

static void add_page(struct record *r, uint64_t page, enum run_kind kind)
{
	struct record_header *h = &r->header;
	struct record_run *last = h->run_count ? &r->run[h->run_count - 1] : NULL;
	if (last && last->kind == kind && last->page + last->count == page && page % RECORD_BLOCK_PAGES != 0)
		last->count++;
	else
		r->run[h->run_count++] = (struct record_run){.page = page, .count = 1, .kind = kind};
	if (kind == RUN_DATA)
		h->body_size += PAGE_SIZE;
}

/* Whoever takes a page out of pending sends it: while pages are served, two lanes may want the same one. */
static bool claim(uint64_t *pending, uint64_t mask)
{
	return __atomic_fetch_and(pending, ~mask, __ATOMIC_RELAXED) & mask;
}

bool source_take_block(struct record *r, uint64_t block, uint64_t among, uint64_t counts[static 2])
{
	struct source_pages *p = &session.pages;
	uint64_t *pending = pageset_block(&p->pending, block), *there = pageset_block(&p->there, block);
	uint64_t *current = pageset_block(&p->current, block), leaving = *pageset_block(&p->leaving, block),
		 todo;
	while ((todo = __atomic_load_n(pending, __ATOMIC_RELAXED) & among)) {
		unsigned bit = (unsigned)__builtin_ctzll(todo);
		uint64_t page = block * 64 + bit, mask = 1ull << bit;
		if (r->header.body_size == RECORD_BODY_MAX || r->header.run_count == RECORD_RUNS_MAX)
			return false;
		if (!claim(pending, mask) || !page_live(page))
			continue; /* gone meanwhile: should it come back, it has a mark */
		if (session.prepare || leaving & mask) {
			add_page(r, page, session.prepare ? RUN_EXPECT : RUN_ABSENT);
			*there = session.prepare ? *there | mask : *there & ~mask;
			continue;
		}
		bool data = page_copy(r->body + r->header.body_size, page);
		add_page(r, page, data ? RUN_DATA : RUN_ZERO);
		counts[!data]++;
		if (session.phase != SESSION_SERVING) {
			*there |= mask;
			*current |= mask;
		}
	}
	return true;
}

/* The next block of a stream in which anything may have to go; block_end: none. */
static uint64_t next_block(uint64_t stream, uint64_t from)
{
	uint64_t end = session.pages.pending.block_end, block = from;
	while ((block = source_next_due(block)) < end && block % session.streams != stream)
		block++;
	return block;
}

static bool send_block(struct record *r, uint64_t stream, uint64_t block, uint64_t counts[static 2])
{
	const struct source_pages *p = &session.pages;
	uint64_t hot = *pageset_block(&p->dirty, block) | *pageset_block(&p->again, block);
	return source_take_block(r, block, session.hot_first[stream] ? hot : ~0ull, counts);
}

int source_send(struct service_call *call)
{
	const struct source_pages *p = &session.pages;
	uint64_t stream = call->arg[0], counts[2] = {0, 0};
	if (stream >= session.streams)
		return -EINVAL;
	if (call->out_size < RECORD_SIZE_MAX)
		return -ENOSPC;
	/* Before a page is taken: what is taken counts as sent. */
	int rc = record_may_seal(&session.channel[stream]);
	if (rc)
		return rc;
	struct record *r = session.record[stream];
	uint64_t *block = &session.cursor[stream];
	record_start(r, RECORD_PAGES);
	if (*block == 0)
		*block = next_block(stream, PAGESET_FIRST / 64);
	for (;;) {
		while (*block < p->pending.block_end && send_block(r, stream, *block, counts))
			*block = next_block(stream, *block + 1);
		if (*block < p->pending.block_end || !session.hot_first[stream])
			break;
		session.hot_first[stream] = false;
		*block = next_block(stream, PAGESET_FIRST / 64);
	}
	call->ret[1] = counts[0];
	call->ret[2] = counts[1];
	call->ret[3] = *block >= p->pending.block_end;
	return r->header.run_count ? call_send(call, &session.channel[stream], r) : call_nothing(call);
}

/* ---- the switch ---- */

int source_stop(struct service_call *call)
{
	session.stopping = true;
	stop_begin();
	return 0;
}

int source_continue(struct service_call *call)
{
	session.stopping = false;
	stop_undo();
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

/* The share that completes the state's key stays here until COMMIT. Made long before: it takes a while. */
int source_make_share(void)
{
	rt_random(session.share, sizeof(session.share));
	return handshake_state_key(&session.handshake, session.share, &session.state_key);
}

/* The whole state is one sealed string. The key is used once: what SESSION_FINAL has exported is exported. */
static int seal_state(struct blob *b)
{
	static const uint8_t iv[GCM_IV_SIZE];
	long size = b->capacity < RECORD_TAG_SIZE ? -ENOSPC : state_export(b->data, b->capacity - RECORD_TAG_SIZE);
	if (size == -ENOSPC) { /* the program has opened more since the session began */
		int rc = blob_reserve(b, state_export_max() + RECORD_TAG_SIZE);
		if (rc)
			return rc;
		size = state_export(b->data, b->capacity - RECORD_TAG_SIZE);
	}
	if (size < 0)
		return (int)size;
	gcm_seal(&session.state_key, iv, session.handshake.transcript, HASH_SIZE, b->data, (size_t)size, b->data + size);
	b->size = (size_t)size + RECORD_TAG_SIZE;
	rt_wipe(&session.state_key, sizeof(session.state_key));
	return 0;
}

int source_export(struct service_call *call)
{
	if (call->out_size < RECORD_SIZE_MAX)
		return -ENOSPC;
	bool memory_done = session.memory.done == session.memory.size;
	if (memory_done && session.phase == SESSION_FINAL && session.state.size == 0 &&
	    source_round_sent()) {
		int rc = seal_state(&session.state);
		if (rc)
			return rc;
	}
	struct record *r = session.out;
	struct blob *b = memory_done ? &session.state : &session.memory;
	size_t size = b->size - b->done;
	call->ret[1] = size <= RECORD_BODY_MAX;
	if (size == 0)
		return call_nothing(call);
	if (size > RECORD_BODY_MAX)
		size = RECORD_BODY_MAX;
	record_start(r, memory_done ? RECORD_STATE : RECORD_MEMORY);
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
	bool same = m.control_next == session.send.next && m.deferred == source_left() &&
		    session.memory.done == session.memory.size && m.state_size == session.state.size &&
		    session.state.size != 0 && session.state.done == session.state.size;
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
	/* The point of no return, before the frame that lets the other side run exists; that it can be made is certain. */
	rc = record_may_seal(&session.send);
	if (rc == 0)
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
		call->ret[1] = source_left();
		if (call->ret[1] == 0)
			session_close(SESSION_OVER);
		else
			session.phase = SESSION_SERVING;
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
