/* SPDX-License-Identifier: Apache-2.0
 *
 * EENTER, ERESUME, EEXIT and the vDSO call around them: what faults, with which
 * vector, and what the run structure says.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct test_enclave t;

static void enter_faults(uint64_t tcs, unsigned int function, unsigned int vector, unsigned int code,
			 uint64_t address)
{
	struct sgx_enclave_run run = {.tcs = tcs, .exception_vector = 0x77};

	CHECK_EQ(test_enter_raw(0, NULL, 0, function, &run), 0);
	CHECK_EQ(run.function, function);
	CHECK_EQ(run.exception_vector, vector);
	CHECK_EQ(run.exception_error_code, code);
	CHECK_EQ(run.exception_addr, address);
}

static struct test_args spin_args;

static void *spinner(void *unused)
{
	test_call(&t, 1, OP_SPIN, &spin_args);
	return NULL;
}

static int handled;
static int handler(long rdi, long rsi, long rdx, long rsp, long r8, long r9, struct sgx_enclave_run *run)
{
	uint64_t sp = (uint64_t)__builtin_frame_address(0);

	handled++;
	CHECK_EQ(sp & 15, 0);
	CHECK_EQ(run->function, handled == 1 ? SGX_ERESUME : SGX_EEXIT);
	if (handled == 1) {
		/* back in, to look at the frame and skip the instruction */
		struct test_args *args = (void *)run->user_data;
		struct sgx_enclave_run inner = {.tcs = run->tcs};

		CHECK_EQ(run->exception_vector, 6);
		args->rcx = 2;
		CHECK_EQ(test_enter_raw(OP_SSA, args, 0, SGX_EENTER, &inner), 0);
		return SGX_ERESUME;
	}
	return -77;
}

int main(void)
{
	struct test_options options = {.unsigned_only = 1};
	struct test_args args = {0};
	struct sgx_enclave_run run = {0};
	struct sgx_gprsgx gpr;
	pthread_t thread;
	uint64_t ordinary =
	    (uint64_t)mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* Not initialised. */
	test_build(&t, &options);
	enter_faults(t.base + AT_TCS(0), SGX_EENTER, 13, 0, 0);
	softsgx_close(t.fd);
	softsgx_munmap((void *)t.base, t.size);

	test_build(&t, NULL);
	/* The call's own checks. */
	run.tcs = t.base + AT_TCS(0);
	CHECK_EQ(test_enter_raw(0, NULL, 0, 1, &run), -EINVAL);
	CHECK_EQ(test_enter_raw(0, NULL, 0, 4, &run), -EINVAL);
	run.reserved[0] = 1;
	CHECK_EQ(test_enter_raw(0, NULL, 0, 2, &run), -EINVAL);
	run.reserved[0] = 0;
	run.reserved[215] = 1;
	CHECK_EQ(test_enter_raw(0, NULL, 0, 2, &run), -EINVAL);
	run.reserved[215] = 0;
	run.exception_vector = 0x55; /* EEXIT leaves it */
	CHECK_EQ(test_enter_raw(OP_NULL, &args, 0, 2, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
	CHECK_EQ(run.exception_vector, 0x55);

	/* Operands. */
	enter_faults(t.base + AT_TCS(0) + 8, SGX_EENTER, 13, 0, 0);
	enter_faults(1ull << 50, SGX_EENTER, 13, 0, 0);
	enter_faults(ordinary, SGX_EENTER, 14, 0x8007, ordinary + 0xfff);
	munmap((void *)(ordinary + 0x1000), 0x1000);
	enter_faults(ordinary + 0x1000, SGX_EENTER, 14, 0x6, ordinary + 0x1fff);
	enter_faults(t.base + AT_DATA, SGX_EENTER, 14, 0x8007, t.base + AT_DATA);
	enter_faults(t.base + AT_TCS(0), SGX_ERESUME, 13, 0, 0); /* CSSA = 0 */

	/* Busy. */
	CHECK_EQ(pthread_create(&thread, NULL, spinner, NULL), 0);
	while (!__atomic_load_n(&spin_args.rax, __ATOMIC_RELAXED))
		usleep(100);
	enter_faults(t.base + AT_TCS(1), SGX_EENTER, 13, 0, 0);
	enter_faults(t.base + AT_TCS(1), SGX_ERESUME, 13, 0, 0);
	spin_args.flag = 1;
	pthread_join(thread, NULL);
	CHECK_EQ(spin_args.rbx, 0);
	CHECK_EQ(spin_args.cssa, 0);

	/* CSSA counts up to NSSA (three frames). */
	for (uint64_t i = 0; i < 3; i++) {
		CHECK_EQ(test_enter(&t, 2, OP_UD2, &args, &run), 0);
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 6);
		CHECK_EQ(run.exception_addr, 0);
		CHECK_EQ(run.exception_error_code, 0);
		CHECK_EQ(args.cssa, i);
	}
	enter_faults(t.base + AT_TCS(2), SGX_EENTER, 13, 0, 0);
	/* ERESUME runs into the same UD2 again. */
	CHECK_EQ(test_resume(&t, 2, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, 6);

	/* Leaves that are illegal inside, or do not exist. */
	args = (struct test_args){.rax = SGX_EENTER, .rbx = t.base + AT_TCS(3)};
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rax = SGX_ERESUME;
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rax = 10;
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rax = 0xffffffff;
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rax = SGX_EDECCSSA; /* CSSA = 0 */
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	/* Only EAX counts. */
	args = (struct test_args){.rax = 0xffffffff00000000ull | SGX_EDECCSSA};
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);

	/* A user handler decides what happens next. */
	memset(&run, 0, sizeof(run));
	run.tcs = t.base + AT_TCS(3);
	run.user_handler = (uint64_t)handler;
	args = (struct test_args){.rbx = (uint64_t)&gpr};
	run.user_data = (uint64_t)&args;
	CHECK_EQ(test_enter_raw(OP_UD2, &args, 0, SGX_EENTER, &run), -77);
	CHECK_EQ(handled, 2);

	/* The SSA must be ordinary writable memory. */
	CHECK_EQ(softsgx_mprotect((void *)(t.base + AT_SSA(4, 0)), 0x1000, PROT_READ), 0);
	enter_faults(t.base + AT_TCS(4), SGX_EENTER, 14, 0x6, t.base + AT_SSA(4, 0));
	CHECK_EQ(softsgx_mprotect((void *)(t.base + AT_SSA(4, 0)), 0x1000, PROT_READ | PROT_WRITE), 0);
	test_call(&t, 4, OP_NULL, &args);
	CHECK_EQ(softsgx_munmap((void *)(t.base + AT_SSA(4, 0)), 0x1000), 0);
	enter_faults(t.base + AT_TCS(4), SGX_EENTER, 14, 0x6, t.base + AT_SSA(4, 0));
	/* The TCS must be mapped, writable. */
	CHECK_EQ(softsgx_munmap((void *)(t.base + AT_TCS(5)), 0x1000), 0);
	enter_faults(t.base + AT_TCS(5), SGX_EENTER, 14, 0x6, t.base + AT_TCS(5) + 0xfff);
	test_destroy(&t);
	return 0;
}
