/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
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

/* A line of /proc/self/maps: what PROCMAP_QUERY would say of it. Its name is at *name. */
static void parse_line(const char *line, struct procmap_query *query, const char **name)
{
	uint64_t value[2] = {0, 0};
	const char *at = line;

	for (int i = 0; i < 2; i++, at++)
		for (; *at && *at != '-' && *at != ' '; at++)
			value[i] = value[i] << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	query->vma_start = value[0];
	query->vma_end = value[1];
	query->vma_flags = at[3] == 's' ? PROCMAP_SHARED : 0;
	/* rights, offset, device, inode, name */
	for (int field = 0; field < 3; field++, at++)
		while (*at && *at != ' ')
			at++;
	query->inode = *at != '0';
	while (*at && *at != ' ')
		at++;
	while (*at == ' ')
		at++;
	*name = at;
}

/* The same from the text of /proc/self/maps, for kernels before 6.11. */
static long query_by_text(long fd, struct procmap_query *query)
{
	char buffer[8192];
	size_t have = 0;
	long got;

	while ((got = SYS(SYS_read, fd, buffer + have, sizeof(buffer) - 1 - have)) > 0) {
		char *line = buffer, *end;

		have += (size_t)got;
		buffer[have] = 0;
		for (; (end = strchr(line, '\n')); line = end + 1) {
			const char *name;
			size_t length;

			*end = 0;
			parse_line(line, query, &name);
			if (query->query_addr < query->vma_start)
				return -ENOENT;
			if (query->query_addr >= query->vma_end)
				continue;
			length = strlen(name) + 1;
			if (length <= query->vma_name_size)
				memcpy((void *)query->vma_name_addr, name, length);
			return 0;
		}
		have = strlen(line);
		memmove(buffer, line, have);
	}
	return got < 0 ? got : -ENOENT;
}

int source_look(uint64_t address, struct source *out)
{
	char name[4096] = "";
	struct procmap_query query = {.size = sizeof(query),
				      .query_addr = address,
				      .vma_name_size = sizeof(name),
				      .vma_name_addr = (uint64_t)name};
	struct statfs fs;
	long fd = SYS(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0), error;

	*out = (struct source){0};
	if (fd < 0)
		return 0; /* unknown: treat it as ordinary memory */
	error = SYS(SYS_ioctl, fd, PROCMAP_QUERY, &query);
	if (error == -ENOTTY)
		error = query_by_text(fd, &query);
	SYS(SYS_close, fd);
	if (error == -ENOENT)
		return -EFAULT;
	if (error)
		return 0;
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
