/* SPDX-License-Identifier: Apache-2.0
 *
 * long kick_syscall(volatile uint32_t *kicked, long nr, a, b, c, d, e, f)
 *
 * Between the test of *kicked and the kernel's own look at pending signals
 * there is a window in which a kick would be lost. The signal handler (kick.c)
 * closes it: a thread found at kick_window .. kick_window_end, the `syscall`
 * itself included, has not entered the kernel yet and is sent to kick_cut.
 * A call that the kernel cut short comes back behind the window with -EINTR.
 */
	.text
	.globl	kick_syscall
	.hidden	kick_syscall
	.type	kick_syscall, @function
kick_syscall:
	.cfi_startproc
	movq	%rdi, %r11		/* syscall leaves RCX and R11 destroyed: kicked is needed before only */
	movq	%rsi, %rax
	movq	%rdx, %rdi
	movq	%rcx, %rsi
	movq	%r8, %rdx
	movq	%r9, %r10
	movq	8(%rsp), %r8
	movq	16(%rsp), %r9
	.globl	kick_window
	.hidden	kick_window
kick_window:
	cmpl	$0, (%r11)
	jne	kick_cut
	syscall
	.globl	kick_window_end
	.hidden	kick_window_end
kick_window_end:
	ret
	.globl	kick_cut
	.hidden	kick_cut
kick_cut:
	movq	$-4, %rax		/* -EINTR */
	ret
	.cfi_endproc
	.size	kick_syscall, . - kick_syscall
	.section .note.GNU-stack, "", @progbits
