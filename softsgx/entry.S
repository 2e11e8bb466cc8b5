/* SPDX-License-Identifier: Apache-2.0
 *
 * The two ways across the border that cannot be written in C: the vDSO call,
 * with its EENTER that needs no trap, and the signal entry, which has no usable
 * FS base until it has found out who it is.
 */
#include <asm/prctl.h>
#include <asm/unistd.h>
#include "softsgx/thread_layout.h"

	.text

	.globl softsgx_enter_enclave
	.type softsgx_enter_enclave, @function
	.globl softsgx_aep
	.globl softsgx_fault
	.globl softsgx_claim
	.globl softsgx_claimed
	.globl softsgx_entered
	.globl softsgx_again
	.hidden softsgx_aep
	.hidden softsgx_fault
	.hidden softsgx_claim
	.hidden softsgx_claimed
	.hidden softsgx_entered
	.hidden softsgx_again
	.p2align 5
softsgx_enter_enclave:
	.cfi_startproc
	push %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	mov %rsp, %rbp
	.cfi_def_cfa_register %rbp
	push %rbx
	.cfi_rel_offset %rbx, -8
	mov %ecx, %eax
.Lenter:
	/* EENTER or ERESUME, and nothing reserved set. */
	cmp $2, %eax
	jb .Linvalid
	cmp $3, %eax
	ja .Linvalid
	mov 16(%rbp), %rbx
	mov $RUN_RESERVED, %ecx
1:	cmpq $0, (%rbx, %rcx)
	jne .Linvalid
	add $8, %ecx
	cmp $RUN_END, %ecx
	jne 1b
	mov RUN_TCS(%rbx), %rbx
	cmp $2, %eax
	jne .Ltrap

	/* The short way: this thread entered this TCS before and nothing that was checked has changed. Only
	 * RAX, RCX and RBX may be used, everything else is the enclave's argument. A signal between
	 * softsgx_claim and softsgx_entered is answered by starting again at softsgx_again. */
	mov softsgx_self@gottpoff(%rip), %rcx
	mov %fs:(%rcx), %rcx
	test %rcx, %rcx
	jz .Lprepare
.Lprepared:
	cmp %rbx, T_READY_TCS(%rcx)
	jne .Ltrap
	mov softsgx_generation(%rip), %rax
	cmp %rax, T_READY_GENERATION(%rcx)
	jne .Ltrap_again /* RAX is lost */
	mov T_READY_VIEW(%rcx), %rbx
softsgx_claim:
	lock btsq $0, (%rbx)
softsgx_claimed:
	jc .Ltrap_again
	cmpl $0, TCS_CSSA(%rbx)
	jne .Lrelease
	lea softsgx_aep(%rip), %rax
	mov %rax, TCS_AEP(%rbx)
	mov T_READY_GPR(%rcx), %rax
	mov %rsp, GPR_URSP(%rax)
	mov %rbp, GPR_URBP(%rax)
	rdfsbase %rax
	mov %rax, T_HOST_FS(%rcx)
	rdgsbase %rax
	mov %rax, T_HOST_GS(%rcx)
	mov T_READY_ENTRY(%rcx), %rax
	mov %rax, -8(%rsp)
	movb $1, T_SELECTOR(%rcx)
	movl $1, T_INSIDE(%rcx)
	/* Who changes a page changes the generation, then interrupts those inside: he sees us, or we him. */
	mov T_READY_COUNTER(%rcx), %rax
	lock incq (%rax)
	mov softsgx_generation(%rip), %rax
	cmp %rax, T_READY_GENERATION(%rcx)
	jne .Lundo
	mov T_READY_FS(%rcx), %rax
	mov T_READY_TCS(%rcx), %rbx
	wrfsbase %rax
	mov T_READY_GS(%rcx), %rax
	wrgsbase %rax
	xor %eax, %eax
	lea softsgx_aep+3(%rip), %rcx
	jmp *-8(%rsp)
.Lundo:
	movl $0, T_INSIDE(%rcx)
	movb $0, T_SELECTOR(%rcx)
.Lrelease:
	lock btrq $0, (%rbx)
softsgx_entered:
.Ltrap_again:
softsgx_again:
	mov 16(%rbp), %rbx
	mov RUN_TCS(%rbx), %rbx
	mov $2, %eax
.Ltrap:
	lea softsgx_aep(%rip), %rcx
	int3 /* traps faster (int3_site.h), and leads to where exits lead, which must be ENCLU */
softsgx_aep:
	.byte 0x0f, 0x01, 0xd7 /* ENCLU */

	/* EEXIT comes back here. RBP is the enclave's promise, RSP is not. */
	mov 16(%rbp), %rbx
	movl $4, RUN_FUNCTION(%rbx)
.Lout:
	cmpq $0, RUN_HANDLER(%rbx)
	jne .Lhandler
	xor %eax, %eax
