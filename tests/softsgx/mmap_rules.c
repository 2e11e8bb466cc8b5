/* SPDX-License-Identifier: Apache-2.0
 *
 * mmap, mprotect and munmap of the device: what is allowed when, and the
 * permissions a page caps.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <sys/mman.h>

#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)

static struct test_enclave t;

static int map(uint64_t offset, uint64_t size, int prot, int flags)
{
	long at = (long)softsgx_mmap((void *)(t.base + offset), size, prot, flags | MAP_FIXED, t.fd, 0);

	return at < 0 && at > -4096 ? (int)at : 0;
}

static int protect(uint64_t offset, uint64_t size, int prot)
{
	return softsgx_mprotect((void *)(t.base + offset), size, prot);
}

int main(void)
{
	struct test_options options = {.unsigned_only = 1};
	int fd = softsgx_open(SGX_DEVICE_ENCLAVE);
	void *probe = softsgx_mmap(NULL, 0x10000, PROT_NONE, MAP_SHARED, fd, 0);
	void *writable = softsgx_mmap(NULL, 0x1000, RWX, MAP_SHARED, fd, 0);

	/* Before CREATE anything goes, but not a private mapping. */
	CHECK((long)probe > 0);
	CHECK((long)writable > 0);
	CHECK_EQ((long)softsgx_mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE, fd, 0), -EINVAL);
	CHECK_EQ((long)softsgx_mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0), -EINVAL);
	CHECK_EQ(softsgx_munmap(probe, 0x10000), 0);
	CHECK_EQ(softsgx_munmap(writable, 0x1000), 0);
	CHECK_EQ(softsgx_close(fd), 0);

	test_build(&t, &options);
	CHECK_EQ(map(AT_DATA, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED), 0);
	CHECK_EQ(map(AT_DATA, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE), -EINVAL);
	CHECK_EQ(map(AT_DATA, 0x1000, RWX, MAP_SHARED), -EACCES);
	CHECK_EQ(map(AT_CODE, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED), -EACCES);
	CHECK_EQ(map(AT_READONLY, 0x1000, PROT_READ | PROT_EXEC, MAP_SHARED), -EACCES);
	CHECK_EQ(map(AT_TCS(0), 0x1000, PROT_READ | PROT_EXEC, MAP_SHARED), -EACCES);
	/* One page that forbids it is enough; no page forbids nothing. */
	CHECK_EQ(map(AT_DATA - 0x8000, 0x9000, RWX, MAP_SHARED), -EACCES);
	CHECK_EQ(map(AT_DATA + 0x8000, 0x1000, RWX, MAP_SHARED), 0);
	CHECK_EQ(protect(AT_DATA, 0x1000, RWX), -EACCES);
	CHECK_EQ(protect(AT_DATA, 0x1000, PROT_NONE), 0);
	CHECK_EQ(protect(AT_DATA, 0x1000, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(protect(AT_DATA + 0x8000, 0x1000, PROT_READ), 0);
	/* Not initialised: no page comes by being touched, and the range is not checked. */
	CHECK_EQ(map(t.size - 0x1000, 0x2000, PROT_READ, MAP_SHARED), 0);
	CHECK_EQ(protect(t.size - 0x1000, 0x2000, PROT_READ | PROT_WRITE), 0);

	CHECK_EQ(test_init(&t, &t.sig), 0);
	CHECK_EQ(protect(t.size - 0x1000, 0x2000, PROT_READ), -EACCES);
	CHECK_EQ(protect(t.size - 0x1000, 0x1000, PROT_READ), 0);
	softsgx_munmap((void *)(t.base + t.size), 0x1000);
	CHECK_EQ(map(t.size - 0x1000, 0x2000, PROT_READ, MAP_SHARED), -EACCES);
	CHECK_EQ(map(t.size, 0x1000, PROT_READ, MAP_SHARED), -EACCES);
	CHECK_EQ((long)softsgx_mmap(NULL, 0x1000, PROT_READ, MAP_SHARED, t.fd, 0), -EACCES);
	CHECK_EQ(map(AT_FREE, 0x10000, RWX, MAP_SHARED), 0);
	/* The descriptor may go; the mappings keep the enclave. */
	CHECK_EQ(softsgx_close(t.fd), 0);
	{
		struct test_args args = {0};

		test_call(&t, 0, OP_BASES, &args);
		CHECK_EQ(args.rbx, t.base + AT_GS(0));
	}
	CHECK_EQ(softsgx_munmap((void *)t.base, t.size), 0);
	return 0;
}
