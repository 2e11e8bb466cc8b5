/* SPDX-License-Identifier: Apache-2.0
 *
 * Every way into and out of the enclave, and between the application's stacks
 * and the private ones. RUNTIME_BASE is the only entry point.
 *
 * GS always addresses this thread's record (struct thread). The host chose every
 * other register at EENTER, and flags, MXCSR and the x87 control word with them:
 * they are set before any C runs.
 */
#include "abi/layout.h"

#define T_STACK_TOP %gs:0x10
#define T_FAULT_STACK_TOP %gs:0x18
#define T_OCALL_RSP %gs:0x20
#define T_HOST_RSP %gs:0x30
#define T_HOST_RBP %gs:0x38
#define T_HOST_RET %gs:0x40
#define T_FAULT_RSP %gs:0x48
#define T_FAULT_RBP %gs:0x50
#define T_FAULT_RET %gs:0x58
#define T_SAVED_FS %gs:0x60
#define T_SAVED_MXCSR %gs:0x68
#define T_SAVED_FCW %gs:0x6c
#define C_MXCSR %gs:0x74
#define C_FCW %gs:0x78
#define C_RSP %gs:0x80
#define C_FS %gs:0x88

#define ENCLU .byte 0x0f, 0x01, 0xd7
#define SGX_EEXIT 4
/* private call numbers of the gate, see gate.c */
#define CALL_CLONE 0x10000
#define CALL_UNMAPSELF 0x10001
/* standard XSAVE area up to and with AVX-512 */
#define SAFEPOINT_XSAVE_SIZE 2816
#define ECALL_RETURN 2

	.section .entry, "ax", @progbits
	.globl __optmig_entry
	.type __optmig_entry, @function
/* RAX = CSSA, RBX = TCS, RCX = where EEXIT goes, RDI RSI RDX = the host's words. */
__optmig_entry:
	cld
	cmpq $0, %gs:0x10
	je first_entry
slot_ready:
	testq %rax, %rax
	jnz fault_entry
	movq %rsp, T_HOST_RSP
	movq %rbp, T_HOST_RBP
	movq %rcx, T_HOST_RET
	cmpq $ECALL_RETURN, %rdi
	je ocall_return
	/* A fresh entry while an ocall is under way would reuse its stack. */
	cmpq $0, T_OCALL_RSP
	jne bad_entry
	movq T_STACK_TOP, %rsp
	call sane_state
	xorl %ebp, %ebp
	movq %rdx, %rcx
	movq %rsi, %rdx
	movq %rdi, %rsi
	movq %gs:0, %rdi
	call entry_c
	ud2

/* The record page is measured and zero: its constants follow from the TCS. */
first_entry:
	leaq THREAD_RECORD(%rbx), %r8
	movq %r8, %gs:0
	leaq THREAD_STACK_END(%rbx), %r9
	leaq THREAD_FAULT_STACK_END(%rbx), %r10
	movq %r10, T_FAULT_STACK_TOP
	movq %rbx, %r11
	subq $THREADS_BASE, %r11
	shrq $18, %r11
	movq %r11, %gs:0x08
	movq %r9, T_STACK_TOP
	jmp slot_ready

bad_entry:
	movl $4, %edi /* EEXIT_FATAL */
	movl $1, %esi /* FATAL_BAD_ENTRY */
	xorl %edx, %edx
	jmp leave_host

/* Direction, alignment check, trap flag; rounding and exception masks. */
sane_state:
	pushq $2
	popfq
	pushq $0x1f80
	ldmxcsr (%rsp)
	movl $0x37f, (%rsp)
	fninit
	fldcw (%rsp)
	addq $8, %rsp
	ret

/* ---- ocalls ---- */
	.text
	.globl ocall_exit
	.type ocall_exit, @function
/* long ocall_exit(how, rsi, rdx): everything the ABI preserves survives. */
ocall_exit:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	rdfsbase %rax
	movq %rax, T_SAVED_FS
	stmxcsr T_SAVED_MXCSR
	fnstcw T_SAVED_FCW
	sfence /* whoever sees that this thread is outside believes all its stores done, non-temporal ones too */
	movq %rsp, T_OCALL_RSP
