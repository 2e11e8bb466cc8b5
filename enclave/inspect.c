/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at the tracker from outside, for tests: enclaves built with DEBUG
 * only, which anybody may look into anyway.
 */
#include <errno.h>
#include "enclave/attest.h"
#include "enclave/inspect.h"

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

/* What a final round would send, of pages arg[0] .. arg[0] + arg[1]. Takes the marks. */
static int inspect_dirty(struct service_call *c)
{
	struct window w = {.first = c->arg[0], .count = c->arg[1]};
	if (w.first > mm_end_page() || w.count == 0 || w.count > mm_end_page() - w.first)
		return -EINVAL;
	size_t size = (w.count + 63) / 64 * 8;
	if (c->out_size < size)
		return -ENOSPC;
	w.bitmap = rt_pages_alloc(size);
	if (!w.bitmap)
		return -ENOMEM;
	c->ret[0] = marks_take(w.first, w.count, w.bitmap);
	stop_always_dirty(add_window, &w);
	host_copy_out(c->out, w.bitmap, size);
	c->out_size = size;
	rt_pages_free(w.bitmap, size);
	return 0;
}

int inspect_service(struct service_call *c)
{
	if (!is_debug())
		return -EPERM;
	switch (c->op) {
	case SERVICE_INSPECT_STOP:
		stop_begin();
		return 0;
	case SERVICE_INSPECT_PENDING:
		c->ret[0] = stop_pending();
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
