/* SPDX-License-Identifier: Apache-2.0
 *
 * Instructions that are #UD in an enclave, whatever they would do outside: the
 * frame shows the instruction itself, and the bytes of one inside another
 * instruction are no matter.
 */
#include "tests/softsgx/harness.h"

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct test_enclave t;

/* Needs a breakpoint: would run otherwise. */
#define QUIET 1
static const struct instruction {
	const char *name;
	uint8_t size;
	uint8_t code[7];
	int flags;
} instructions[] = {
    {"cpuid", 2, {0x0f, 0xa2}, QUIET},
    {"syscall", 2, {0x0f, 0x05}, 0},
    {"int 0x80", 2, {0xcd, 0x80}, 0},
    {"int 0x21", 2, {0xcd, 0x21}, 0},
    {"in", 1, {0xec}, 0},
    {"out imm", 2, {0xe6, 0x80}, 0},
    {"insb", 1, {0x6c}, 0},
    {"rep outsb", 2, {0xf3, 0x6e}, 0},
    {"rdpmc", 2, {0x0f, 0x33}, 0},
    {"getsec", 2, {0x0f, 0x37}, 0},
    {"vmcall", 3, {0x0f, 0x01, 0xc1}, QUIET},
    {"vmfunc", 3, {0x0f, 0x01, 0xd4}, 0},
    {"encls", 3, {0x0f, 0x01, 0xcf}, 0},
    {"enclv", 3, {0x0f, 0x01, 0xc0}, 0},
    {"66 enclu", 4, {0x66, 0x0f, 0x01, 0xd7}, 0},
    {"sgdt", 4, {0x0f, 0x01, 0x45, 0xe0}, QUIET},
    {"sidt", 4, {0x0f, 0x01, 0x4d, 0xe0}, QUIET},
    {"smsw", 3, {0x0f, 0x01, 0xe0}, QUIET},
    {"sldt", 3, {0x0f, 0x00, 0xc0}, QUIET},
    {"str", 3, {0x0f, 0x00, 0xc8}, QUIET},
    {"mov ds, ax", 2, {0x8e, 0xd8}, QUIET},
    {"mov gs, eax", 3, {0x66, 0x8e, 0xe8}, QUIET},
    {"pop fs", 2, {0x0f, 0xa1}, QUIET},
    {"lss", 4, {0x0f, 0xb2, 0x45, 0xe0}, QUIET},
    {"iretq", 2, {0x48, 0xcf}, QUIET},
    {"far ret", 2, {0x48, 0xcb}, QUIET},
    {"far jmp", 4, {0x48, 0xff, 0x6d, 0xe0}, QUIET},
};

static int breakpoint_open(uint64_t at, int sigtrap)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_BREAKPOINT,
				       .size = sizeof(attr),
				       .bp_type = HW_BREAKPOINT_X,
				       .bp_addr = at,
				       .bp_len = sizeof(long),
				       .exclude_kernel = 1,
				       .exclude_hv = 1,
				       .sigtrap = sigtrap,
				       .remove_on_exec = sigtrap};

	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static __attribute__((noinline)) void passed_by(void)
{
	__asm__ volatile("");
}

/* The kernel allows them, and the hypervisor lets them trap: some do not. */
static int have_breakpoints(void)
{
	int fd = breakpoint_open(4096, 1), counting = breakpoint_open((uint64_t)passed_by, 0);
	uint64_t count = 0;

	passed_by();
	if (counting >= 0 && read(counting, &count, sizeof(count)) != sizeof(count))
		count = 0;
	close(counting);
	close(fd);
	return fd >= 0 && count;
}

