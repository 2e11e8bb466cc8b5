/* SPDX-License-Identifier: Apache-2.0
 *
 * The code inside test enclaves. It is copied, so it may refer to nothing but
 * itself: no data, no library, no jump tables.
 */
#include "tests/softsgx/harness.h"

#define INSIDE __attribute__((section(".text.enclave"), used, noinline))

__asm__(".section .text.enclave_entry, \"ax\", @progbits\n"
	".p2align 12\n"
	".globl test_enclave_entry\n"
	"test_enclave_entry:\n"
	"	rdgsbase %r11\n"
	"	test %eax, %eax\n"
	"	jz 1f\n"
	"	add $4096, %r11\n" /* exceptions: the upper half of the GS page is the stack */
	"1:	mov %rsp, %r10\n"
	"	mov %r11, %rsp\n"
	"	push %r10\n"
	"	push %rbp\n"
	"	push %rcx\n"
	"	push %rbx\n"
	"	mov %eax, %ecx\n"
	"	cld\n"
	"	call enclave_main\n"
	"	pop %rdx\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	pop %rsp\n"
	"	mov $4, %eax\n"
	"	enclu\n"
	"	ud2\n");

INSIDE static void spin(struct test_args *args)
{
	uint64_t wrong;

	/* Every register a signal could disturb keeps its value, general and vector. */
	__asm__ volatile("mov $0x1111, %%r8; mov $0x2222, %%r9; mov $0x3333, %%r12; mov $0x4444, %%r13\n"
			 "movq %%r8, %%xmm0; movq %%r9, %%xmm15; fld1; fldpi\n"
			 "xor %%eax, %%eax\n"
			 "1: inc %%rax; mov %%rax, (%1)\n"
			 "cmp $0x1111, %%r8; jne 9f; cmp $0x2222, %%r9; jne 9f\n"
			 "cmp $0x3333, %%r12; jne 9f; cmp $0x4444, %%r13; jne 9f\n"
			 "movq %%xmm0, %%r10; cmp %%r8, %%r10; jne 9f\n"
			 "movq %%xmm15, %%r10; cmp %%r9, %%r10; jne 9f\n"
			 "fldpi; fcomip %%st(1), %%st; jne 9f\n"
			 "cmpq $0, 40(%1); je 1b\n"
			 "xor %%eax, %%eax; jmp 8f\n"
			 "9: mov $1, %%eax\n"
			 "8: fstp %%st; fstp %%st\n"
			 : "=&a"(wrong)
			 : "r"(args)
			 : "r8", "r9", "r10", "r12", "r13", "xmm0", "xmm15", "memory", "cc");
	args->rbx = wrong;
}

INSIDE static void spin_ymm(struct test_args *args)
{
	uint64_t wrong;

	__asm__ volatile("mov $0x123456789abc, %%rax; vmovq %%rax, %%xmm7; vpbroadcastq %%xmm7, %%ymm7\n"
			 "vpbroadcastq %%xmm7, %%ymm14; xor %%r8d, %%r8d\n"
			 "1: inc %%r8; mov %%r8, (%1)\n"
			 "vpcmpeqq %%ymm7, %%ymm14, %%ymm3; vpmovmskb %%ymm3, %%eax; inc %%eax; jnz 9f\n"
			 "vextracti128 $1, %%ymm14, %%xmm3; vmovq %%xmm3, %%rax\n"
			 "mov $0x123456789abc, %%r9; cmp %%rax, %%r9; jne 9f\n"
			 "cmpq $0, 40(%1); je 1b\n"
			 "xor %%eax, %%eax; jmp 8f\n"
			 "9: mov $1, %%eax\n"
			 "8: vzeroupper\n"
			 : "=&a"(wrong)
			 : "r"(args)
			 : "r8", "r9", "memory", "cc");
	args->rbx = wrong;
}

INSIDE static void spin_zmm(struct test_args *args)
{
	uint64_t wrong;

	__asm__ volatile(
	    "mov $0x123456789abc, %%rax; vpbroadcastq %%rax, %%zmm17; vpbroadcastq %%rax, %%zmm31\n"
	    "mov $0x5a5a, %%r9d; kmovw %%r9d, %%k5; xor %%r8d, %%r8d\n"
	    "1: inc %%r8; mov %%r8, (%1)\n"
	    "vpcmpeqq %%zmm17, %%zmm31, %%k1; kmovw %%k1, %%eax; cmp $0xff, %%eax; jne 9f\n"
	    "vextracti64x4 $1, %%zmm31, %%ymm3; vmovq %%xmm3, %%rax\n"
	    "mov $0x123456789abc, %%r10; cmp %%rax, %%r10; jne 9f\n"
	    "kmovw %%k5, %%eax; cmp %%r9d, %%eax; jne 9f\n"
	    "cmpq $0, 40(%1); je 1b\n"
	    "xor %%eax, %%eax; jmp 8f\n"
	    "9: mov $1, %%eax\n"
	    "8: vzeroupper\n"
	    : "=&a"(wrong)
	    : "r"(args)
	    : "r8", "r9", "r10", "memory", "cc");
	args->rbx = wrong;
}

INSIDE static void leaf(struct test_args *args)
{
	uint64_t flags, rax = args->rax, rbx = args->rbx, rcx = args->rcx, rdx = args->rdx;

	__asm__ volatile("push $0xad7; popfq\n enclu\n pushfq; pop %0"
			 : "=&r"(flags), "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx)
			 :
			 : "memory", "cc");
	args->rax = rax;
	args->rflags = flags;
}

