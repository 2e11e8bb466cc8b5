/* SPDX-License-Identifier: Apache-2.0
 *
 * ADD_PAGES: order of checks, errno, and how far it got.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static struct test_enclave t;
static uint8_t page[0x4000] __attribute__((aligned(4096)));
static struct sgx_secinfo secinfo;
static struct sgx_enclave_add_pages add;

static void good(void)
{
	secinfo = (struct sgx_secinfo){.flags = 0x203};
	add = (struct sgx_enclave_add_pages){.src = (uint64_t)page,
					     .offset = AT_FREE,
					     .length = 0x1000,
					     .secinfo = (uint64_t)&secinfo,
					     .flags = SGX_PAGE_MEASURE,
					     .count = 0x55};
}

#define REFUSED(change, error)                                                                               \
	do {                                                                                                 \
		good();                                                                                      \
		change;                                                                                      \
		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), -(error));                    \
	} while (0)

int main(void)
{
	struct test_options options = {.unsigned_only = 1};
	struct sgx_tcs *tcs = (void *)page;
	uint8_t *hole;

	test_build(&t, &options);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_ADD_PAGES, NULL), -EFAULT);
	CHECK_EQ(softsgx_ioctl(t.fd, (unsigned long)(int)SGX_IOC_ENCLAVE_ADD_PAGES, NULL), -EFAULT);
	REFUSED(add.src += 1, EINVAL);
	REFUSED(add.offset += 8, EINVAL);
	REFUSED(add.length = 0, EINVAL);
	REFUSED(add.length = 0x800, EINVAL);
	REFUSED(add.offset = t.size, EINVAL);
	REFUSED(add.length = t.size, EINVAL);
	REFUSED(add.offset = -0x1000ull, EINVAL);
	REFUSED(add.length = -0x1000ull, EINVAL);
	REFUSED(add.secinfo = 8, EFAULT);
	REFUSED(secinfo.flags = 0x003, EINVAL); /* SECS */
	REFUSED(secinfo.flags = 0x303, EINVAL); /* VA */
	REFUSED(secinfo.flags = 0x400, EINVAL); /* TRIM */
	REFUSED(secinfo.flags = 0x202, EINVAL); /* W without R */
	REFUSED(secinfo.flags = 0x206, EINVAL);
	REFUSED(secinfo.flags = 0x101, EINVAL); /* readable TCS */
	REFUSED(secinfo.flags = 0x20b, EINVAL); /* PENDING */
	REFUSED(secinfo.flags = 0x213, EINVAL);
	REFUSED(secinfo.flags = 0x10203, EINVAL);
	REFUSED(secinfo.reserved[55] = 1, EINVAL);
	CHECK_EQ(add.count, 0x55); /* parameter errors leave it alone */
	REFUSED(add.offset = AT_DATA, EBUSY);
	CHECK_EQ(add.count, 0);
	REFUSED(add.src = 0x1000, EFAULT);
	REFUSED(add.offset = AT_DATA; add.src = 0x1000, EBUSY); /* before the source is looked at */

	/* What EADD itself refuses. */
	memset(page, 0, 4096);
	tcs->reserved[4023] = 1;
	REFUSED(secinfo.flags = SGX_SECINFO_TCS, EIO);
	memset(page, 0, 4096);
	tcs->ossa = 0x10;
	REFUSED(secinfo.flags = SGX_SECINFO_TCS, EIO);
	memset(page, 0, 4096);
	tcs->ofsbase = 8;
	REFUSED(secinfo.flags = SGX_SECINFO_TCS, EIO);
	memset(page, 0, 4096);
	tcs->ogsbase = 0x800;
	REFUSED(secinfo.flags = SGX_SECINFO_TCS, EIO);
	memset(page, 0, 4096);
	tcs->flags = 4;
	REFUSED(secinfo.flags = SGX_SECINFO_TCS, EIO);
	memset(page, 0, 4096);

	/* A range that fails in the middle keeps what came before. */
	good();
	add.offset = AT_FREE + 0x2000;
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), 0);
	CHECK_EQ(add.count, 0x1000);
	REFUSED(add.length = 0x4000, EBUSY);
	CHECK_EQ(add.count, 0x2000);
	hole = mmap(NULL, 0x3000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(hole + 0x1000, 0x1000);
	REFUSED(add.src = (uint64_t)hole; add.offset = AT_FREE + 0x10000; add.length = 0x3000, EFAULT);
	CHECK_EQ(add.count, 0x1000);
	mprotect(hole, 0x1000, PROT_NONE);
	REFUSED(add.src = (uint64_t)hole; add.offset = AT_FREE + 0x20000, EFAULT);
	/* Unknown flag bits are ignored. */
	good();
	add.offset = AT_FREE + 0x30000;
	add.flags = ~0ull;
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), 0);
	softsgx_close(t.fd);

	test_build(&t, NULL);
	REFUSED((void)0, EINVAL); /* after INIT */
	CHECK_EQ(add.count, 0x55);
	test_destroy(&t);
	return 0;
}