leave_host:
	movq T_HOST_RSP, %rsp
	movq T_HOST_RBP, %rbp
	movq T_HOST_RET, %rbx
leave:	/* RDI RSI RDX = words for the host, RSP RBP RBX set: nothing else may leak */
	movq %rdx, %r8
	leaq init_xstate(%rip), %r9
	movl xstate_mask(%rip), %eax
	xorl %edx, %edx
	testl %eax, %eax
	jz 1f
	xrstor (%r9)
1:	movq %r8, %rdx
	xorl %ecx, %ecx
	xorl %r8d, %r8d
	xorl %r9d, %r9d
	xorl %r10d, %r10d
	xorl %r11d, %r11d
	xorl %r12d, %r12d
	xorl %r13d, %r13d
	xorl %r14d, %r14d
	xorl %r15d, %r15d
	movl $SGX_EEXIT, %eax
	ENCLU
	ud2

	.globl final_exit
	.type final_exit, @function
final_exit:
	movq $0, T_OCALL_RSP
	jmp leave_host

ocall_return:
	movq T_OCALL_RSP, %rsp
	testq %rsp, %rsp
	jz bad_entry
	movq $0, T_OCALL_RSP
	/* tracking_begin() writes its word, then looks at this one: here likewise, before the word is read */
	mfence
	call sane_state
	ldmxcsr T_SAVED_MXCSR
	fldcw T_SAVED_FCW
	movq T_SAVED_FS, %rax
	wrfsbase %rax
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* ---- exceptions: CSSA > 0 ---- */
fault_entry:
	/* A fault inside the fault handler has nowhere to go. */
	cmpq $1, %rax
	ja fault_dead
	movq %rsp, T_FAULT_RSP
	movq %rbp, T_FAULT_RBP
	movq %rcx, T_FAULT_RET
	movq T_FAULT_STACK_TOP, %rsp
	call sane_state
	xorl %ebp, %ebp
	movq %rdi, %rsi
	movq %gs:0, %rdi
	call fault_c
	movq %rax, %rsi
	movl $3, %edi /* EEXIT_RESUME, RDX: the page waited for */
	testq %rax, %rax
	jz 1f
	movl $4, %edi /* EEXIT_FATAL, reason in RSI */
	xorl %edx, %edx
1:	movq T_FAULT_RSP, %rsp
	movq T_FAULT_RBP, %rbp
	movq T_FAULT_RET, %rbx
	jmp leave
fault_dead:
	movl $4, %edi
	movl $5, %esi /* FATAL_INTERNAL */
	xorl %edx, %edx
	movq %rcx, %rbx
	jmp leave

/* ---- the gate: a system call is a function call ---- */
	.globl __optmig_syscall
	.type __optmig_syscall, @function
__optmig_syscall:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	stmxcsr C_MXCSR
	fnstcw C_FCW
	rdfsbase %rax
	movq %rax, C_FS
	movq 56(%rsp), %rax /* sixth argument */
	movq %rsp, C_RSP
	movq T_STACK_TOP, %rsp
	subq $8, %rsp
	pushq %rax
	pushq %r9
	pushq %r8
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	movq %rsp, %rsi
	movq %gs:0, %rdi
	call gate_enter
	/* back out of the gate frame */
	movq C_RSP, %rsp
gate_frame_return:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

	.globl context_return
	.type context_return, @function
context_return:
	movq %rdi, %rsp
	movq %rsi, %rax
	jmp gate_frame_return

	.globl __optmig_clone
	.type __optmig_clone, @function
/* int __optmig_clone(fn, stack, flags, arg, ptid, tls, ctid): a private call number whose sixth argument
 * points at the pair {tls, ctid}. */
__optmig_clone:
	movq 8(%rsp), %rax
	subq $24, %rsp
	movq %r9, 8(%rsp)
	movq %rax, 16(%rsp)
	leaq 8(%rsp), %rax
	movq %rax, (%rsp)
	movq %r8, %r9
	movq %rcx, %r8
	movq %rdx, %rcx
	movq %rsi, %rdx
	movq %rdi, %rsi
	movl $CALL_CLONE, %edi
	call __optmig_syscall
	addq $24, %rsp
	ret

	.globl __optmig_unmapself
	.type __optmig_unmapself, @function
