/* SPDX-License-Identifier: Apache-2.0
 *
 * AEX-Notify: an enclave that asked for it is entered, not resumed, and drops
 * the frame itself with EDECCSSA.
 */
#include "tests/softsgx/harness.h"

#include <string.h>

#define AT_NOTIFY (AT_SSA(1, 0) + 4096 - sizeof(struct sgx_gprsgx) + 167)

static void cannot_be_entered(const struct test_options *options)
{
	struct sgx_enclave_run run;
	struct test_enclave t;

	test_build(&t, options);
	CHECK_EQ(test_enter(&t, 1, OP_NULL, NULL, &run), 0);
	CHECK_EQ(run.function, SGX_EENTER);
	CHECK_EQ(run.exception_vector, 13);
	test_destroy(&t);
}

int main(void)
{
	struct test_options options = {.attributes = SGX_ATTR_AEXNOTIFY, .tcs_flags = SGX_TCS_AEXNOTIFY};
	struct test_enclave t;
	struct test_args args = {0};
	struct sgx_enclave_run run;
	const uint8_t yes = 1;

	test_build(&t, &options);
	CHECK_EQ(test_enter(&t, 1, OP_UD2, &args, &run), 0);
	CHECK_EQ(run.exception_vector, 6);
	/* Not asked: resumed, into the same fault. */
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	/* Asked: entered (with the null operation, as the harness resumes), the frame stays. */
	test_put(&t, AT_NOTIFY, &yes, 1);
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
	args.rax = SGX_EDECCSSA;
	test_call(&t, 1, OP_LEAF, &args);
	CHECK_EQ(args.cssa, 1);
	test_call(&t, 1, OP_NULL, &args);
	CHECK_EQ(args.cssa, 0);
	test_destroy(&t);

	/* Enclave and thread must agree, to be entered at all. */
	options.attributes = 0;
	cannot_be_entered(&options);
	options = (struct test_options){.attributes = SGX_ATTR_AEXNOTIFY};
	cannot_be_entered(&options);
	return 0;
}
