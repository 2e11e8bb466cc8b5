/* SPDX-License-Identifier: Apache-2.0
 *
 * One image: the runtime at RUNTIME_BASE, the application at APP_BASE. Through
 * the C preprocessor; -DNATIVE leaves the runtime out (libc/native).
 *
 * No segment is writable and executable. What is constant once linked
 * (relocated read-only data, constructors, the TLS template) is in the
 * read-only segment: a non-PIE static program has no relocation left to do.
 */
#include "abi/layout.h"

#define PAGE ALIGN(PAGE_SIZE)
#define SECTIONS_OF(name) name name.*

ENTRY(_start)

PHDRS
{
#ifndef NATIVE
	rt_text PT_LOAD FLAGS(5);
	rt_rodata PT_LOAD FLAGS(4);
	rt_data PT_LOAD FLAGS(6);
	outside PT_LOAD FLAGS(5);
#endif
	rodata PT_LOAD FLAGS(4);
	text PT_LOAD FLAGS(5);
	large PT_LOAD FLAGS(6);
	small PT_LOAD FLAGS(6);
	tls PT_TLS FLAGS(4);
	stack PT_GNU_STACK FLAGS(6);
}

SECTIONS
{
#ifndef NATIVE
	. = RUNTIME_BASE;
	.rt.text : {
		KEEP(*(.rt.entry))
		KEEP(*(SECTIONS_OF(.rt.text)))
	} :rt_text
	. = PAGE;
	.rt.rodata : { KEEP(*(SECTIONS_OF(.rt.rodata))) } :rt_rodata
	. = PAGE;
	.rt.data : { KEEP(*(SECTIONS_OF(.rt.data))) } :rt_data
	.rt.bss : { KEEP(*(SECTIONS_OF(.rt.bss))) } :rt_data
	. = OUTSIDE_BASE;
	.outside.text : { KEEP(*(.outside.text)) } :outside
	ASSERT(SIZEOF(.outside.text) <= OUTSIDE_END - OUTSIDE_BASE, "the outside part is too large")
	ASSERT(ADDR(.rt.bss) + SIZEOF(.rt.bss) <= RUNTIME_END, "the runtime does not fit below RUNTIME_END")
#endif

	. = APP_BASE;
	/* Room for the program headers: the linker cannot load them at the application's end of
	 * the address space, so optmig-ld copies them here. */
	.phdrs : { BYTE(0) . = . + 32 * 56 - 1; } :rodata
	.rodata : { *(SECTIONS_OF(.rodata)) } :rodata
	.eh_frame : { KEEP(*(.eh_frame)) } :rodata
	.gcc_except_table : { *(SECTIONS_OF(.gcc_except_table)) } :rodata
	.tdata : { *(SECTIONS_OF(.tdata)) } :rodata :tls
	.tbss : { *(SECTIONS_OF(.tbss)) } :rodata :tls
	.preinit_array : {
		PROVIDE_HIDDEN(__preinit_array_start = .);
		KEEP(*(.preinit_array))
		PROVIDE_HIDDEN(__preinit_array_end = .);
	} :rodata
	.init_array : {
		PROVIDE_HIDDEN(__init_array_start = .);
		KEEP(*(SORT_BY_INIT_PRIORITY(.init_array.*) SORT_BY_INIT_PRIORITY(.ctors.*)))
		KEEP(*(.init_array .ctors))
		PROVIDE_HIDDEN(__init_array_end = .);
	} :rodata
	.fini_array : {
		PROVIDE_HIDDEN(__fini_array_start = .);
		KEEP(*(SORT_BY_INIT_PRIORITY(.fini_array.*) SORT_BY_INIT_PRIORITY(.dtors.*)))
		KEEP(*(.fini_array .dtors))
		PROVIDE_HIDDEN(__fini_array_end = .);
	} :rodata
	.data.rel.ro : { *(SECTIONS_OF(.data.rel.ro)) } :rodata
	.got : { *(.got .got.plt) } :rodata

	. = PAGE;
	.init : { KEEP(*(.init)) } :text
	.text : { *(SECTIONS_OF(.text)) } :text
	.fini : { KEEP(*(.fini)) } :text
	PROVIDE(etext = .);
	PROVIDE(_etext = .);

	/* Globals of a page and more, separated by the pass: tracked like the heap. */
	. = PAGE;
	.optmig.data : { *(.data..optmig.*) } :large
	.optmig.bss : { *(.bss..optmig.*) } :large

	/* All others: always dirty, so no store to them is tracked. */
	. = PAGE;
	.data : {
		__optmig_small_start = .;
		*(SECTIONS_OF(.data))
	} :small
	PROVIDE(edata = .);
	PROVIDE(_edata = .);
	.bss : {
		PROVIDE(__bss_start = .);
		*(SECTIONS_OF(.bss))
		*(COMMON)
	} :small
	.small.end (NOLOAD) : {
		__optmig_small_end = .;
		PROVIDE(end = .);
		PROVIDE(_end = .);
	} :small
	ASSERT(. <= APP_END, "code and static data exceed 1.5 GB; allocate large tables when the program runs")

	.note.optmig.image 0 (INFO) : { KEEP(*(.note.optmig.image)) }
	/DISCARD/ : { *(.note.optmig.obj .note.gnu.* .note.GNU-stack .interp .dynamic) }
}
