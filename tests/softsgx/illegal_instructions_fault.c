/* SPDX-License-Identifier: Apache-2.0
 *
 * Instructions that are #UD in an enclave: system calls always, CPUID where the
 * processor lets it fault.
 */
#include "tests/softsgx/harness.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	struct test_enclave t;
	struct test_args args = {0};
	struct sgx_enclave_run run;
	struct test_args view = {.rcx = 2};
	struct sgx_gprsgx gpr;

	test_build(&t, NULL);
	test_faults(&t, OP_UD2, &args, 6, 0, 0);
	test_faults(&t, OP_SYSCALL, &args, 6, 0, 0);
	/* The frame shows the instruction itself, with its registers. */
	CHECK_EQ(test_enter(&t, 1, OP_SYSCALL, &args, &run), 0);
	CHECK_EQ(run.exception_vector, 6);
	view.rbx = (uint64_t)&gpr;
	test_call(&t, 1, OP_SSA, &view);
	CHECK_EQ(gpr.rax, 39);
	CHECK_EQ(gpr.exitinfo, 0x80000306u);
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
	/* and the host's own go through */
	CHECK_EQ(syscall(SYS_getpid), getpid());
	if (syscall(SYS_arch_prctl, 0x1011, 0) == 0) /* ARCH_GET_CPUID: CPUID faults */
		test_faults(&t, OP_CPUID, &args, 6, 0, 0);
	test_destroy(&t);
	return 0;
}