INSIDE static void accept_range(struct test_args *args)
{
	struct sgx_secinfo secinfo = {.flags = args->rdx};
	uint64_t page = args->rbx, error = 0;

	for (uint64_t i = 0; i < args->rcx && !error; i++, page += SGX_PAGE_SIZE) {
		error = SGX_EACCEPT;
		__asm__ volatile("enclu" : "+a"(error) : "b"(&secinfo), "c"(page) : "memory", "cc");
	}
	args->rax = error;
}

INSIDE static void ssa(struct test_args *args, uint64_t cssa)
{
	uint64_t gs;
	struct sgx_gprsgx *gpr;
	uint8_t *out = (uint8_t *)args->rbx;

	__asm__("rdgsbase %0" : "=r"(gs));
	gpr = (void *)(gs - 0x7000 + cssa * 0x1000 - sizeof(*gpr));
	for (unsigned int i = 0; i < sizeof(*gpr); i++)
		((volatile uint8_t *)out)[i] = ((uint8_t *)gpr)[i];
	gpr->rip += args->rcx;
	if (args->rdx)
		gpr->rax = args->rdx;
}

INSIDE static void marked_fault(struct test_args *args)
{
	__asm__ volatile("push %%rbx; push %%rbp\n"
			 "mov $0xa1, %%eax; mov $0xa3, %%ecx; mov $0xa4, %%edx; mov $0xa6, %%esi\n"
			 "mov $0xa8, %%r8d; mov $0xa9, %%r9d; mov $0xaa, %%r10d; mov $0xab, %%r11d\n"
			 "mov $0xac, %%r12d; mov $0xad, %%r13d; mov $0xae, %%r14d; mov $0xaf, %%r15d\n"
			 "mov $0xa5, %%ebp; movq %%rax, %%xmm5; mov %%rdi, %%rbx\n"
			 "movb $1, (%%rbx)\n" /* three bytes */
			 "pop %%rbp; pop %%rbx"
			 :
			 : "D"(args->rbx)
			 : "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
			   "xmm5", "memory");
}

void enclave_main(uint64_t op, struct test_args *args, uint64_t rdx, uint64_t cssa);
INSIDE void enclave_main(uint64_t op, struct test_args *args, uint64_t rdx, uint64_t cssa)
{
	if (args)
		args->cssa = cssa;
	if (op == OP_LEAF)
		leaf(args);
	else if (op == OP_READ)
		args->rax = *(volatile uint64_t *)args->rbx;
	else if (op == OP_WRITE)
		*(volatile uint64_t *)args->rbx = args->rax;
	else if (op == OP_FETCH)
		((void (*)(void))args->rbx)();
	else if (op == OP_UD2)
		__asm__ volatile("ud2");
	else if (op == OP_DIVIDE)
		__asm__ volatile("xor %%ecx, %%ecx; div %%ecx" ::: "rax", "rcx", "rdx");
	else if (op == OP_INT3)
		__asm__ volatile("int3");
	else if (op == OP_SPIN)
		spin(args);
	else if (op == OP_ACCEPT_RANGE)
		accept_range(args);
	else if (op == OP_SSA)
		ssa(args, cssa);
	else if (op == OP_BASES)
		__asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(args->rax), "=r"(args->rbx));
	else if (op == OP_SYSCALL)
		__asm__ volatile("mov $39, %%eax; syscall" ::: "rax", "rcx", "r11", "memory");
	else if (op == OP_CPUID)
		__asm__ volatile("xor %%eax, %%eax; cpuid" ::: "rax", "rbx", "rcx", "rdx");
	else if (op == OP_COPY)
		for (uint64_t i = 0; i < args->rdx; i++)
			((volatile uint8_t *)args->rbx)[i] = ((volatile uint8_t *)args->rcx)[i];
	else if (op == OP_MARKED_FAULT)
		marked_fault(args);
	else if (op == OP_YMM)
		spin_ymm(args);
	else if (op == OP_ZMM)
		spin_zmm(args);
	else if (op == OP_HOSTILE)
		__asm__ volatile("pushfq; or %1, (%%rsp); mov $-1, %%rbp; mov $-1, %%r15; mov $-1, %%rsi\n"
				 "popfq; mov %0, %%rsp; ud2"
				 :
				 : "r"(args->rbx), "r"(args->rcx));
	else if (op == OP_X87)
		__asm__ volatile(
		    "fninit; push $0x37b; fldcw (%%rsp); pop %%rax; fld1; fldz; fdivrp; fwait; fninit" ::
			: "rax", "memory");
	else if (op == OP_SSE)
		__asm__ volatile("push $0x1d80; ldmxcsr (%%rsp); xorps %%xmm1, %%xmm1; xorps %%xmm0, %%xmm0\n"
				 "mov $1, %%eax; cvtsi2ss %%eax, %%xmm0; divss %%xmm1, %%xmm0\n"
				 "movl $0x1f80, (%%rsp); ldmxcsr (%%rsp); pop %%rax" ::
				     : "rax", "xmm0", "xmm1", "memory");
	else if (op == OP_ALIGN)
		__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq\n"
				 "mov -7(%%rsp), %%eax\n"
				 "pushfq; andl $~0x40000, (%%rsp); popfq" ::
				     : "rax", "memory", "cc");
	else if (op == OP_WRFSBASE) {
		__asm__ volatile("wrfsbase %0" : : "r"(args->rbx));
		spin(args);
		__asm__ volatile("rdfsbase %0" : "=r"(args->rax));
	}
}