.Lreturn:
	mov -8(%rbp), %rbx
	leave
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_def_cfa %rbp, 16

	/* First entry of a thread. Arguments and vectors are the enclave's and survive. */
.Lprepare:
	push %rdi
	push %rsi
	push %rdx
	push %r8
	push %r9
	push %r10
	push %r11
	mov %rsp, %rbx
	sub $512, %rsp
	and $-64, %rsp
	fxsave64 (%rsp)
	call softsgx_prepare_thread
	fxrstor64 (%rsp)
	mov %rbx, %rsp
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdx
	pop %rsi
	pop %rdi
	mov softsgx_self@gottpoff(%rip), %rcx
	mov %fs:(%rcx), %rcx
	mov 16(%rbp), %rbx
	mov RUN_TCS(%rbx), %rbx
	mov $2, %eax
	test %rcx, %rcx
	jz .Ltrap
	jmp .Lprepared

.Linvalid:
	mov $-22, %eax
	jmp .Lreturn

	/* The trap handler resumes here: leaf in EAX, vector, error code and address in RDI, RSI, RDX. */
softsgx_fault:
	mov 16(%rbp), %rbx
	mov %eax, RUN_FUNCTION(%rbx)
	mov %di, RUN_VECTOR(%rbx)
	mov %si, RUN_ERROR_CODE(%rbx)
	mov %rdx, RUN_ADDRESS(%rbx)
	jmp .Lout

.Lhandler:
	mov %rsp, %rcx
	mov RUN_HANDLER(%rbx), %rax
	and $-16, %rsp
	push %rcx /* to come back to the untrusted stack as it was */
	push %rbx
	cld
	call *%rax
	mov 8(%rsp), %rsp
	test %eax, %eax
	jle .Lreturn
	jmp .Lenter
	.cfi_endproc
	.size softsgx_enter_enclave, .-softsgx_enter_enclave

/*
 * void softsgx_signal(int signal, siginfo_t *, ucontext_t *): every handler we install.
 */
	.globl softsgx_signal
	.hidden softsgx_signal
	.type softsgx_signal, @function
	.p2align 4
softsgx_signal:
	/* The kernel leaves the interrupted code's AC alone. */
	pushfq
	andl $~0x40000, (%rsp)
	popfq
	mov %rsp, %rax
	sub softsgx_slots(%rip), %rax
	xor %ecx, %ecx
	cmp $SLOT_SIZE*SLOTS_MAX, %rax
	jae 1f
	mov %rsp, %rcx
	and $-SLOT_SIZE, %rcx
	add $SLOT_RECORD, %rcx
	cmpl $0, T_INSIDE(%rcx)
	je 1f
	cmpb $0, softsgx_bases_told(%rip)
	jne .Ltell_host
	rdfsbase %rax
	mov %rax, T_ENCLAVE_FS(%rcx)
	rdgsbase %rax
	mov %rax, T_ENCLAVE_GS(%rcx)
	mov T_HOST_FS(%rcx), %rax
	wrfsbase %rax
	mov T_HOST_GS(%rcx), %rax
	wrgsbase %rax
	movb $0, T_SELECTOR(%rcx)
1:	sub $8, %rsp
	cld
	call softsgx_trap /* (signal, info, context, record or NULL) -> record or NULL */
	add $8, %rsp
	test %rax, %rax
	jz 2f
	cmpl $0, T_INSIDE(%rax)
	je 2f
	cmpb $0, softsgx_bases_told(%rip)
	jne .Ltell_enclave
	mov T_ENCLAVE_FS(%rax), %rcx
	wrfsbase %rcx
	mov T_ENCLAVE_GS(%rax), %rcx
	wrgsbase %rcx
	movb $1, T_SELECTOR(%rax)
2:	ret

	/* Where the kernel has to be told (bases.h), by arch_prctl(ARCH_SET_FS). What the enclave's is, is known. */
.Ltell_host:
	movb $0, T_SELECTOR(%rcx) /* before any system call */
	push %rdi
	push %rsi
	push %rcx
	mov T_HOST_FS(%rcx), %rsi
	mov $ARCH_SET_FS, %edi
	mov $__NR_arch_prctl, %eax
	syscall
	pop %rcx
	pop %rsi
	pop %rdi
	jmp 1b
.Ltell_enclave:
	mov %rax, %rdx
	mov T_ENCLAVE_FS(%rdx), %rsi
	mov $ARCH_SET_FS, %edi
	mov $__NR_arch_prctl, %eax
	syscall
	movb $1, T_SELECTOR(%rdx)
	ret
	.size softsgx_signal, .-softsgx_signal

	.globl softsgx_restorer
	.hidden softsgx_restorer
	.type softsgx_restorer, @function
	nop /* unwinders look at the byte before a return address */
softsgx_restorer:
	mov $15, %eax
	syscall
	.size softsgx_restorer, .-softsgx_restorer

	.section .note.GNU-stack, "", @progbits
