/* SPDX-License-Identifier: Apache-2.0
 *
 * An SSA frame that the enclave has spoiled: ERESUME faults, the program lives,
 * and a mended frame can still be resumed.
 */
#include "tests/softsgx/harness.h"

#include <stddef.h>
#include <string.h>

static struct test_enclave t;

static void spoil(uint64_t offset, uint64_t value)
{
	struct sgx_enclave_run run;
	uint64_t was;

	test_get(&t, AT_SSA(1, 0) + offset, &was, 8);
	test_put(&t, AT_SSA(1, 0) + offset, &value, 8);
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	if (run.exception_vector != 13)
		fprintf(stderr, "offset %llu\n", (unsigned long long)offset);
	CHECK_EQ(run.exception_vector, 13);
	test_put(&t, AT_SSA(1, 0) + offset, &was, 8);
}

int main(void)
{
	const uint64_t gpr = 4096 - sizeof(struct sgx_gprsgx);
	struct test_args args = {0}, view = {.rcx = 2};
	struct sgx_enclave_run run;
	struct sgx_gprsgx seen;

	test_build(&t, NULL);
	CHECK_EQ(test_enter(&t, 1, OP_UD2, &args, &run), 0);
	CHECK_EQ(run.exception_vector, 6);
	spoil(512, 1ull << 2); /* a component outside XFRM */
	spoil(512, 1ull << 63);
	spoil(520, 1ull << 63); /* compacted */
	spoil(528, 1);		/* reserved */
	spoil(568, 1);
	spoil(24, 1ull << 20); /* MXCSR */
	spoil(gpr + offsetof(struct sgx_gprsgx, rip), 1ull << 50);
	spoil(gpr + offsetof(struct sgx_gprsgx, fsbase), 1ull << 50);
	spoil(gpr + offsetof(struct sgx_gprsgx, gsbase), 1ull << 50);
	view.rbx = (uint64_t)&seen;
	test_call(&t, 1, OP_SSA, &view);
	CHECK_EQ(view.cssa, 1);
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);

	/* Flags an enclave may not set are not set. */
	CHECK_EQ(test_enter(&t, 2, OP_UD2, &args, &run), 0);
	{
		uint64_t flags = ~(0x100ull | 0x400 | 0x40000); /* TF; DF and AC stay on outside */

		test_put(&t, AT_SSA(2, 0) + gpr + offsetof(struct sgx_gprsgx, rflags), &flags, 8);
	}
	CHECK_EQ(test_resume(&t, 2, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, 6);
	test_destroy(&t);
	return 0;
}
