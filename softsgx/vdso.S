/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of the image that stands in for the kernel's vDSO: every function
 * jumps through a table that preload fills before the image becomes read-only.
 */
	.text

	.macro forward name, slot
	.globl \name
	.type \name, @function
	.p2align 4
\name:
	jmp *softsgx_vdso_table+8*\slot(%rip)
	.size \name, .-\name
	.endm

	forward __vdso_sgx_enter_enclave, 0
	forward __vdso_clock_gettime, 1
	forward __vdso_gettimeofday, 2
	forward __vdso_time, 3
	forward __vdso_getcpu, 4
	forward __vdso_clock_getres, 5
	forward __vdso_getrandom, 6
	.weak clock_gettime, gettimeofday, time, getcpu, clock_getres
	.set clock_gettime, __vdso_clock_gettime
	.set gettimeofday, __vdso_gettimeofday
	.set time, __vdso_time
	.set getcpu, __vdso_getcpu
	.set clock_getres, __vdso_clock_getres

	.globl softsgx_vdso_table
	.p2align 6
softsgx_vdso_table:
	.skip 64

	.section .note.GNU-stack, "", @progbits
