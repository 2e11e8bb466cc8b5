/* SPDX-License-Identifier: Apache-2.0
 *
 * The pass's out-of-line marker, for stores that span more than two pages, and
 * the one a program may call itself (optmig.h).
 */
#include "abi/layout.h"

	.text
/* Page indices in %rdi (first) and %rsi (last), last not below first. Called from cold blocks that
 * know no other register than %rdi to change. */
	.globl	__optmig_mark_range
	.type	__optmig_mark_range, @function
__optmig_mark_range:
	push	%rax
1:	mov	%edi, %eax
	and	$MARKS_MASK, %eax
	movb	$1, MARKS_BASE(%rax)
	inc	%rdi
	cmp	%rsi, %rdi
	jbe	1b
	pop	%rax
	ret
	.size	__optmig_mark_range, . - __optmig_mark_range

/* void __optmig_mark(const void *start, size_t size) */
	.globl	__optmig_mark
	.type	__optmig_mark, @function
__optmig_mark:
	test	%rsi, %rsi
	jz	1f
	sfence			/* the stores may have been non-temporal */
	lea	-1(%rdi, %rsi), %rsi
	shr	$PAGE_SHIFT, %rdi
	shr	$PAGE_SHIFT, %rsi
	jmp	__optmig_mark_range
1:	ret
	.size	__optmig_mark, . - __optmig_mark

	.section .note.GNU-stack, "", @progbits
