/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the runtime when an instrumented program is linked to run outside an enclave
 * (tests, benchmarks): system calls are system calls, nobody asks threads to stop.
 */
#include "abi/layout.h"
#include <asm/unistd.h>

#define PROT_READ_WRITE 3
#define MAP_FLAGS 0x104022 /* PRIVATE | ANONYMOUS | NORESERVE | FIXED_NOREPLACE */
#define MAP_SIZE(start, end) ((end) - (start))

	.text
	.globl	__optmig_native_start
	.type	__optmig_native_start, @function
/* Marks and stop word must exist before the first instrumented instruction. */
__optmig_native_start:
	mov	$__NR_mmap, %eax
	mov	$STOP_WORD, %edi
	mov	$MAP_SIZE(STOP_WORD, MARKS_BASE + MARKS_SIZE), %esi
	mov	$PROT_READ_WRITE, %edx
	mov	$MAP_FLAGS, %r10d
	mov	$-1, %r8
	xor	%r9d, %r9d
	syscall
	cmp	$STOP_WORD, %rax
	jne	1f
	xor	%edx, %edx
	jmp	_start
1:	ud2

	.globl	__optmig_syscall
	.type	__optmig_syscall, @function
__optmig_syscall:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
	syscall
	ret

/* (fn, stack, flags, arg, ptid, tls, ctid) */
	.globl	__optmig_clone
	.type	__optmig_clone, @function
__optmig_clone:
	and	$-16, %rsi
	sub	$16, %rsi
	mov	%rdi, (%rsi)
	mov	%rcx, 8(%rsi)
	mov	%rdx, %rdi
	mov	%r8, %rdx
	mov	%r9, %r8
	mov	8(%rsp), %r10
	mov	$__NR_clone, %eax
	syscall
	test	%eax, %eax
	jnz	1f
	xor	%ebp, %ebp
	pop	%rax
	pop	%rdi
	call	*%rax
	mov	%eax, %edi
	mov	$__NR_exit, %eax
	syscall
	ud2
1:	ret

/* (base, size) */
	.globl	__optmig_unmapself
	.type	__optmig_unmapself, @function
__optmig_unmapself:
	mov	$__NR_munmap, %eax
	syscall
	xor	%edi, %edi
	mov	$__NR_exit, %eax
	syscall
	ud2

	.weak	__optmig_safepoint
	.type	__optmig_safepoint, @function
__optmig_safepoint:
	ret

	.section .note.GNU-stack, "", @progbits
