/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/session.h"
#include <errno.h>
#include "enclave/attest.h"

static size_t whole_pages(size_t size)
{
	return (size + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
}

int session_open(enum migrate_role role, unsigned streams)
{
	static const uint8_t nothing[64];
	struct sgx_report own;
	mm_touch_image();
	attest_report(NULL, nothing, &own);
	gcm_select(own.attributes.xfrm);
	session.role = role;
	session.streams = streams;
	session.out = rt_pages_alloc(whole_pages(sizeof(struct record)));
	session.in = rt_pages_alloc(whole_pages(sizeof(struct record)));
	bool complete = session.out && session.in;
	for (unsigned i = 0; i <= LANE_URGENT; i++)
		if (i < streams || i == LANE_URGENT) {
			session.record[i] = rt_pages_alloc(whole_pages(sizeof(struct record)));
			complete = complete && session.record[i];
		}
	/* Now, for pages that have to be accepted first would cost time while the program stands still. */
	if (!complete || blob_reserve(&session.memory, mm_export_max()) ||
	    blob_reserve(&session.state, state_export_max() + RECORD_TAG_SIZE))
		return -ENOMEM;
	memset(session.state.data, 0, session.state.capacity);
	return 0;
}

static int page_channels(void)
{
	int rc = channel_open(&session.channel[LANE_URGENT], &session.handshake, ROLE_SOURCE, MIGRATE_URGENT,
			      session.epoch);
	for (unsigned i = 0; rc == 0 && i < session.streams; i++)
		rc = channel_open(&session.channel[i], &session.handshake, ROLE_SOURCE, i, session.epoch);
	return rc;
}

int session_channels(void)
{
	enum migrate_role peer = session.role == ROLE_SOURCE ? ROLE_DESTINATION : ROLE_SOURCE;
	int rc = channel_open(&session.send, &session.handshake, session.role, MIGRATE_CONTROL, 0);
	if (rc == 0)
		rc = channel_open(&session.receive, &session.handshake, peer, MIGRATE_CONTROL, 0);
	return rc ? rc : page_channels();
}

int session_reopen(uint64_t epoch)
{
	if (epoch <= session.epoch || epoch > UINT32_MAX)
		return -EINVAL;
	session.epoch = (uint32_t)epoch;
	return page_channels();
}

static void record_free(struct record **r)
{
	if (*r)
		rt_pages_free(*r, whole_pages(sizeof(**r)));
	*r = NULL;
}

void session_retire(void)
{
	for (unsigned i = 0; i <= LANE_URGENT; i++) {
		channel_close(&session.channel[i]);
		record_free(&session.record[i]);
	}
	channel_close(&session.send);
	channel_close(&session.receive);
	blob_free(&session.memory);
	blob_free(&session.state);
	struct source_pages *p = &session.pages;
	struct pageset *const all[] = {SOURCE_PAGESETS(p)};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		pageset_free(all[i]);
	if (p->active)
		rt_pages_free(p->active, p->maps_size);
	p->active = NULL;
	rt_wipe(&session.handshake, sizeof(session.handshake));
	rt_wipe(session.share, sizeof(session.share));
	rt_wipe(&session.state_key, sizeof(session.state_key));
	crypto_memory_free();
}

void session_close(enum session_phase phase)
{
	session_retire();
	tracking_end();
	record_free(&session.out);
	record_free(&session.in);
	session.stopping = session.prepare = session.mapped = session.broken = false;
	session.epoch = 0;
	session.role = phase == SESSION_NONE ? ROLE_NONE : session.role;
	session.phase = phase;
}

int blob_reserve(struct blob *b, size_t size)
{
	if (size > b->capacity) {
		blob_free(b);
		b->data = rt_pages_alloc(whole_pages(size));
		if (!b->data)
			return -ENOMEM;
		b->capacity = whole_pages(size);
	}
	b->size = b->done = 0;
	return 0;
}

void blob_free(struct blob *b)
{
	if (b->data)
		rt_pages_free(b->data, b->capacity);
	memset(b, 0, sizeof(*b));
}

int call_input(const struct service_call *call, void *out, size_t size)
{
	if (call->in_size != size)
		return -EINVAL;
	host_copy_in(out, call->in, size);
	return 0;
}

int call_output(struct service_call *call, const void *in, size_t size)
{
	if (call->out_size < size)
		return -ENOSPC;
	host_copy_out(call->out, in, size);
	call->out_size = size;
	return 0;
}

int call_nothing(struct service_call *call)
{
	call->ret[0] = call->out_size = 0;
	return 0;
}

int call_write(struct service_call *call, const struct record *r)
{
	int rc = record_write(r, call->out, call->out_size);
	if (rc == 0)
		call->ret[0] = call->out_size = record_size(r);
	return rc;
}

int call_send(struct service_call *call, struct channel *c, struct record *r)
{
	/* Before the counter moves: a record that nobody gets would leave a gap. */
	if (call->out_size < record_size(r))
		return -ENOSPC;
	int rc = record_seal(c, r);
	return rc ? rc : call_write(call, r);
}
