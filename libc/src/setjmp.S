/* SPDX-License-Identifier: Apache-2.0
 *
 * setjmp, sigsetjmp, longjmp and the signal return that nobody comes to. As musl's, and the
 * bytes stored to the jmp_buf are marked. sigsetjmp's tail is musl's C.
 */
#include "abi/layout.h"

/* Marks the pages of the first and last byte of size bytes at %rdi. Uses %rcx. */
.macro mark_buf size
	mov	%rdi, %rcx
	shr	$PAGE_SHIFT, %rcx
	and	$MARKS_MASK, %ecx
	movb	$1, MARKS_BASE(%rcx)
	lea	\size - 1(%rdi), %rcx
	shr	$PAGE_SHIFT, %rcx
	and	$MARKS_MASK, %ecx
	movb	$1, MARKS_BASE(%rcx)
.endm

.macro function names:vararg
	.irp	name, \names
	.globl	\name
	.type	\name, @function
\name:
	.endr
.endm

	.text
function setjmp, _setjmp, __setjmp
	mov	%rbx, (%rdi)
	mov	%rbp, 8(%rdi)
	mov	%r12, 16(%rdi)
	mov	%r13, 24(%rdi)
	mov	%r14, 32(%rdi)
	mov	%r15, 40(%rdi)
	lea	8(%rsp), %rdx
	mov	%rdx, 48(%rdi)
	mov	(%rsp), %rdx
	mov	%rdx, 56(%rdi)
	mark_buf 64
	xor	%eax, %eax
	ret

/* The return address waits in the buffer, behind the eight registers: the stack below this frame
 * may be reused before siglongjmp comes back here. */
function sigsetjmp, __sigsetjmp
	test	%esi, %esi
	jz	setjmp
	popq	64(%rdi)
	mov	%rbx, 80(%rdi)
	mark_buf 88
	mov	%rdi, %rbx
	call	setjmp
	pushq	64(%rbx)
	mov	%rbx, %rdi
	mov	%eax, %esi
	mov	80(%rbx), %rbx
	.hidden	__sigsetjmp_tail
	jmp	__sigsetjmp_tail

function longjmp, _longjmp
	xor	%eax, %eax
	cmp	$1, %esi
	adc	%esi, %eax
	mov	(%rdi), %rbx
	mov	8(%rdi), %rbp
	mov	16(%rdi), %r12
	mov	24(%rdi), %r13
	mov	32(%rdi), %r14
	mov	40(%rdi), %r15
	mov	48(%rdi), %rsp
	jmp	*56(%rdi)

/* In an enclave handlers return into the runtime and nobody comes here; outside one the kernel does. */
	.hidden	__restore, __restore_rt
function __restore, __restore_rt
	jmp	__optmig_restore

	.section .note.GNU-stack, "", @progbits
