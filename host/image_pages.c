/* SPDX-License-Identifier: Apache-2.0
 *
 * The enclave's pages, ascending by address (abi/layout.h has the map). What the
 * runtime or the program reads before it writes must be measured: an unmeasured
 * page holds what the host chose. That leaves only stacks and the static heap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "host/image.h"

#define FLAGS_R (SGX_SECINFO_REG | SGX_SECINFO_R)
#define FLAGS_RW (SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W)

/* One byte of a map (marks, page states) stands for a page, so one page of it for 16 MiB. */
#define MAP_PAGE_SPAN ((uint64_t)PAGE_SIZE * PAGE_SIZE)

/* Where contents are copied to: allocated once, before the first run points into it. */
struct cursor {
	struct image *image;
	size_t used;
};

static int run_add(struct image *image, struct image_run run)
{
	if (!run.count)
		return 0;
	if (image->run_count) {
		struct image_run *last = &image->run[image->run_count - 1];
		uint64_t last_size = last->count * PAGE_SIZE;

		if (last->start + last_size == run.start && last->flags == run.flags &&
		    last->measured == run.measured &&
		    (last->content ? last->content + last_size : NULL) == run.content) {
			last->count += run.count;
			return 0;
		}
	}
	if (image->run_count == image->run_capacity) {
		size_t capacity = image->run_capacity ? image->run_capacity * 2 : 64;
		struct image_run *grown = reallocarray(image->run, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		image->run = grown;
		image->run_capacity = capacity;
	}
	image->run[image->run_count++] = run;
	return 0;
}

static int zero_add(struct image *image, uint64_t start, uint64_t count, uint64_t flags, bool measured)
{
	return run_add(image, (struct image_run){start, count, flags, NULL, measured});
}

/* Takes count pages of the buffer (zero, as allocated). */
static uint8_t *cursor_take(struct cursor *c, uint64_t count)
{
	uint8_t *pages = c->image->page_buffer + c->used;

	c->used += count * PAGE_SIZE;
	return pages;
}

static uint64_t segment_file_pages(const struct image_segment *s)
{
	if (!s->file_size)
		return 0;
	return (page_up(s->start + s->file_size) - page_down(s->start)) / PAGE_SIZE;
}

static int config_add(struct cursor *c)
{
	uint8_t *page = cursor_take(c, 1);

	_Static_assert(sizeof(c->image->config) <= PAGE_SIZE, "the configuration is one page");
	memcpy(page, &c->image->config, sizeof(c->image->config));
	return run_add(c->image, (struct image_run){CONFIG_BASE, 1, FLAGS_R, page, true});
}

static int segment_add(struct cursor *c, const struct image_segment *s)
{
	uint64_t base = page_down(s->start), file_pages = segment_file_pages(s);
	uint8_t *content = cursor_take(c, file_pages);
	int rc = 0;

	if (file_pages)
		memcpy(content + (s->start - base), c->image->file + s->file_offset, s->file_size);
	for (uint64_t i = 0; !rc && base + i * PAGE_SIZE < s->end; i++) {
		uint64_t page = base + i * PAGE_SIZE;

		rc = run_add(c->image, (struct image_run){
					   .start = page,
					   .count = 1,
					   .flags = SGX_SECINFO_REG | image_page_flags(c->image, s, page),
					   .content = i < file_pages ? content + i * PAGE_SIZE : NULL,
					   .measured = true,
				       });
	}
	return rc;
}

static int segments_add(struct cursor *c, uint64_t low, uint64_t high)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < c->image->segment_count; i++)
		if (c->image->segment[i].start >= low && c->image->segment[i].start < high)
			rc = segment_add(c, &c->image->segment[i]);
	return rc;
}

static int slot_add(struct cursor *c, unsigned slot)
{
	uint64_t base = THREADS_BASE + (uint64_t)slot * THREAD_STRIDE;
	uint8_t *page = cursor_take(c, 1);
	struct sgx_tcs *tcs = (struct sgx_tcs *)page;
	int rc;

	*tcs = (struct sgx_tcs){
	    .ossa = base + THREAD_SSA,
	    .nssa = THREAD_SSA_FRAMES,
	    .oentry = RUNTIME_BASE,
	    .ofsbase = base + THREAD_RECORD,
	    .ogsbase = base + THREAD_RECORD,
	    .fslimit = 0xfff,
	    .gslimit = 0xfff,
	};
	rc = run_add(c->image, (struct image_run){base + THREAD_TCS, 1, SGX_SECINFO_TCS, page, true});
	if (!rc)
		rc = zero_add(c->image, base + THREAD_SSA, THREAD_SSA_FRAMES, FLAGS_RW, true);
	if (!rc)
		rc = zero_add(c->image, base + THREAD_RECORD, 1, FLAGS_RW, true);
	if (!rc)
		rc = zero_add(c->image, base + THREAD_FAULT_STACK,
			      (THREAD_FAULT_STACK_END - THREAD_FAULT_STACK) / PAGE_SIZE, FLAGS_RW, false);
	if (!rc)
		rc = zero_add(c->image, base + THREAD_STACK, (THREAD_STACK_END - THREAD_STACK) / PAGE_SIZE,
			      FLAGS_RW, false);
	return rc;
}

/* The map's pages that hold the bytes of [start, end). */
static int map_add(struct image *image, uint64_t map, uint64_t start, uint64_t end)
{
	uint64_t first = start / MAP_PAGE_SPAN, last = (end + MAP_PAGE_SPAN - 1) / MAP_PAGE_SPAN;

	if (start == end)
		return 0;
	return zero_add(image, map + first * PAGE_SIZE, last - first, FLAGS_RW, true);
}

static int maps_add(struct image *image, uint64_t map)
{
	uint64_t image_end = image->segment[image->segment_count - 1].end;
	int rc;

	rc = map_add(image, map, APP_BASE, image_end);
	if (!rc)
		rc = map_add(image, map, HEAP_BASE, HEAP_BASE + image->config.heap_static);
	return rc;
}

static int list(struct cursor *c)
{
	struct image *image = c->image;
	int rc;

	rc = config_add(c);
	if (!rc)
		rc = segments_add(c, RUNTIME_BASE, RUNTIME_END);
	for (unsigned slot = 0; !rc && slot < image->config.slot_count; slot++)
		rc = slot_add(c, slot);
	if (!rc)
		rc = zero_add(image, STOP_WORD, 1, FLAGS_RW, true);
	if (!rc)
		rc = maps_add(image, MARKS_BASE);
	if (!rc)
		rc = maps_add(image, PAGESTATE_BASE);
	if (!rc)
		rc = segments_add(c, APP_BASE, APP_END);
	if (!rc)
		rc = zero_add(image, HEAP_BASE, image->config.heap_static / PAGE_SIZE, FLAGS_RW, false);
	return rc;
}

int image_pages_list(struct image *image, struct failure *why)
{
	struct cursor c = {image, 0};
	uint64_t count = 1 + image->config.slot_count; /* configuration, TCSs */

	for (unsigned i = 0; i < image->segment_count; i++)
		count += segment_file_pages(&image->segment[i]);
	free(image->page_buffer);
	image->run_count = 0;
	image->page_buffer_size = count * PAGE_SIZE;
	image->page_buffer = aligned_alloc(PAGE_SIZE, image->page_buffer_size);
	if (!image->page_buffer)
		return fail(why, -ENOMEM, "out of memory");
	memset(image->page_buffer, 0, image->page_buffer_size);
	if (list(&c))
		return fail(why, -ENOMEM, "out of memory");
	return 0;
}
