/* SPDX-License-Identifier: Apache-2.0
 *
 * The process's mappings of enclaves, and what an access to them does: the
 * kernel's and the processor's part of a page fault. Each enclave has one sparse
 * backing file. What the program maps is that file under a userfaultfd that
 * answers absent pages with SIGBUS, so that every page's first touch (and every
 * touch the EPCM forbids) comes to us without one VMA per page.
 *
 * Lock order: enclave, then mm.
 */
#ifndef SOFTSGX_MM_H
#define SOFTSGX_MM_H

#include "softsgx/enclave.h"

struct vma {
	uint64_t start;
	uint64_t end;
	int prot;
	struct enclave *enclave;
};

/* What an access asks for; values are the page-fault code's bits. */
enum mm_access { ACCESS_READ = 0, ACCESS_WRITE = SGX_PF_W, ACCESS_FETCH = SGX_PF_I };
static inline enum mm_access mm_access_of(uint32_t error)
{
	return error & SGX_PF_I ? ACCESS_FETCH : error & SGX_PF_W ? ACCESS_WRITE : ACCESS_READ;
}

/* Page-fault code of a failed access; 0 is success. A kernel answers with SIGBUS instead of SIGSEGV
 * where MM_BUS is set; SEGV_ACCERR instead of SEGV_MAPERR where MM_MAPPED is. */
#define MM_CODE_MASK 0xffffu
#define MM_BUS 0x80000000u
#define MM_MAPPED 0x40000000u

/* Where an address was found. */
struct mm_page {
	struct enclave *enclave;
	struct vma vma;
	size_t index;
};

/* Changes whenever a mapping or a page that an entry relies on may have gone. */
extern uint64_t softsgx_generation;
static inline void mm_generation_bump(void)
{
	__atomic_fetch_add(&softsgx_generation, 1, __ATOMIC_SEQ_CST);
}

/* Process-wide set-up; 0 or -errno. */
int mm_init(void);
/* In a forked child: its copies of the mappings trap again. */
void mm_forked(void);
/* Makes this process's way to trap absent pages of a fresh enclave. */
int mm_attach(struct enclave *e);
void mm_detach(struct enclave *e);
/* The enclave got its range: earlier mappings of its descriptor become real. */
int mm_created(struct enclave *e);
int mm_maps(const struct enclave *e); /* is anything of it mapped? */

/* The mapping that covers address, copied out. 1 if there is one. */
int mm_find(uint64_t address, struct vma *out);
/* Is any part of the range ours? For callers that have signals on. */
int mm_overlaps(uint64_t start, uint64_t end);

void *mm_map(struct enclave *e, void *addr, size_t size, int prot, int flags);
int mm_protect(uint64_t start, uint64_t end, int prot);
int mm_unmap(uint64_t start, uint64_t end);
/* The program put something else there with MAP_FIXED. */
void mm_forget(uint64_t start, uint64_t end);

/* With the enclave locked: the kernel's part of an access (adds pages on demand), */
uint32_t mm_present(struct enclave *e, uint64_t address, enum mm_access access, struct mm_page *page);
/* ... and the processor's check on top, for code inside. */
uint32_t mm_access(struct enclave *e, uint64_t address, enum mm_access access, struct mm_page *page);
/* Gives the program's own instructions access, as far as mapping and EPCM agree. */
int mm_install(const struct mm_page *page);
/* The same with content, for a page that has none and is to be REG with these rights. The enclave need not be locked.
 * Fails, and changes nothing, if there is something, or if only mm_install() can do it. */
int mm_install_copy(const struct mm_page *page, int rights, const uint8_t *from);
/* All of these for a fault inside, the enclave not locked: 0, or the code it fails with. */
uint32_t mm_fault(struct enclave *e, uint64_t address, enum mm_access access);
/* Takes it away again from pages [first, first + count). */
void mm_zap(struct enclave *e, size_t first, size_t count);
/* Gives a page's place in the mapping the program's own rights back. */
void mm_widen(struct enclave *e, size_t index);
/* Drops the contents as well. */
void mm_discard(struct enclave *e, size_t first, size_t count);

/* Covers a page with one that reads as ones, and uncovers it. */
int mm_shade(const struct mm_page *page);
void mm_unshade(uint64_t address);

/* EPC accounting over all enclaves: 0 or -ENOMEM. */
int mm_epc_charge(size_t pages);
void mm_epc_release(size_t pages);

int mm_userfaultfd(const struct enclave *e);
/* The first mapping that ends above address. 1 if there is one. */
int mm_next(uint64_t address, struct vma *out);
/* From now on pages come write-protected in a way that the kernel lifts and remembers. Signals are off, the
 * enclave is locked. */
int mm_watch_writes(struct enclave *e, uint64_t start, uint64_t end);

#endif
