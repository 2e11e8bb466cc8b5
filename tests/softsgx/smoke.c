/* SPDX-License-Identifier: Apache-2.0
 *
 * One enclave's life: build, enter, fault, exception entry, resume, EAUG.
 */
#include "tests/softsgx/harness.h"

#include <string.h>

static void live(const struct test_options *options)
{
	struct test_enclave t;
	struct test_args args = {0};
	struct sgx_enclave_run run;
	struct sgx_gprsgx gpr = {0};
	uint64_t page;

	test_build(&t, options);
	test_call(&t, 0, OP_NULL, &args);
	test_call(&t, 0, OP_NULL, &args);
	test_call(&t, 0, OP_BASES, &args);
	CHECK_EQ(args.rax, t.base + AT_GS(0));

	/* #UD inside, looked at by an exception entry that skips it, then resumed. */
	CHECK_EQ(test_enter(&t, 1, OP_UD2, &args, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, 6);
	args.rbx = (uint64_t)&gpr;
	args.rcx = 2;
	args.rdx = 0;
	test_call(&t, 1, OP_SSA, &args);
	CHECK_EQ(args.cssa, 1);
	CHECK_EQ(gpr.exitinfo, 0x80000306u);
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);

	page = t.base + AT_FREE;
	args =
	    (struct test_args){.rbx = page,
			       .rcx = 16,
			       .rdx = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING};
	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
	args = (struct test_args){.rbx = page + 8, .rax = 77};
	test_call(&t, 0, OP_WRITE, &args);
	args.rax = 0;
	test_call(&t, 0, OP_READ, &args);
	CHECK_EQ(args.rax, 77);
	/* A page added by the access but not accepted cannot be read. */
	args.rbx = page + 0x20010;
	test_faults(&t, OP_READ, &args, 14, 0x8005, page + 0x20000);
	test_destroy(&t);
}

int main(void)
{
	struct test_options sparse = {.base = 1, .size = 128ull << 30, .xfrm = SGX_XFRM_AVX};

	live(NULL);
	/* ELRANGE from address 0 on, as large as it gets. */
	live(&sparse);
	return 0;
}
