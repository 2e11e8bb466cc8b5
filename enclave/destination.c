/* SPDX-License-Identifier: Apache-2.0
 *
 * The destination's trusted half: a fresh enclave that takes in another's pages
 * and, once COMMIT has brought the missing share, its threads.
 */
#include <errno.h>
#include "enclave/clock.h"
#include "enclave/session.h"

int destination_accept(struct service_call *call)
{
	struct handshake_hello peer;
	int rc = call_input(call, &peer, sizeof(peer));
	if (rc)
		return rc;
	if (!state_is_fresh() || peer.streams == 0 || peer.streams > MIGRATE_STREAMS_MAX)
		return -EINVAL;
	/* From here on this enclave is a destination or nothing. */
	rc = state_become_destination();
	if (rc)
		return rc;
	rc = session_open(ROLE_DESTINATION, peer.streams);
	if (rc == 0)
		rc = handshake_start(&session.handshake, ROLE_DESTINATION, peer.streams);
	if (rc == 0)
		rc = handshake_join(&session.handshake, &peer);
	if (rc == 0)
		rc = call_output(call, &session.handshake.own, sizeof(session.handshake.own));
	if (rc)
		session_close(SESSION_OVER);
	else
		session.phase = SESSION_JOINED;
	return rc;
}

/* ---- pages ---- */

/* A run lies in one block of this stream, and every page in it may be a peer's. */
static int run_check(const struct record_run *run, uint64_t stream)
{
	uint64_t end = mm_end_page();
	if (run->count == 0 || run->count > RECORD_BLOCK_PAGES || run->page >= end ||
	    run->count > end - run->page ||
	    run->page / RECORD_BLOCK_PAGES != (run->page + run->count - 1) / RECORD_BLOCK_PAGES ||
	    (stream != MIGRATE_URGENT && migrate_stream_of(run->page, session.streams) != stream) ||
	    run->kind > (session.phase == SESSION_FILLING ? RUN_ZERO : RUN_ABSENT))
		return -EBADMSG;
	for (uint64_t page = run->page; page < run->page + run->count; page++)
		if (!mm_movable(page))
			return -EBADMSG;
	return 0;
}

/* One page of a run. Once the application runs, only what is still missing counts: it may have written to the
 * rest. */
static int install_page(uint64_t page, uint32_t kind, const uint8_t *content)
{
	if (session.phase == SESSION_FILLING) {
		int rc = mm_arrive(page, content);
		return rc < 0 ? rc : 0;
	}
	return kind == RUN_EXPECT   ? mm_make_room(page)
	       : kind == RUN_ABSENT ? mm_take_out(page)
				    : mm_install(page, content);
}

static int install(const struct record *r, uint64_t stream, uint64_t counts[static 2])
{
	const uint8_t *content = r->body;
	uint64_t data = 0;
	for (uint32_t i = 0; i < r->header.run_count; i++) {
		int rc = run_check(&r->run[i], stream);
		if (rc)
			return rc;
		if (r->run[i].kind == RUN_DATA)
			data += r->run[i].count;
	}
	if (data * PAGE_SIZE != r->header.body_size)
		return -EBADMSG;
	for (uint32_t i = 0; i < r->header.run_count; i++) {
		const struct record_run *run = &r->run[i];
		bool has_content = run->kind == RUN_DATA;
		for (uint64_t page = run->page; page < run->page + run->count; page++) {
			int rc = install_page(page, run->kind, has_content ? content : NULL);
			if (rc)
				return rc;
			content += has_content ? PAGE_SIZE : 0;
		}
		if (run->kind == RUN_DATA || run->kind == RUN_ZERO)
			counts[run->kind == RUN_ZERO] += run->count;
	}
	return 0;
}

/* The next part of a blob, in order. */
static int blob_append(struct blob *b, const struct record *r)
{
	const struct record_header *h = &r->header;
	if (h->run_count != 0 || h->total == 0 || h->total > BLOB_SIZE_MAX)
		return -EBADMSG;
	if (b->size == 0) {
		int rc = blob_reserve(b, h->total);
		if (rc)
			return rc;
		b->size = h->total;
	}
	if (h->total != b->size || h->offset != b->done || h->body_size == 0 ||
	    h->body_size > b->size - b->done)
		return -EBADMSG;
	memcpy(b->data + b->done, r->body, h->body_size);
	b->done += h->body_size;
	return 0;
}

/* A map is complete when its last part is: it holds from then on. */
static int map_append(const struct record *r)
{
	struct blob *b = &session.memory;
	int rc = blob_append(b, r);
	if (rc || b->done < b->size)
		return rc;
	rc = mm_import(b->data, b->size);
	b->size = b->done = 0;
	session.mapped = true;
	return rc;
}

