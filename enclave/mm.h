/* SPDX-License-Identifier: Apache-2.0
 *
 * The application's memory: which pages exist, which it has mapped. One state
 * byte a page (PG_* in rt.h), changed by atomic operations, so the fault handler
 * needs no lock. Marks and states of 16 MiB share a chunk: one page each.
 */
#ifndef ENCLAVE_MM_H
#define ENCLAVE_MM_H

#include "enclave/rt.h"

#define CHUNK_PAGES PAGE_SIZE

void mm_init(void);
/* Do marks and states of this page's chunk exist? Without them no page of it does. */
bool mm_chunk_ready(uint64_t page);
/* Fault at addr. 0: the page exists now. -EEXIST: it did already. -EBUSY: another thread is bringing it in.
 * -EINPROGRESS: its content is still to come from elsewhere. -EFAULT: the application has no right to it.
 * -ENOMEM: the host has no page. */
int mm_fault(uint64_t addr);
/* A fault at addr with this error code (the processor's): does the image allow the access, and is the page one that
 * nobody but the host takes away? */
bool mm_fault_is_strange(uint64_t addr, uint32_t code);
/* Is [addr, addr+size) mapped memory of the application? For pointers the application passes. */
bool mm_app_range(uint64_t addr, uint64_t size);
/* Likewise, mapped or not: an address that cannot be the runtime's. */
bool mm_app_span(uint64_t addr, uint64_t size);

/* System calls; addresses or -errno. */
int64_t mm_mmap(uint64_t addr, uint64_t size, int prot, int flags);
int64_t mm_munmap(uint64_t addr, uint64_t size);
int64_t mm_mprotect(uint64_t addr, uint64_t size, int prot);
int64_t mm_mremap(uint64_t old, uint64_t old_size, uint64_t new_size, int flags, uint64_t new_addr);
int64_t mm_madvise(uint64_t addr, uint64_t size, int advice);
int64_t mm_brk(uint64_t addr);
void mm_counts(uint64_t *accepted, uint64_t *mapped);

#endif
