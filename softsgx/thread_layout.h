/* SPDX-License-Identifier: Apache-2.0
 *
 * Offsets that entry.S and thread.h share; thread.h asserts them.
 */
#ifndef SOFTSGX_THREAD_LAYOUT_H
#define SOFTSGX_THREAD_LAYOUT_H

/* A thread's slot: a guard page, its alternate signal stack, its record in the last page. */
#define SLOT_SIZE 0x10000
#define SLOT_RECORD 0xf000
#define SLOT_STACK 0x1000
#define SLOTS_MAX 4096

#define T_INSIDE 0
#define T_SELECTOR 4
#define T_HOST_FS 8
#define T_HOST_GS 16
#define T_ENCLAVE_FS 24
#define T_ENCLAVE_GS 32
#define T_READY_GENERATION 40
#define T_READY_TCS 48
#define T_READY_VIEW 56
#define T_READY_GPR 64
#define T_READY_ENTRY 72
#define T_READY_FS 80
#define T_READY_GS 88
#define T_READY_COUNTER 96
#define T_READY_CSSA 104

#define TCS_CSSA 24
#define TCS_AEP 40
#define GPR_URSP 144
#define GPR_URBP 152

#define RUN_TCS 0
#define RUN_FUNCTION 8
#define RUN_VECTOR 12
#define RUN_ERROR_CODE 14
#define RUN_ADDRESS 16
#define RUN_HANDLER 24
#define RUN_RESERVED 40
#define RUN_END 256

#endif
