/* SPDX-License-Identifier: Apache-2.0
 *
 * Tracking by hand, for the few files of libc/src that the pass does not see.
 * Same rules as the pass: mark after the store, nothing pending at a poll.
 */
#ifndef LIBC_TRACK_H
#define LIBC_TRACK_H

#include <stddef.h>
#include <stdint.h>
#include "abi/layout.h"

#define MARKS ((volatile uint8_t *)MARKS_BASE)

/* Is there anybody who wants to know? To be asked after the store. */
static inline __attribute__((always_inline)) int tracked(void)
{
	return __builtin_expect(*(volatile uint8_t *)TRACK_WORD, 0);
}

static inline __attribute__((always_inline)) void mark_page(uintptr_t address)
{
	__atomic_store_n(&MARKS[(address >> PAGE_SHIFT) & MARKS_MASK], 1, __ATOMIC_RELEASE);
}

/* At most one page boundary lies between the first and the last byte. */
static inline __attribute__((always_inline)) void mark_short(const void *start, size_t size)
{
	__asm__ volatile("" : : : "memory");
	if (!tracked())
		return;
	mark_page((uintptr_t)start);
	mark_page((uintptr_t)start + size - 1);
}

static inline __attribute__((always_inline)) void mark_range(const void *start, size_t size)
{
	__asm__ volatile("" : : : "memory");
	if (!tracked())
		return;
	uintptr_t page = (uintptr_t)start >> PAGE_SHIFT;
	uintptr_t last = ((uintptr_t)start + size - 1) >> PAGE_SHIFT;

	for (; page <= last; page++)
		__atomic_store_n(&MARKS[page & MARKS_MASK], 1, __ATOMIC_RELEASE);
}

/* The stub saves every register, so the compiler need not know that this is a call;
 * the red zone is kept out of its way. */
static inline __attribute__((always_inline)) void poll(void)
{
	__asm__ volatile("cmpb $0, %c0\n\t"
			 "je 1f\n\t"
			 "lea -128(%%rsp), %%rsp\n\t"
			 "call __optmig_safepoint\n\t"
			 "lea 128(%%rsp), %%rsp\n"
			 "1:"
			 :
			 : "i"(STOP_WORD)
			 : "memory", "cc");
}

#endif
