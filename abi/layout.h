/* SPDX-License-Identifier: Apache-2.0
 *
 * Where everything lies inside an enclave. Compiled on both sides of the trust
 * border, into the compiler pass, the linker script and assembly: constants only.
 *
 * ELRANGE starts at address 0 (the first 64 KiB are never mapped), so every
 * fixed structure has a 32-bit address and a mark is one store with an absolute
 * displacement. All of the application's image lies in the low 2 GiB.
 *
 *   0x00010000  config page (measured, read-only)            struct image_config
 *   0x00100000  runtime text, rodata, data, bss              private, never moved
 *   0x04000000  thread slots: TCS, SSA, record, stacks       private, never moved
 *   0x0c000000  runtime heap (migration buffers)             private, never moved
 *   0x0f800000  what runs the program outside an enclave    in the file only, never loaded into an enclave
 *   0x0ffff000  stop word                                    private, never moved
 *   0x10000000  marks, one byte per page of ELRANGE          private, never moved
 *   0x14000000  page states, one byte per page of ELRANGE    private, never moved
 *   0x20000000  application image                            moved
 *   0x80000000  application heap                             moved
 *
 * An incompatible change raises ABI_VERSION (abi/image.h).
 */
#ifndef ABI_LAYOUT_H
#define ABI_LAYOUT_H

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096

#define ELRANGE_BASE 0x0
#define ELRANGE_SIZE_MAX 0x2000000000 /* 128 GiB: what marks and page states cover */

#define CONFIG_BASE 0x00010000

#define RUNTIME_BASE 0x00100000 /* also OENTRY of every TCS */
#define RUNTIME_END 0x04000000

#define THREADS_BASE 0x04000000
#define THREAD_STRIDE 0x40000
#define THREAD_SLOTS_MAX 512
#define THREAD_SLOTS_SERVICE 8 /* slots 0..7 enter for the host's service calls, the rest run the application */
/* offsets in a slot; what is not named is never mapped (guards) */
#define THREAD_TCS 0x0
#define THREAD_SSA 0x1000
#define THREAD_SSA_FRAMES 3 /* of one page each */
#define THREAD_RECORD 0x4000 /* FS and GS base at entry */
#define THREAD_FAULT_STACK 0x6000
#define THREAD_FAULT_STACK_END 0xa000
#define THREAD_STACK 0xb000
#define THREAD_STACK_END 0x1f000

#define RTHEAP_BASE 0x0c000000
#define RTHEAP_END 0x0f000000

/* Entry point and system calls for running the file as an ordinary program. */
#define OUTSIDE_BASE 0x0f800000
#define OUTSIDE_END 0x0f900000

#define STOP_WORD 0x0ffff000 /* one page; byte 0 is tested by every safepoint */
#define TRACK_WORD (STOP_WORD + 1) /* a byte; nothing is marked while it is 0 */

#define MARKS_BASE 0x10000000
#define MARKS_SIZE 0x02000000
#define MARKS_MASK 0x01ffffff /* index = (address >> PAGE_SHIFT) & MARKS_MASK */

#define PAGESTATE_BASE 0x14000000
#define PAGESTATE_SIZE 0x02000000

#define APP_BASE 0x20000000
#define APP_END 0x80000000
#define HEAP_BASE 0x80000000

#endif
