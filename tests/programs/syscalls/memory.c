/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory: the allocator, mappings of nothing and of files, and mappings that move.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_malloc(void)
{
	enum { COUNT = 500 };
	unsigned char *block[COUNT];

	for (int i = 0; i < COUNT; i++) {
		CHECK(block[i] = malloc((size_t)i * 37 + 1));
		memset(block[i], i, (size_t)i * 37 + 1);
	}
	for (int i = 0; i < COUNT; i += 2)
		free(block[i]);
	for (int i = 1; i < COUNT; i += 2) {
		CHECK(block[i] = realloc(block[i], (size_t)i * 100));
		for (size_t k = 0; k < (size_t)i * 37 + 1; k++)
			CHECK(block[i][k] == (unsigned char)i);
		free(block[i]);
	}
	void *big = calloc(1, 64 << 20);
	CHECK(big && ((char *)big)[(64 << 20) - 1] == 0);
	free(big);
	void *aligned;
	CHECK(!posix_memalign(&aligned, 65536, 100) && (uintptr_t)aligned % 65536 == 0);
	free(aligned);
}

static void check_mmap(void)
{
	char *p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 16 * 4096; i++)
		CHECK(p[i] == 0);
	memset(p, 7, 16 * 4096);
	CHECK(!munmap(p + 4 * 4096, 4 * 4096)); /* a hole in the middle */
	CHECK(p[4 * 4096 - 1] == 7 && p[8 * 4096] == 7);
	char *q = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(q != MAP_FAILED && q[0] == 0 && q[4 * 4096 - 1] == 0);
	CHECK(!mprotect(q, 4096, PROT_READ));
	CHECK(!mprotect(q, 4096, PROT_READ | PROT_WRITE));
	q[0] = 1;
	CHECK(!madvise(q, 4096, MADV_DONTNEED));
	CHECK(!munmap(p, 4 * 4096) && !munmap(p + 8 * 4096, 8 * 4096) && !munmap(q, 4 * 4096));
}

static void check_brk(void)
{
	/* musl has no sbrk() that grows; a C library that has one must give memory */
	void *before = sbrk(0);

	CHECK(before != (void *)-1);
}

static void check_mmap_file(void)
{
	char path[256];
	path_of("mmap", path);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, "mapped text", 11) == 11);
	unlink(path);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && !memcmp(p, "mapped text", 11) && p[11] == 0);
	p[0] = 'M'; /* private: the file keeps its own */
	char c;
	CHECK(pread(fd, &c, 1, 0) == 1 && c == 'm');
	CHECK(!munmap(p, 4096) && !close(fd));
}

static void check_remapping(void)
{
	size_t page = 4096;
	char *p = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q;

	CHECK(p != MAP_FAILED && strcpy(p, "first") && strcpy(p + 2 * page, "third"));
	CHECK(mremap(p, 3 * page, SIZE_MAX - page, MREMAP_MAYMOVE) == MAP_FAILED && !strcmp(p, "first"));
	CHECK(!munmap(p + page, page));
	CHECK(mremap(p + page, page, 2 * page, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	CHECK(mmap(p + page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p + page && p[page] == 0);
	CHECK(write(1, p + (1ul << 40), 1) == -1 && errno == EFAULT);
	q = mremap(p, 3 * page, 300 * page, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && !strcmp(q, "first") && !strcmp(q + 2 * page, "third") && q[299 * page] == 0);
	CHECK(!madvise(q, 3 * page, MADV_DONTNEED) && q[0] == 0 && q[2 * page] == 0 && !munmap(q, 300 * page));
}

const struct check checks_of_memory[] = {
	{"malloc", check_malloc},
	{"mmap", check_mmap},
	{"brk", check_brk},
	{"mmap_file", check_mmap_file},
	{"remapping", check_remapping},
	{0},
};
