/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at the tracker from outside, for tests: enclaves built with DEBUG
 * only, which anybody may look into anyway.
 */
#include <errno.h>
#include "enclave/attest.h"
#include "enclave/inspect.h"
#include "enclave/thread.h"

static bool is_debug(void)
{
	static const uint8_t nothing[64];
	struct sgx_report report;
	attest_report(NULL, nothing, &report);
	return report.attributes.flags & SGX_ATTR_DEBUG;
}

struct window {
	uint64_t first, count;
	uint64_t *bitmap;
};

static void add_window(void *ctx, uint64_t page, uint64_t count)
{
	struct window *w = ctx;
	for (uint64_t p = page; p < page + count; p++)
		if (p >= w->first && p < w->first + w->count)
			w->bitmap[(p - w->first) / 64] |= 1ull << ((p - w->first) % 64);
}

static bool at(const struct window *w, uint64_t page)
{
	return page >= w->first && page < w->first + w->count;
}

/* Pages that need not travel: not live, or a stack below its thread's stack pointer, down to the guard. */
static void add_irrelevant(struct window *w)
{
	for (uint64_t p = w->first, live; p < w->first + w->count; p = live + 1) {
		live = mm_next_live(p, w->first + w->count);
		add_window(w, p, live - p);
	}
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		const struct thread *t = thread_of_slot(i);
		if (t->state != THREAD_PARKED)
			continue;
		uint64_t low = context_stack_low(&t->ctx);
		for (uint64_t p = ((low - 128) >> PAGE_SHIFT) - 1; mm_state(p) & PG_MAPPED && !(mm_state(p) & PG_NOACCESS); p--)
			if (at(w, p))
				add_window(w, p, 1);
	}
}

/* out: two bitmaps of pages arg[0] .. arg[0] + arg[1]: what a final round would send (takes the marks), and what
 * it would not look at. */
static int inspect_dirty(struct service_call *c)
{
	struct window w = {.first = c->arg[0], .count = c->arg[1]};
	if (w.first > mm_end_page() || w.count == 0 || w.count > mm_end_page() - w.first)
		return -EINVAL;
	size_t size = (w.count + 63) / 64 * 8;
	if (c->out_size < 2 * size)
		return -ENOSPC;
	w.bitmap = rt_pages_alloc(size);
	if (!w.bitmap)
		return -ENOMEM;
	c->ret[0] = marks_take(w.first, w.count, w.bitmap);
	stop_always_dirty(add_window, &w);
	host_copy_out(c->out, w.bitmap, size);
	memset(w.bitmap, 0, size);
	add_irrelevant(&w);
	host_copy_out(c->out + size, w.bitmap, size);
	c->out_size = 2 * size;
	rt_pages_free(w.bitmap, size);
	return 0;
}

int inspect_service(struct service_call *c)
{
	if (!is_debug())
		return -EPERM;
	switch (c->op) {
	case SERVICE_INSPECT_STOP:
		/* the first stop begins tracking, what is seen from the second one on counts */
		tracking_begin();
		stop_begin();
		return 0;
	case SERVICE_INSPECT_PENDING:
		c->ret[0] = stop_pending();
		if (c->ret[0] == 0)
			tracking_begin();
		return 0;
	case SERVICE_INSPECT_DIRTY:
		return stop_pending() ? -EBUSY : inspect_dirty(c);
	case SERVICE_INSPECT_GO:
		stop_undo();
		return 0;
	default:
		return -ENOSYS;
	}
}
