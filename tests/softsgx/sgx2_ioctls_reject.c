/* SPDX-License-Identifier: Apache-2.0
 *
 * RESTRICT_PERMISSIONS, MODIFY_TYPES, REMOVE_PAGES: parameters, page states,
 * results and counts.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PENDING_RW 0x20bull
static struct test_enclave t;
static struct sgx_enclave_restrict_permissions restrict_;
static struct sgx_enclave_modify_types modify;
static struct sgx_enclave_remove_pages remove_;

static void good(void)
{
	restrict_ =
	    (struct sgx_enclave_restrict_permissions){.offset = AT_DATA, .length = 4096, .permissions = 1};
	modify =
	    (struct sgx_enclave_modify_types){.offset = AT_DATA, .length = 4096, .page_type = SGX_PT_TRIM};
	remove_ = (struct sgx_enclave_remove_pages){.offset = AT_DATA, .length = 4096};
}

#define RESTRICT() softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &restrict_)
#define MODIFY() softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, &modify)
#define REMOVE() softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, &remove_)
#define REFUSED(call, change, error)                                                                         \
	do {                                                                                                 \
		good();                                                                                      \
		change;                                                                                      \
		CHECK_EQ(call(), -(error));                                                                  \
	} while (0)

/* Makes pages exist by touching them from outside: pending, not accepted. */
static void touch(uint64_t offset)
{
	struct test_args args = {.rbx = t.base + offset};

	test_faults(&t, OP_READ, &args, 14, 0x8005, t.base + offset);
}

static void accept(uint64_t offset, uint64_t flags)
{
	struct test_args args = {.rbx = t.base + offset, .rcx = 1, .rdx = flags};

	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
}

int main(void)
{
	struct test_options options = {.unsigned_only = 1};

	test_build(&t, &options);
	REFUSED(RESTRICT, (void)0, EINVAL); /* not initialised */
	REFUSED(MODIFY, (void)0, EINVAL);
	REFUSED(REMOVE, (void)0, EINVAL);
	softsgx_close(t.fd);

	test_build(&t, NULL);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, (void *)8), -EFAULT);
	REFUSED(RESTRICT, restrict_.offset = 1, EINVAL);
	REFUSED(RESTRICT, restrict_.length = 0, EINVAL);
	REFUSED(RESTRICT, restrict_.offset = t.size, EINVAL);
	REFUSED(RESTRICT, restrict_.permissions = 8, EINVAL);
	REFUSED(RESTRICT, restrict_.permissions = 2, EINVAL);
	REFUSED(RESTRICT, restrict_.permissions = 6, EINVAL);
	REFUSED(RESTRICT, restrict_.result = 1, EINVAL);
	REFUSED(RESTRICT, restrict_.count = 1, EINVAL);
	REFUSED(RESTRICT, restrict_.offset = AT_FREE, EFAULT); /* absent */
	REFUSED(RESTRICT, restrict_.offset = AT_TCS(0), EINVAL);
	touch(AT_FREE);
	REFUSED(RESTRICT, restrict_.offset = AT_FREE, EFAULT);
	CHECK_EQ(restrict_.result, SGX_PAGE_NOT_MODIFIABLE);
	CHECK_EQ(restrict_.count, 0);
	/* data 0 and 1 are fine, the rest of the range is not there */
	REFUSED(RESTRICT, restrict_.offset = AT_DATA + 0x2000; restrict_.length = 0x3000, EFAULT);
	CHECK_EQ(restrict_.count, 0x2000);
	CHECK_EQ(restrict_.result, 0);

	REFUSED(MODIFY, modify.page_type = 0x100 | SGX_PT_TRIM, EINVAL);
	REFUSED(MODIFY, modify.page_type = SGX_PT_REG, EINVAL);
	REFUSED(MODIFY, modify.page_type = SGX_PT_SECS, EINVAL);
	REFUSED(MODIFY, modify.result = 1, EINVAL);
	REFUSED(MODIFY, modify.count = 1, EINVAL);
	REFUSED(MODIFY, modify.offset = AT_FREE + 0x1000, EFAULT);
	REFUSED(MODIFY, modify.offset = AT_TCS(0); modify.page_type = SGX_PT_TCS, EINVAL);
	REFUSED(MODIFY, modify.offset = AT_READONLY; modify.page_type = SGX_PT_TCS, EPERM);
	REFUSED(MODIFY, modify.offset = AT_CODE; modify.page_type = SGX_PT_TCS, EPERM);
	REFUSED(MODIFY, modify.offset = AT_FREE, EFAULT);
	CHECK_EQ(modify.result, SGX_PAGE_NOT_MODIFIABLE);

	REFUSED(REMOVE, remove_.count = 1, EINVAL);
	REFUSED(REMOVE, remove_.length = 1, EINVAL);
	REFUSED(REMOVE, remove_.offset = AT_FREE + 0x1000, EFAULT);
	REFUSED(REMOVE, (void)0, EPERM); /* not trimmed */
	good();
	modify.length = 0x2000;
	CHECK_EQ(MODIFY(), 0);
	CHECK_EQ(modify.count, 0x2000);
	CHECK_EQ(modify.result, 0);
	REFUSED(REMOVE, (void)0, EPERM);  /* trimmed, not accepted */
	REFUSED(MODIFY, (void)0, EINVAL); /* TRIM is not REG */
	REFUSED(RESTRICT, (void)0, EINVAL);
	accept(AT_DATA, SGX_SECINFO_TRIM | SGX_SECINFO_MODIFIED);
	REFUSED(REMOVE, remove_.length = 0x2000, EPERM);
	CHECK_EQ(remove_.count, 0x1000);
	REFUSED(REMOVE, (void)0, EFAULT); /* gone */

	/* Gone, so it can come again, zeroed and writable. */
	accept(AT_DATA, PENDING_RW);
	test_destroy(&t);
	return 0;
}
