/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include "host/image.h"

#define HEAP_SIZE_MIN (1ull << 20)
#define STACK_SIZE_MIN (16ull << 10)
#define SSA_FRAME_PAGES 1

/* Extends the last range or begins another. */
static int range_add(struct image_config *c, uint64_t page)
{
	if (c->range_count && c->range[c->range_count - 1].end == page) {
		c->range[c->range_count - 1].end = page + PAGE_SIZE;
		return 0;
	}
	if (c->range_count == IMAGE_RANGES_MAX)
		return -E2BIG;
	c->range[c->range_count++] = (struct image_range){page, page + PAGE_SIZE};
	return 0;
}

static int ranges_derive(const struct image *image, struct image_config *c, struct failure *why)
{
	for (unsigned i = 0; i < image->segment_count; i++) {
		const struct image_segment *s = &image->segment[i];

		if (s->start < APP_BASE || !(s->flags & SGX_SECINFO_W))
			continue;
		for (uint64_t page = page_down(s->start); page < s->end; page += PAGE_SIZE)
			if (image_page_flags(image, s, page) & SGX_SECINFO_W && range_add(c, page))
				return fail(why, -EINVAL, "more than %d writable ranges", IMAGE_RANGES_MAX);
	}
	return 0;
}

/* Globals under a page, which the compiler's marks leave out: the runtime must know where they are. */
static int small_derive(const struct image *image, struct image_config *c, struct failure *why)
{
	uint64_t start = image->note.link.small_start, end = image->note.link.small_end;

	if (start == end)
		return 0;
	for (uint32_t i = 0; i < c->range_count; i++) {
		if (start < end && start >= c->range[i].start && end <= c->range[i].end) {
			c->small = (struct image_range){page_down(start), page_up(end)};
			return 0;
		}
	}
	return fail(why, -EINVAL, "small globals [%#llx, %#llx) are not in the program's writable data",
		    (unsigned long long)start, (unsigned long long)end);
}

static int options_check(const struct image_options *o, struct failure *why)
{
	if (o->heap_size < HEAP_SIZE_MIN || o->heap_size > ELRANGE_SIZE_MAX - HEAP_BASE)
		return fail(why, -EINVAL, "heap size %llu: must be between 1M and 126G",
			    (unsigned long long)o->heap_size);
	if (o->heap_static > o->heap_size)
		return fail(why, -EINVAL, "static heap is larger than the heap");
	if (o->stack_size < STACK_SIZE_MIN || o->stack_size > o->heap_size / 2)
		return fail(why, -EINVAL, "stack size %llu: must be between 16K and half of the heap",
			    (unsigned long long)o->stack_size);
	if ((o->heap_size | o->heap_static | o->stack_size) % PAGE_SIZE)
		return fail(why, -EINVAL, "heap and stack sizes must be whole pages of 4K");
	if (o->thread_count < 1 || o->thread_count > THREAD_SLOTS_MAX - THREAD_SLOTS_SERVICE)
		return fail(why, -EINVAL, "%u threads: must be between 1 and %d", o->thread_count,
			    THREAD_SLOTS_MAX - THREAD_SLOTS_SERVICE);
	if (o->xfrm != SGX_XFRM_AVX && o->xfrm != SGX_XFRM_AVX512)
		return fail(why, -EINVAL, "unknown instruction-set level");
	if (o->flags & ~IMAGE_FLAG_PRODUCTION)
		return fail(why, -EINVAL, "unknown image flags %#x", o->flags);
	return 0;
}

static uint64_t power_of_two_at_least(uint64_t size)
{
	uint64_t power = PAGE_SIZE;

	while (power < size)
		power <<= 1;
	return power;
}

int image_derive(struct image *image, const struct image_options *options, struct failure *why)
{
	struct image_config *c = &image->config;
	int rc;

	rc = options_check(options, why);
	if (rc)
		return rc;
	*c = (struct image_config){
	    .magic = IMAGE_MAGIC,
	    .abi = ABI_VERSION, /* image_parse() takes no other */
	    .flags = options->flags,
	    .elrange_size = power_of_two_at_least(HEAP_BASE + options->heap_size),
	    .heap_base = HEAP_BASE,
	    .heap_size = options->heap_size,
	    .heap_static = options->heap_static,
	    .stack_size = options->stack_size,
	    .thread_count = options->thread_count,
	    .slot_count = options->thread_count + THREAD_SLOTS_SERVICE,
	    .xfrm = options->xfrm,
	    .entry = image->entry,
	    .phdr = image->phdr,
	    .phdr_count = image->phdr_count,
	    .tls_size = image->tls_size,
	};
	rc = ranges_derive(image, c, why);
	if (!rc)
		rc = small_derive(image, c, why);
	if (!rc)
		rc = image_pages_list(image, why);
	return rc;
}

int image_derive_signed(struct image *image, struct failure *why)
{
	const struct image_config *c = &image->note.config;
	struct image_options options = {
	    .heap_size = c->heap_size,
	    .heap_static = c->heap_static,
	    .stack_size = c->stack_size,
	    .thread_count = c->thread_count,
	    .flags = c->flags,
	    .xfrm = c->xfrm,
	};
	int rc;

	if (image->note.signed_flag != 1)
		return fail(why, -EINVAL, "the image is not signed: use optmig sign");
	rc = image_derive(image, &options, why);
	if (rc)
		return rc;
	if (memcmp(c, &image->config, sizeof(*c)))
		return fail(why, -EINVAL, "the image was changed after it was signed");
	return 0;
}

void image_secs(const struct image *image, bool debug, struct sgx_secs *secs)
{
	*secs = (struct sgx_secs){
	    .size = image->config.elrange_size,
	    .base = ELRANGE_BASE,
	    .ssa_frame_size = SSA_FRAME_PAGES,
	    .miscselect = SGX_MISC_EXINFO,
	    .attributes = {SGX_ATTR_MODE64BIT | (debug ? SGX_ATTR_DEBUG : 0), image->config.xfrm},
	};
}

void image_measure(const struct image *image, uint8_t mrenclave[static MRENCLAVE_SIZE])
{
	static const uint8_t zero_page[PAGE_SIZE];
	struct mrenclave_sum m;

	mrenclave_ecreate(&m, SSA_FRAME_PAGES, image->config.elrange_size);
	for (size_t i = 0; i < image->run_count; i++) {
		const struct image_run *run = &image->run[i];

		for (uint64_t page = 0; page < run->count; page++) {
			uint64_t offset = run->start + page * PAGE_SIZE - ELRANGE_BASE;

			mrenclave_eadd(&m, offset, run->flags);
			if (run->measured)
				mrenclave_eextend_page(
				    &m, offset, run->content ? run->content + page * PAGE_SIZE : zero_page);
		}
	}
	mrenclave_final(&m, mrenclave);
}