__optmig_unmapself:
	movq %rsi, %rdx
	movq %rdi, %rsi
	movl $CALL_UNMAPSELF, %edi
	subq $16, %rsp
	call __optmig_syscall
	ud2

/* Where the kernel would return from a handler: in here __optmig_sigreturn does. */
	.globl __optmig_restore
	.type __optmig_restore, @function
	.balign 8
__optmig_restore:
	ud2
	.balign 8

/* ---- safepoint: everything is live ---- */
	.globl __optmig_safepoint
	.type __optmig_safepoint, @function
__optmig_safepoint:
	pushq %rbp
	movq %rsp, %rbp
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	subq $SAFEPOINT_XSAVE_SIZE, %rsp
	andq $-64, %rsp
	/* the XSAVE header must be zero before XSAVE */
	xorl %eax, %eax
	movq %rax, 512(%rsp)
	movq %rax, 520(%rsp)
	movq %rax, 528(%rsp)
	movq %rax, 536(%rsp)
	movq %rax, 544(%rsp)
	movq %rax, 552(%rsp)
	movq %rax, 560(%rsp)
	movq %rax, 568(%rsp)
	movl xstate_mask(%rip), %eax
	xorl %edx, %edx
	xsave (%rsp)
	pushq %rbp
	stmxcsr C_MXCSR
	fnstcw C_FCW
	rdfsbase %rax
	movq %rax, C_FS
	movq %rsp, C_RSP
	movq T_STACK_TOP, %rsp
	call sane_state
	cld
	movq %gs:0, %rdi
	call safepoint_enter
	movq C_RSP, %rdi
	.globl context_safepoint
	.type context_safepoint, @function
context_safepoint:
	movq %rdi, %rsp
	popq %rbp
	movl xstate_mask(%rip), %eax
	xorl %edx, %edx
	xrstor (%rsp)
	leaq -112(%rbp), %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	popq %rbp
	ret

/* ---- first steps ---- */
	.globl context_start
	.type context_start, @function
context_start:
	movq %rdi, %rsp
	andq $-16, %rsp
	xorl %ebp, %ebp
	movq %rdx, %rdi
	call *%rsi
	/* the thread function returned: exit(result) */
	movslq %eax, %rsi
	movl $60, %edi
	subq $16, %rsp
	call __optmig_syscall
	ud2

	.globl context_entry
	.type context_entry, @function
context_entry:
	movq %rdi, %rsp
	xorl %ebp, %ebp
	xorl %edx, %edx
	jmp *%rsi

/* Calls a handler on the application's stack; it returns into __optmig_sigreturn. */
	.globl context_signal
	.type context_signal, @function
context_signal:
	movq %rdi, %rsp
	movq %rsi, %rax
	movl %edx, %edi
	movq %rcx, %rsi
	movq %r8, %rdx
	leaq __optmig_sigreturn(%rip), %r11
	pushq %r11
	jmp *%rax
__optmig_sigreturn:
	/* rsp is again what context_signal got: the frame signal.c made there */
	movq %rsp, %rsi
	movl $15, %edi /* rt_sigreturn; its frame address is the argument */
	subq $16, %rsp
	call __optmig_syscall
	ud2

	.globl private_stack_call
	.type private_stack_call, @function
private_stack_call:
	movq T_STACK_TOP, %rsp
	xorl %ebp, %ebp
	movq %rdi, %rax
	movq %rsi, %rdi
	call *%rax
	ud2

	.section .rodata, "a", @progbits
	.balign 64
init_xstate: /* XSTATE_BV = 0: every component to its initial state; MXCSR is loaded all the same */
	.zero 24
	.long 0x1f80
	.zero 2788
	.section .bss, "aw", @nobits
	.globl xstate_mask
	.balign 8
xstate_mask:
	.zero 8
	.section .note.GNU-stack, "", @progbits
