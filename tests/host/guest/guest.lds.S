/* SPDX-License-Identifier: Apache-2.0 */
#include "abi/layout.h"
ENTRY(_start)
PHDRS
{
	rt_text PT_LOAD FLAGS(5);
	rt_data PT_LOAD FLAGS(6);
	text PT_LOAD FLAGS(5);
	data PT_LOAD FLAGS(6);
}
SECTIONS
{
	. = RUNTIME_BASE;
	.rt.text : { *(.text.entry) *(.text) *(.rodata*) } :rt_text
	. = ALIGN(PAGE_SIZE);
	.rt.data : { *(.data .bss) } :rt_data
	. = APP_BASE;
	.text : { *(.text.start) } :text
	. = ALIGN(PAGE_SIZE);
	.data : { __optmig_small_start = .; QUAD(0) __optmig_small_end = .; } :data
	.note.optmig.image 0 (INFO) : { KEEP(*(.note.optmig.image)) }
	/DISCARD/ : { *(.eh_frame .comment .note.GNU-stack) }
}
