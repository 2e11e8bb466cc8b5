/* SPDX-License-Identifier: Apache-2.0
 *
 * CREATE: each reason to refuse, its errno, and that a refusal can be retried.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>

static struct sgx_secs secs __attribute__((aligned(4096)));
static uint8_t page[4096] __attribute__((aligned(4096)));
static struct sgx_secinfo secinfo = {.flags = SGX_SECINFO_TCS};
static int fd;

static void good(void)
{
	secs = (struct sgx_secs){.size = 0x10000,
				 .base = 0x7000000000,
				 .ssa_frame_size = 1,
				 .attributes = {SGX_ATTR_MODE64BIT, SGX_XFRM_LEGACY}};
}

static int create(void)
{
	struct sgx_enclave_create argument = {.src = (uint64_t)&secs};

	return softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &argument);
}

#define REFUSED(change, error)                                                                               \
	do {                                                                                                 \
		good();                                                                                      \
		change;                                                                                      \
		CHECK_EQ(create(), -(error));                                                                \
	} while (0)

int main(void)
{
	struct sgx_enclave_create nowhere = {.src = 8};
	struct sgx_enclave_add_pages add = {.length = 4096};
	struct sgx_enclave_init init = {0};

	fd = softsgx_open(SGX_DEVICE_ENCLAVE);
	CHECK(fd >= 0);
	CHECK_EQ(softsgx_ioctl(fd, 0x5401, NULL), -ENOTTY);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, NULL), -EFAULT);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, &nowhere), -EFAULT);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), -EINVAL);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_INIT, &init), -EINVAL);
	REFUSED(secs.size = 0x3000, EINVAL);
	REFUSED(secs.size = 0, EINVAL);
	REFUSED(secs.size = 0x1000, EIO);
	REFUSED(secs.size = 1ull << 60, EIO);
	REFUSED(secs.base += 0x1000, EIO);
	REFUSED(secs.base = 1ull << 47, EIO);
	REFUSED(secs.base = 1ull << 52, EIO);
	REFUSED(secs.ssa_frame_size = 0, EIO);
	REFUSED(secs.attributes.flags = 0, EIO); /* above 4 GB */
	REFUSED(secs.attributes.flags = 0; secs.base = 0; secs.size = 1ull << 32, EIO);
	REFUSED(secs.attributes.flags |= SGX_ATTR_INIT, EIO);
	REFUSED(secs.attributes.flags |= 1ull << 3, EIO);
	REFUSED(secs.attributes.flags |= 1ull << 40, EIO);
	REFUSED(secs.attributes.flags |= SGX_ATTR_CET, EIO);
	REFUSED(secs.attributes.xfrm = 1, EIO);
	REFUSED(secs.attributes.xfrm = 2, EIO);
	REFUSED(secs.attributes.xfrm = 0x23, EIO);
	REFUSED(secs.attributes.xfrm = 0xe3, EIO);
	REFUSED(secs.attributes.xfrm = 1ull << 62 | 3, EIO);
	REFUSED(secs.miscselect = 1u << 31, EIO);
	REFUSED(secs.configid[5] = 1, EIO);
	REFUSED(secs.config_svn = 1, EIO);
	REFUSED(secs.reserved1[14] = 1, EIO);
	REFUSED(secs.reserved2[0] = 1, EIO);
	REFUSED(secs.reserved3[31] = 1, EIO);
	REFUSED(secs.reserved4[3833] = 1, EIO);
	good();
	secs.attributes.flags |= SGX_ATTR_KSS;
	secs.configid[5] = 1;
	secs.config_svn = 1;
	CHECK_EQ(create(), 0);
	CHECK_EQ(create(), -EINVAL);
	CHECK_EQ(softsgx_close(fd), 0);

	/* One for 32-bit programs can be made; its segments have limits. */
	fd = softsgx_open(SGX_DEVICE_ENCLAVE);
	good();
	secs.attributes.flags = 0;
	secs.base = 0x10000000;
	CHECK_EQ(create(), 0);
	add = (struct sgx_enclave_add_pages){
	    .src = (uint64_t)page, .length = 4096, .secinfo = (uint64_t)&secinfo};
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), -EIO);
	((struct sgx_tcs *)page)->fslimit = ((struct sgx_tcs *)page)->gslimit = 0xfff;
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add), 0);
	CHECK_EQ(softsgx_close(fd), 0);
	return 0;
}
