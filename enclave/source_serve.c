/* SPDX-License-Identifier: Apache-2.0
 *
 * After the hand-over: the pages that stayed behind. Nothing runs here any more,
 * so what they say does not change; that the destination takes each of them at
 * most once is its own affair. Which page comes first is the hosts' wish.
 */
#include <errno.h>
#include "enclave/session.h"

/* With a page that is waited for go those behind it, up to so many: programs read on. */
#define FETCH_PAGES 8

int source_serve(struct service_call *call)
{
	int rc = call->arg[0] ? session_reopen(call->arg[0]) : 0;
	if (rc)
		return rc;
	source_pages_left();
	memset(session.cursor, 0, sizeof(session.cursor));
	for (unsigned i = 0; i < session.streams; i++)
		session.hot_first[i] = true;
	call->ret[0] = source_left();
	return 0;
}

int source_fetch(struct service_call *call)
{
	uint64_t page = call->arg[1], counts[2] = {0, 0};
	if (page < PAGESET_FIRST || page >= mm_end_page())
		return -EINVAL;
	if (call->out_size < RECORD_SIZE_MAX)
		return -ENOSPC;
	uint64_t block = page / 64, wanted = 1ull << (page % 64);
	if (!(source_stays(block) & wanted))
		return call_nothing(call);
	int rc = record_may_seal(&session.channel[LANE_URGENT]);
	if (rc)
		return rc;
	struct record *r = session.record[LANE_URGENT];
	record_start(r, RECORD_PAGES);
	/* It may be on its way over a stream already, behind much else: then it goes twice. */
	__atomic_fetch_or(pageset_block(&session.pages.pending, block), wanted, __ATOMIC_RELAXED);
	source_take_block(r, block, (wanted << FETCH_PAGES) - wanted, counts);
	call->ret[1] = counts[0];
	call->ret[2] = counts[1];
	return r->header.run_count ? call_send(call, &session.channel[LANE_URGENT], r) : call_nothing(call);
}

int source_release(struct service_call *call)
{
	struct record *r = session.in;
	int rc = record_read(r, call->in, call->in_size);
	if (rc == 0)
		rc = record_open(&session.receive, r);
	if (rc == 0 && (r->header.type != RECORD_ARRIVED || r->header.run_count || r->header.body_size))
		rc = -EBADMSG;
	if (rc == 0)
		session_close(SESSION_OVER);
	return rc;
}
