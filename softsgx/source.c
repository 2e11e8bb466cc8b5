/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>
#include "softsgx/pagemap.h"
#include "softsgx/sys.h"

#define ST_NOEXEC_FLAG 8

/* Of Linux 6.11. */
struct procmap_query {
	uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size, vma_offset,
	    inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)
#define PROCMAP_SHARED 8

int source_look(uint64_t address, struct source *out)
{
	char name[4096];
	struct procmap_query query = {.size = sizeof(query),
				      .query_addr = address,
				      .vma_name_size = sizeof(name),
				      .vma_name_addr = (uint64_t)name};
	struct statfs fs;
	long fd = SYS(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0), error;

	*out = (struct source){0};
	if (fd < 0)
		return 0;
	error = SYS(SYS_ioctl, fd, PROCMAP_QUERY, &query);
	SYS(SYS_close, fd);
	if (error == -ENOENT)
		return -EFAULT;
	if (error)
		return 0; /* an older kernel: treat it as ordinary memory */
	out->end = query.vma_end;
	out->anonymous = !query.inode && !(query.vma_flags & PROCMAP_SHARED);
	if (query.inode && name[0] == '/' && !SYS(SYS_statfs, name, &fs))
		out->noexec = !!(fs.f_flags & ST_NOEXEC_FLAG);
	return 0;
}

size_t source_untouched(uint64_t address, size_t size)
{
	struct page_region region;
	struct pm_scan_arg scan = {.size = sizeof(scan),
				   .start = address,
				   .end = address + size,
				   .vec = (uint64_t)&region,
				   .vec_len = 1,
				   .max_pages = 1,
				   .category_anyof_mask = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
				   .return_mask = PAGEMAP_PRESENT | PAGEMAP_SWAPPED};
	long fd = SYS(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0), found;

	if (fd < 0)
		return 0;
	found = SYS(SYS_ioctl, fd, PAGEMAP_SCAN, &scan);
	SYS(SYS_close, fd);
	if (found < 0)
		return 0;
	return found ? region.start - address : size;
}
