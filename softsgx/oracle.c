/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages written, found by the kernel: asynchronous write protection through the
 * userfaultfd that the mapping has anyway, and PAGEMAP_SCAN to read and re-arm
 * it in one step. It shares nothing with the marks it is there to check.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include "softsgx/device.h"
#include "softsgx/mm.h"
#include "softsgx/pagemap.h"

#define REGIONS 512

/* Calls work for each part of [start, end) that the program maps of e. */
static int for_each_mapping(struct enclave *e, uint64_t start, uint64_t end,
			    int (*work)(struct enclave *, uint64_t, uint64_t, void *), void *context)
{
	struct vma vma;
	int error = 0;

	for (uint64_t at = start; !error && at < end; at = vma.end) {
		if (!mm_next(at, &vma) || vma.start >= end)
			break;
		if (vma.enclave == e)
			error = work(e, vma.start > start ? vma.start : start, vma.end < end ? vma.end : end,
				     context);
	}
	return error;
}

/* Calls work for each run of pages that have been touched. The rest of a sparse range must be left alone: the
 * kernel would count absent pages as written, and fill page tables with markers for them. */
static int for_each_run(struct enclave *e, uint64_t low, uint64_t high,
			int (*work)(struct enclave *, uint64_t, uint64_t, void *), void *context)
{
	size_t last = enclave_page(e, high - 1) + 1, i = enclave_page(e, low);
	int error = 0;

	while (!error && (i = epcm_next(&e->epcm, i, last)) < last) {
		size_t end = i;

		while (end < last && (epcm_get(&e->epcm, end) & EPCM_PRESENT))
			end++;
		if (end > i)
			error = work(e, e->base + i * SGX_PAGE_SIZE, e->base + end * SGX_PAGE_SIZE, context);
		i = end + 1;
	}
	return error;
}

static int protect_run(struct enclave *e, uint64_t low, uint64_t high, void *unused)
{
	struct uffdio_writeprotect protect = {.range = {low, high - low},
					      .mode = UFFDIO_WRITEPROTECT_MODE_WP};

	return (int)SYS(SYS_ioctl, mm_userfaultfd(e), UFFDIO_WRITEPROTECT, &protect);
}

static int protect_mapping(struct enclave *e, uint64_t low, uint64_t high, void *unused)
{
	return for_each_run(e, low, high, protect_run, NULL);
}

static int watch_writes(struct enclave *e, uint64_t low, uint64_t high, void *unused)
{
	return mm_watch_writes(e, low, high);
}

int softsgx_oracle_start(int fd, void *addr, size_t size)
{
	struct enclave *e = device_enclave(fd);
	uint64_t start = (uint64_t)addr, mask;
	int error;

	if (!e || !e->created)
		return -EBADF;
	mask = signals_off();
	lock_take(&e->lock);
	/* All of it, so that pages need not be told apart when they are installed. */
	error = for_each_mapping(e, e->base, e->base + e->size, watch_writes, NULL);
	if (!error)
		error = for_each_mapping(e, start, start + size, protect_mapping, NULL);
	lock_drop(&e->lock);
	signals_restore(mask);
	return error == -EINVAL ? -ENOSYS : error;
}

struct collection {
	uint64_t base;
	uint8_t *bitmap;
	int pagemap;
};

static int collect_run(struct enclave *e, uint64_t low, uint64_t high, void *context)
{
	struct collection *c = context;
	struct page_region regions[REGIONS];
	struct pm_scan_arg scan = {.size = sizeof(scan),
				   .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
				   .start = low,
				   .end = high,
				   .vec = (uint64_t)regions,
				   .vec_len = REGIONS,
				   .category_mask = PAGEMAP_WRITTEN,
				   .return_mask = PAGEMAP_WRITTEN};

	while (scan.start < high) {
		long found = SYS(SYS_ioctl, c->pagemap, PAGEMAP_SCAN, &scan);

		if (found < 0)
			return (int)found;
		for (long i = 0; i < found; i++)
			for (uint64_t at = regions[i].start; at < regions[i].end; at += SGX_PAGE_SIZE) {
				uint64_t index = (at - c->base) / SGX_PAGE_SIZE;

				c->bitmap[index / 8] |= (uint8_t)(1u << (index & 7));
			}
		scan.start = scan.walk_end;
	}
	return 0;
}

static int collect_mapping(struct enclave *e, uint64_t low, uint64_t high, void *context)
{
	return for_each_run(e, low, high, collect_run, context);
}

int softsgx_oracle_collect(int fd, void *addr, size_t size, uint8_t *bitmap)
{
	struct enclave *e = device_enclave(fd);
	struct collection c = {.base = (uint64_t)addr, .bitmap = bitmap};
	uint64_t mask;
	int error;

	if (!e || !e->created)
		return -EBADF;
	memset(bitmap, 0, (size / SGX_PAGE_SIZE + 7) / 8);
	mask = signals_off();
	c.pagemap = (int)SYS(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	if (c.pagemap < 0) {
		signals_restore(mask);
		return c.pagemap;
	}
	error = for_each_mapping(e, c.base, c.base + size, collect_mapping, &c);
	SYS(SYS_close, c.pagemap);
	signals_restore(mask);
	return error == -ENOTTY ? -ENOSYS : error;
}
