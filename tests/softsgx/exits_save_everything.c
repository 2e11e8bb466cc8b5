/* SPDX-License-Identifier: Apache-2.0
 *
 * What an asynchronous exit puts into the SSA: registers, vectors, EXITINFO,
 * EXINFO; what the host gets; and that resuming restores it.
 */
#include "tests/softsgx/harness.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static struct test_enclave t;
static struct sgx_gprsgx gpr;

/* Takes the fault, looks at it from an exception entry, skips so many bytes. */
static void look(enum test_op op, struct test_args *args, unsigned int vector, unsigned int skip)
{
	struct sgx_enclave_run run;
	struct test_args view = {.rbx = (uint64_t)&gpr, .rcx = skip};

	CHECK_EQ(test_enter(&t, 1, op, args, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, vector);
	test_call(&t, 1, OP_SSA, &view);
	CHECK_EQ(view.cssa, 1);
}

static sigjmp_buf away;
static greg_t signal_registers[NGREG];

static void on_trap(int signal, siginfo_t *info, void *context)
{
	memcpy(signal_registers, ((ucontext_t *)context)->uc_mcontext.gregs, sizeof(signal_registers));
	siglongjmp(away, 1);
}

/* The same of what is never told through the call. */
static void look_signalled(enum test_op op, struct test_args *args, unsigned int skip)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	struct test_args view = {.rbx = (uint64_t)&gpr, .rcx = skip};
	struct sgx_enclave_run run;

	CHECK_EQ(softsgx_sigaction(SIGTRAP, &action, NULL), 0);
	if (!sigsetjmp(away, 1)) {
		test_enter(&t, 1, op, args, &run);
		CHECK(0);
	}
	test_depth_reset();
	CHECK(!memcmp((void *)signal_registers[REG_RIP], "\x0f\x01\xd7", 3));
	CHECK_EQ(signal_registers[REG_RAX], SGX_ERESUME);
	CHECK_EQ((uint64_t)signal_registers[REG_RBX], t.base + AT_TCS(1));
	test_call(&t, 1, OP_SSA, &view);
	CHECK_EQ(view.cssa, 1);
	gpr.rip += skip; /* as it is now */
}

/* Where the bytes of an enclave's code were copied from. */
static const void *copy_of(uint64_t address)
{
	extern const uint8_t test_enclave_entry[];

	return test_enclave_entry + (address - t.base - AT_CODE);
}

/* Faults that not every machine raises: emulators leave them out. */
static void divide_x87(void)
{
	__asm__ volatile("fninit; push $0x37b; fldcw (%%rsp); pop %%rax; fld1; fldz; fdivrp; fwait; fninit" ::
			     : "rax", "memory");
}
static void divide_sse(void)
{
	__asm__ volatile("push $0x1d80; ldmxcsr (%%rsp); xorps %%xmm1, %%xmm1; mov $1, %%eax\n"
			 "cvtsi2ss %%eax, %%xmm0; divss %%xmm1, %%xmm0; pop %%rax" ::
			     : "rax", "xmm0", "xmm1", "memory");
}
static void misalign(void)
{
	__asm__ volatile(
	    "sub $16, %%rsp; pushfq; orl $0x40000, (%%rsp); popfq; mov 1(%%rsp), %%eax; add $16, %%rsp" ::
		: "rax", "memory", "cc");
}

static void back(void)
{
	struct sgx_enclave_run run;

	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
}

static void run_with(const struct test_options *options, int exinfo)
{
	struct test_args args = {0};
	struct sgx_exinfo info;
	uint8_t area[4096];
	uint64_t bv, value;
	uint32_t expected;

	test_build(&t, options);
	args.rbx = t.base + AT_READONLY + 0x123;
	look(OP_MARKED_FAULT, &args, 14, 3);
	CHECK_EQ(gpr.rax, 0xa1);
	CHECK_EQ(gpr.rcx, 0xa3);
	CHECK_EQ(gpr.rdx, 0xa4);
	CHECK_EQ(gpr.rbp, 0xa5);
	CHECK_EQ(gpr.rsi, 0xa6);
	CHECK_EQ(gpr.rbx, t.base + AT_READONLY + 0x123);
	CHECK_EQ(gpr.rdi, gpr.rbx);
	CHECK_EQ(gpr.r8, 0xa8);
	CHECK_EQ(gpr.r9, 0xa9);
	CHECK_EQ(gpr.r10, 0xaa);
	CHECK_EQ(gpr.r11, 0xab);
	CHECK_EQ(gpr.r12, 0xac);
	CHECK_EQ(gpr.r13, 0xad);
	CHECK_EQ(gpr.r14, 0xae);
	CHECK_EQ(gpr.r15, 0xaf);
	CHECK_EQ(gpr.fsbase, t.base + AT_GS(1));
	CHECK_EQ(gpr.gsbase, t.base + AT_GS(1));
	CHECK(gpr.rip - t.base - AT_CODE < 0x10000);
	CHECK(gpr.rsp - t.base - AT_TCS(1) < 0x8000);
	expected = exinfo ? 0x8000030eu : 0;
	CHECK_EQ(gpr.exitinfo, expected);
	test_get(&t, AT_SSA(1, 0), area, 4096);
	memcpy(&bv, area + 512, 8);
	CHECK(bv & 2);
	CHECK_EQ(bv & ~t.secs.attributes.xfrm, 0);
	memcpy(&value, area + 160 + 5 * 16, 8);
	CHECK_EQ(value, 0xa1);
	memcpy(&info, area + 4096 - 184 - 16, 16);
	CHECK_EQ(info.maddr, exinfo ? t.base + AT_READONLY + 0x123 : 0);
	CHECK_EQ(info.errcd, exinfo ? 0x6 : 0);
	back();

	look(OP_UD2, &args, 6, 2);
	CHECK_EQ(gpr.exitinfo, 0x80000306u);
	back();
	look(OP_DIVIDE, &args, 0, 2);
	CHECK_EQ(gpr.exitinfo, 0x80000300u);
	back();
	if (test_dies_of(divide_x87) > 0) {
		look(OP_X87, &args, 16, 1);
		CHECK_EQ(gpr.exitinfo, 0x80000310u);
		back();
	}
	if (test_dies_of(divide_sse) > 0) {
		look(OP_SSE, &args, 19, 4);
		CHECK_EQ(gpr.exitinfo, 0x80000313u);
		back();
	}
	if (test_dies_of(misalign) > 0) {
		look(OP_ALIGN, &args, 17, 4);
		CHECK_EQ(gpr.exitinfo, 0x80000311u);
		back();
	}
	/* Breakpoints are signals: the instruction in the frame, nothing of it outside. */
	look_signalled(OP_INT3, &args, 1);
	CHECK_EQ(gpr.exitinfo, 0x80000603u);
	CHECK_EQ(*(uint8_t *)copy_of(gpr.rip - 1), 0xcc); /* skipped by now */
	back();
	/* #GP */
	args = (struct test_args){.rax = 99};
	look(OP_LEAF, &args, 13, 3);
	expected = exinfo ? 0x8000030du : 0;
	CHECK_EQ(gpr.exitinfo, expected);
	test_get(&t, AT_SSA(1, 0), area, 4096);
	memcpy(&info, area + 4096 - 184 - 16, 16);
	CHECK_EQ(info.maddr, 0);
	back();
	test_destroy(&t);
}

int main(void)
{
	struct test_options options = {0};

	run_with(&options, 0);
	options.miscselect = SGX_MISC_EXINFO;
	run_with(&options, 1);
	options.xfrm = SGX_XFRM_AVX;
	run_with(&options, 1);
	return 0;
}