/* An executable page whose content is code. */
static void code_page(uint64_t at, const uint8_t *code, size_t size)
{
	struct sgx_secinfo x = {.flags = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_X};
	struct test_args args = {.rbx = t.base + at, .rcx = 1, .rdx = 0x20b};

	CHECK_EQ(test_map(&t, at, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
	test_put(&t, at, code, size);
	test_put(&t, AT_DATA, &x, sizeof(x));
	CHECK_EQ(test_leaf(&t, SGX_EMODPE, t.base + AT_DATA, t.base + at, 0), SGX_EMODPE);
}

/* Some code before it, so that it is not the first instruction of the page. */
static void is_illegal(const struct instruction *i)
{
	static const uint8_t before[] = {0x55, 0x48, 0x89, 0xe5, 0x31, 0xc0, 0x90, 0x48, 0x8d, 0x4d, 0xf0,
					 0x48, 0x89, 0xc8, 0x31, 0xc0, 0x0f, 0x1f, 0x40, 0x00, 0x90};
	uint8_t code[64];
	struct test_args args = {0}, view = {.rcx = i->size};
	struct sgx_enclave_run run;
	struct sgx_gprsgx gpr;

	test_build(&t, NULL);
	memcpy(code, before, sizeof(before));
	memcpy(code + sizeof(before), i->code, i->size);
	code[sizeof(before) + i->size] = 0x5d;
	code[sizeof(before) + i->size + 1] = 0xc3;
	code_page(AT_FREE, code, sizeof(before) + i->size + 2);
	args.rbx = t.base + AT_FREE;
	view.rbx = (uint64_t)&gpr;
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(test_enter(&t, 1, OP_FETCH, &args, &run), 0);
		if (run.function != SGX_ERESUME || run.exception_vector != 6)
			fprintf(stderr, "%s, round %d: function %u vector %u\n", i->name, round, run.function,
				run.exception_vector);
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 6);
		CHECK_EQ(run.exception_error_code, 0);
		/* Resumed without a change, it faults again. */
		CHECK_EQ(test_resume(&t, 1, &run), 0);
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 6);
		test_call(&t, 1, OP_SSA, &view);
		CHECK_EQ(gpr.rip, t.base + AT_FREE + sizeof(before));
		CHECK_EQ(gpr.exitinfo, 0x80000306u);
		CHECK_EQ(test_resume(&t, 1, &run), 0);
		CHECK_EQ(run.function, SGX_EEXIT);
	}
	test_destroy(&t);
}

/* mov $0xa20f..., %eax and the like go on running. */
static void embedded(void)
{
	static const uint8_t code[] = {0xb8, 0x0f, 0xa2, 0x0f, 0xa2, 0xb9, 0x0f, 0xa2, 0x0f,
				       0xa2, 0x48, 0xb8, 0x0f, 0xa2, 0x0f, 0xa2, 0x0f, 0xa2,
				       0x0f, 0xa2, 0xb8, 0xcf, 0xcb, 0xca, 0x8e, 0xc3};
	struct test_args args = {0};

	test_build(&t, NULL);
	code_page(AT_FREE, code, sizeof(code));
	args.rbx = t.base + AT_FREE;
	for (int i = 0; i < 3; i++)
		test_call(&t, 0, OP_FETCH, &args);
	test_destroy(&t);
}

int main(void)
{
	struct test_args args = {0};
	struct sgx_enclave_run run;
	struct test_args view = {.rcx = 2};
	struct sgx_gprsgx gpr;
	int breakpoints = have_breakpoints(), quiet = 0;

	test_build(&t, NULL);
	test_faults(&t, OP_UD2, &args, 6, 0, 0);
	test_faults(&t, OP_SYSCALL, &args, 6, 0, 0);
	/* The frame shows the instruction with its registers. */
	CHECK_EQ(test_enter(&t, 1, OP_SYSCALL, &args, &run), 0);
	CHECK_EQ(run.exception_vector, 6);
	view.rbx = (uint64_t)&gpr;
	test_call(&t, 1, OP_SSA, &view);
	CHECK_EQ(gpr.rax, 39);
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
	/* and the host's own go through */
	CHECK_EQ(syscall(SYS_getpid), getpid());
	/* in code that is there from the start: every thread */
	if (breakpoints || syscall(SYS_arch_prctl, 0x1011, 0) == 0) {
		test_faults(&t, OP_CPUID, &args, 6, 0, 0);
		test_faults(&t, OP_CPUID, &args, 6, 0, 0);
	}
	test_destroy(&t);

	for (size_t i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++) {
		const struct instruction *instruction = &instructions[i];

		if (!(instruction->flags & QUIET) || breakpoints)
			is_illegal(instruction);
		else
			quiet++;
	}
	embedded();
	if (quiet) {
		printf("no breakpoints here: %d instructions that would run were not tried\n", quiet);
		return 77;
	}
	return 0;
}
