/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in for the runtime when an instrumented program runs outside an enclave: system calls are system
 * calls, nobody asks threads to stop. Linked in its place for tests and benchmarks (--native), and, with
 * OUTSIDE, beside it in every image, so that the file also runs as an ordinary program: configure scripts and
 * build tools run what they have just compiled. Then the entry point below redirects the runtime's gates.
 * Signing leaves this part out.
 */
#include "abi/layout.h"
#include <asm/unistd.h>
#include <linux/auxvec.h>

#ifdef OUTSIDE
#define GATE(name) outside_##name
#else
#define GATE(name) __optmig_##name
#endif

#define PROT_READ_WRITE 3
#define PROT_READ_EXEC 5
#define PROT_ALL 7
#define JMP_REL32 0xe9
#define JMP_SIZE 5
#define MAP_FLAGS 0x104022 /* PRIVATE | ANONYMOUS | NORESERVE | FIXED_NOREPLACE */
#define MAP_SIZE(start, end) ((end) - (start))

	.text
	.globl	GATE(native_start)
	.type	GATE(native_start), @function
/* Marks and stop word must exist before the first instrumented instruction. */
GATE(native_start):
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
#ifdef OUTSIDE
	lea	redirections(%rip), %r12
2:	mov	(%r12), %rbx
	mov	$PROT_ALL, %edx
	call	gate_protect
	mov	8(%r12), %rax
	sub	%rbx, %rax
	sub	$JMP_SIZE, %rax
	movb	$JMP_REL32, (%rbx)
	mov	%eax, 1(%rbx)
	mov	$PROT_READ_EXEC, %edx
	call	gate_protect
	add	$16, %r12
	cmpq	$0, (%r12)
	jne	2b
#endif
	/* The program headers that musl reads are a copy, of which the kernel does not know. */
	mov	(%rsp), %rcx
	lea	16(%rsp, %rcx, 8), %rcx /* the environment, behind it the auxiliary vector */
3:	add	$8, %rcx
	cmpq	$0, -8(%rcx)
	jne	3b
4:	add	$16, %rcx
	cmpq	$AT_PHDR, -16(%rcx)
	jne	4b
	movq	$APP_BASE, -8(%rcx)
	xor	%edx, %edx
	jmp	_start
1:	ud2

#ifdef OUTSIDE
/* mprotect(the page or two that a jump at RBX lies in, EDX): what follows may be data */
gate_protect:
	mov	$__NR_mprotect, %eax
	mov	%rbx, %rdi
	and	$-PAGE_SIZE, %rdi
	lea	JMP_SIZE(%rbx), %rsi
	sub	%rdi, %rsi
	syscall
	test	%eax, %eax
	jnz	1b
	ret

	.balign 8
redirections: /* this process's private copy of the runtime's code: from, to */
	.quad	__optmig_syscall, outside_syscall
	.quad	__optmig_clone, outside_clone
	.quad	__optmig_unmapself, outside_unmapself
	.quad	__optmig_restore, outside_restore
	.quad	__syscall_cp_asm, outside_syscall_cp /* 0 in a program that cancels no thread: the end */
	.weak	__syscall_cp_asm
	.hidden	__syscall_cp_asm
	.quad	0
#endif

	.globl	GATE(syscall)
	.type	GATE(syscall), @function
GATE(syscall):
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
	.globl	GATE(clone)
	.type	GATE(clone), @function
GATE(clone):
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
	.globl	GATE(unmapself)
	.type	GATE(unmapself), @function
GATE(unmapself):
	mov	$__NR_munmap, %eax
	syscall
	xor	%edi, %edi
	mov	$__NR_exit, %eax
	syscall
	ud2

#ifndef OUTSIDE
#define outside_syscall_cp __syscall_cp_asm
#endif
	.globl	outside_syscall_cp, __cp_begin, __cp_end
	.hidden	outside_syscall_cp, __cp_begin, __cp_end, __cp_cancel
#ifdef OUTSIDE
	.weak	__cp_cancel /* libc/src's, as inside */
#else
	.globl	__cp_cancel
	.hidden	__cancel
	.weak	__cancel
#endif
	.type	outside_syscall_cp, @function
/* (cancel, n, a, b, c, d, e, f): between the first two labels musl's handler sends the thread to the third */
outside_syscall_cp:
__cp_begin:
	mov	(%rdi), %eax
	test	%eax, %eax
	jnz	__cp_cancel
	mov	%rsi, %rax
	mov	%rdx, %rdi
	mov	%rcx, %rsi
	mov	%r8, %rdx
	mov	%r9, %r10
	mov	8(%rsp), %r8
	mov	16(%rsp), %r9
	syscall
__cp_end:
	ret
#ifndef OUTSIDE
__cp_cancel:
	jmp	__cancel
#endif

	.globl	GATE(restore)
	.type	GATE(restore), @function
GATE(restore):
	mov	$__NR_rt_sigreturn, %eax
	syscall
	ud2

#ifndef OUTSIDE
/* Come here only if a test has set the stop word: counts, and calls what the test wants called, but not from there again. Like
 * the real one it changes flags only. */
	.globl	__optmig_safepoint
	.type	__optmig_safepoint, @function
__optmig_safepoint:
	lock incq __optmig_native_stops
	cmpq	$0, __optmig_native_at_stop
	jne	1f
	ret
1:	push	%rbp
	mov	%rsp, %rbp
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	sub	$512, %rsp
	and	$-16, %rsp
	fxsave64 (%rsp)
	cld
	mov	__optmig_native_at_stop, %rbx
	movq	$0, __optmig_native_at_stop
	call	*%rbx
	mov	%rbx, __optmig_native_at_stop
	fxrstor64 (%rsp)
	lea	-80(%rbp), %rsp
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	pop	%rbp
	ret

	.bss
	.balign	8
	.globl	__optmig_native_stops, __optmig_native_at_stop
__optmig_native_stops:
	.quad	0
__optmig_native_at_stop:
	.quad	0
#endif

	.section .note.GNU-stack, "", @progbits