int destination_receive(struct service_call *call)
{
	uint64_t stream = call->arg[0], counts[2] = {0, 0};
	bool control = stream == MIGRATE_CONTROL, filling = session.phase == SESSION_FILLING;
	if (control ? filling : stream == MIGRATE_URGENT ? !filling : stream >= session.streams)
		return -EINVAL;
	unsigned lane = stream == MIGRATE_URGENT ? LANE_URGENT : (unsigned)stream;
	struct record *r = control ? session.in : session.record[lane];
	int rc = record_read(r, call->in, call->in_size);
	if (rc == 0)
		rc = record_open(control ? &session.receive : &session.channel[lane], r);
	if (rc)
		return rc;
	if (!control && r->header.type == RECORD_PAGES)
		rc = install(r, stream, counts);
	else if (control && r->header.type == RECORD_MEMORY)
		rc = map_append(r);
	else if (control && r->header.type == RECORD_STATE) {
		clock_arrives();
		rc = blob_append(&session.state, r);
	} else
		rc = -EBADMSG;
	if (rc)
		__atomic_store_n(&session.broken, true, __ATOMIC_RELAXED);
	call->ret[1] = counts[0];
	call->ret[2] = counts[1];
	return rc;
}

/* ---- the switch ---- */

int destination_ready(struct service_call *call)
{
	struct record *r = session.out;
	struct manifest m;
	if (session.broken || !session.mapped || session.memory.size != 0 ||
	    session.state.size < RECORD_TAG_SIZE || session.state.done != session.state.size)
		return -EPERM;
	memset(&m, 0, sizeof(m));
	for (unsigned i = 0; i < session.streams; i++)
		m.next[i] = session.channel[i].next;
	m.control_next = session.receive.next;
	m.state_size = session.state.size;
	m.deferred = mm_deferred();
	record_start(r, RECORD_READY);
	r->header.body_size = sizeof(m);
	memcpy(r->body, &m, sizeof(m));
	if (call->out_size < record_size(r))
		return -ENOSPC;
	int rc = call_send(call, &session.send, r);
	if (rc)
		session.broken = true;
	else
		session.phase = SESSION_READY;
	return rc;
}

static int open_state(const uint8_t share[static 32])
{
	static const uint8_t iv[GCM_IV_SIZE];
	struct blob *b = &session.state;
	struct gcm_key key;
	size_t size = b->size - RECORD_TAG_SIZE;
	int rc = handshake_state_key(&session.handshake, share, &key);
	if (rc)
		return rc;
	rc = gcm_open(&key, iv, session.handshake.transcript, HASH_SIZE, b->data, size, b->data + size);
	if (rc == 0)
		rc = state_import(b->data, size);
	rt_wipe(&key, sizeof(key));
	return rc;
}

int destination_resume(struct service_call *call)
{
	struct record *in = session.in, *out = session.out;
	int rc = record_read(in, call->in, call->in_size);
	if (rc)
		return rc;
	if (session.phase != SESSION_READY) {
		bool same = rt_memcmp_ct(in->tag, session.commit_tag, sizeof(session.commit_tag)) == 0;
		return same ? call_write(call, out) : -EBADMSG;
	}
	record_start(out, RECORD_RESUMED);
	if (call->out_size < record_size(out))
		return -ENOSPC;
	rc = record_open(&session.receive, in);
	if (rc)
		return rc;
	if (in->header.type != RECORD_COMMIT || in->header.run_count != 0 || in->header.body_size != 32)
		return -EBADMSG;
	rc = open_state(in->body);
	rt_wipe(in->body, in->header.body_size);
	if (rc == 0)
		rc = call_send(call, &session.send, out);
	if (rc)
		return -ENOTRECOVERABLE; /* nothing runs: REFUSE is still open, and the source runs on */
	memcpy(session.commit_tag, in->tag, sizeof(session.commit_tag));
	session.phase = mm_deferred() ? SESSION_FILLING : SESSION_RESUMED;
	/* Wiping is not part of the stop: RETIRE does it, or ARRIVED. */
	call->ret[0] = mm_deferred();
	state_go();
	return 0;
}

int destination_retire(struct service_call *call)
{
	(void)call;
	session_retire();
	return 0;
}

int destination_refuse(struct service_call *call)
{
	struct record *r = session.out;
	record_start(r, RECORD_REFUSED);
	int rc = call_send(call, &session.send, r);
	if (rc == 0)
		session_close(SESSION_OVER);
	return rc;
}

/* ---- what stayed behind ---- */

int destination_reopen(struct service_call *call)
{
	return session_reopen(call->arg[0]);
}

int destination_arrived(struct service_call *call)
{
	struct record *r = session.out;
	call->ret[0] = mm_deferred();
	if (call->ret[0])
		return -EAGAIN;
	record_start(r, RECORD_ARRIVED);
	int rc = call_send(call, &session.send, r);
	if (rc)
		return rc;
	session.phase = SESSION_RESUMED;
	session_retire();
	return 0;
}
