/* SPDX-License-Identifier: Apache-2.0
 *
 * Runtimes that link the call weakly find it in the preload library.
 */
	.text
	.globl __vdso_sgx_enter_enclave
	.type __vdso_sgx_enter_enclave, @function
__vdso_sgx_enter_enclave:
	jmp softsgx_enter_enclave@PLT
	.size __vdso_sgx_enter_enclave, .-__vdso_sgx_enter_enclave

/* dlopen() goes by its caller's run path: jump, so that it sees who called. */
	.globl dlopen
	.type dlopen, @function
dlopen:
	push %rsi
	call softsgx_dlopen_name@PLT
	pop %rsi
	mov %rax, %rdi
	jmp *softsgx_next_dlopen(%rip)
	.size dlopen, .-dlopen

/* The image that vdso.ld links. */
	.section .rodata
	.globl softsgx_vdso_start, softsgx_vdso_end
	.hidden softsgx_vdso_start
	.hidden softsgx_vdso_end
	.p2align 12
softsgx_vdso_start:
	.incbin VDSO_IMAGE
softsgx_vdso_end:
	.section .note.GNU-stack, "", @progbits
