/* SPDX-License-Identifier: Apache-2.0
 *
 * int enter_enclave(enter, words, function, run): see enter.h.
 */
	.text
	.globl	enter_enclave
	.hidden	enter_enclave
	.type	enter_enclave, @function
enter_enclave:
	.cfi_startproc
	pushq	%rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rsi			/* words: found again from RBP */
	subq	$8, %rsp
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	pushq	%rcx			/* run, the seventh argument; RSP is now 16-byte aligned */
	movq	%rdi, %rax
	movl	%edx, %ecx		/* function */
	movq	16(%rsi), %rdx
	movq	(%rsi), %rdi
	movq	8(%rsi), %rsi
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	callq	*%rax
	/* The enclave may have left any direction flag, rounding mode and vector state. */
	cld
	movq	-48(%rbp), %r10
	movq	%rdi, (%r10)
	movq	%rsi, 8(%r10)
	movq	%rdx, 16(%r10)
	ldmxcsr	-56(%rbp)
	fldcw	-52(%rbp)
	movq	-8(%rbp), %rbx
	movq	-16(%rbp), %r12
	movq	-24(%rbp), %r13
	movq	-32(%rbp), %r14
	movq	-40(%rbp), %r15
	leave
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size	enter_enclave, . - enter_enclave
	.section .note.GNU-stack, "", @progbits
