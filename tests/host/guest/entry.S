/* SPDX-License-Identifier: Apache-2.0
 *
 * Every entry starts on the slot's stack, from its end; a fault's on the fault stack.
 */
#include "abi/layout.h"

	.section .text.entry, "ax"
	.globl	guest_entry
guest_entry:
	rdgsbase %r8			/* the slot's record */
	leaq	(THREAD_STACK_END - THREAD_RECORD)(%r8), %r9
	testq	%rax, %rax		/* CSSA */
	jz	1f
	leaq	(THREAD_FAULT_STACK_END - THREAD_RECORD)(%r8), %r9
1:	movq	%rsp, %r10
	movq	%r9, %rsp
	pushq	%rcx
	pushq	%r10
	movq	%r8, %rdx
	call	guest_step		/* (ecall, argument, record) -> eexit */
	popq	%r10
	popq	%rbx
	movq	%r10, %rsp
	movq	%rax, %rdi
	xorl	%esi, %esi
	movl	$4, %eax
	enclu
	.section .text.start, "ax"
	.globl	_start
_start:
	ud2
