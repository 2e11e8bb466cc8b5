/* SPDX-License-Identifier: Apache-2.0
 *
 * The trusted runtime's own interfaces. Never included by host code. Nothing
 * here uses the application's libc, heap or stacks; no lock is held while
 * application memory is touched.
 */
#ifndef ENCLAVE_RT_H
#define ENCLAVE_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/layout.h"
#include "abi/call.h"
#include "abi/image.h"

#define CONFIG ((const struct image_config *)CONFIG_BASE)

/* ---- border (border.c): every look at host memory goes through these ---- */
/* True if [addr, addr+size) lies wholly outside ELRANGE and in the user half: may be the host's. */
bool host_range_ok(uint64_t addr, uint64_t size);
/* Copies in or out. The range must have passed host_range_ok(). */
void host_copy_in(void *dst, uint64_t u_src, size_t size);
void host_copy_out(uint64_t u_dst, const void *src, size_t size);

/* ---- random (rtlib.c): RDRAND; never fails (stops the enclave if the hardware does) ---- */
void rt_random(void *out, size_t size);
_Noreturn void rt_die(enum fatal why, const char *text);
/* Private heap for buffers: pages at RTHEAP_BASE, added when asked for. Page-granular; freed memory is wiped. */
void *rt_pages_alloc(size_t size);
void rt_pages_free(void *p, size_t size);
void rt_wipe(void *p, size_t size);
int rt_memcmp_ct(const void *a, const void *b, size_t size); /* constant time; 0 if equal */
uint64_t clock_mono_ns(void); /* the enclave's CLOCK_MONOTONIC */

/* ---- memory (mm.c): the page-state table ---- */
#define PG_ACCEPTED 1u /* exists (valid, accepted) */
#define PG_MAPPED 2u   /* belongs to a live mapping of the application */
#define PG_NOACCESS 4u /* PROT_NONE */
#define PG_READONLY 8u /* PROT_READ: kept, not enforced */
#define PG_IMAGE 16u   /* part of the image's writable segments */
#define PG_DEFERRED 64u /* lives, but its content is still elsewhere; 32 is mm_private.h's */
/* Page index = address >> PAGE_SHIFT. A page is live when ACCEPTED and MAPPED: only live pages are sent. */
uint8_t mm_state(uint64_t page);
/* First live page at or after page, below end; end if none. Skips fast over empty stretches. */
uint64_t mm_next_live(uint64_t page, uint64_t end);
/* Application pages lie in [APP_BASE, mm_end()). */
uint64_t mm_end_page(void);
/* None of them from here on exists or is mapped. Never goes down. */
uint64_t mm_used_end(void);
/* Is this a page a peer may write (writable application image or heap, not runtime, not code)? */
bool mm_movable(uint64_t page);
/* The map (mm_carry.c): protections, which pages live, allocator state; of the chunks that changed since the last
 * time, or of all once mm_export_all() was called. live: a bit for each page from APP_BASE on, told anew for these
 * chunks; anew: a bit for each 64 pages, set where live was told. Returns bytes, or -ENOSPC: the next one tells all. */
void mm_export_all(void);
long mm_export(uint8_t *out, size_t capacity, uint64_t *live, uint64_t *anew);
/* Destination. Checks everything, then applies. -EBADMSG on malformed input (nothing changed). Pages that live
 * there and do not exist here are deferred from now on. */
int mm_import(const uint8_t *in, size_t size);

/* Code and constants are touched once, page by page: what runs first in the switch does not meet a page for the first
 * time there, each at the price of an exception. */
void mm_touch_image(void);
/* Destination, before anything runs: the page has this content (a whole, aligned page of private memory; NULL: zeros).
 * It comes into being with it if it did not exist. */
int mm_install(uint64_t page, const void *content);
/* The page exists, with whatever is in it. */
int mm_make_room(uint64_t page);
/* The page exists no more: its host has trimmed it, and here it agrees. It is deferred from now on. */
int mm_take_out(uint64_t page);
/* While the application runs: content of a deferred page. 1: in place, 0: not wanted (any more). */
int mm_arrive(uint64_t page, const void *content);
/* How many pages are deferred. */
uint64_t mm_deferred(void);

/* ---- marks (marks.c) ---- */
void marks_set(uint64_t addr, uint64_t size);      /* after the runtime wrote application memory */
/* Takes (clears, by atomic exchange) marks of [page, page+count) and ORs them into bitmap (bit 0 = page).
 * Returns how many were set. The exchange is a full fence: pages may be read right after. */
uint64_t marks_take(uint64_t page, uint64_t count, uint64_t *bitmap);
/* Which pages of the chunk that begins with this page are marked: a word for each 64 of them, and in the answer a bit for
 * each of these words that is not 0; words of those that are may be left as they were. The marks stay, and one that
 * arrives after the look is seen by the next. */
uint64_t marks_look(uint64_t page, uint64_t pages[static 64]);
/* As if everything that exists had been written. */
void marks_set_all(void);

/* ---- tracking on and off (park.c) ---- */
/* The application marks only while a move wants to know. Marks are complete from when this returns 0: no
 * thread is left in code that began before. Else how many are; to be called again. */
unsigned tracking_begin(void);
void tracking_end(void);

/* ---- stopping (park.c) ---- */
/* All application threads to their safepoints. stop_begin sets the stop word; stop_pending says how many
 * threads are not parked yet (0: all parked; the host must have kicked blocked ones). */
void stop_begin(void);
unsigned stop_pending(void);
void stop_undo(void); /* before commit only: threads go on once the host unparks them */
/* parked -> committed, one compare-and-swap; after it stop_undo() is refused and no thread ever runs here
 * again. -EBUSY if not all parked, -EALREADY if committed before. */
int stop_commit(void);
/* Takes a commit back: only on the destination's authenticated word that it never began. */
int stop_uncommit(void);
/* The stacks' live parts, TLS, small globals: calls add(first_page, count) for each always-dirty range. Parked only. */
void stop_always_dirty(void (*add)(void *ctx, uint64_t page, uint64_t count), void *ctx);
/* Thread records, futex/clock/signal/brk state. Parked only. Returns bytes or -ENOSPC. */
long state_export(uint8_t *out, size_t capacity);
/* Upper bounds of what state_export and mm_export need. */
size_t state_export_max(void);
size_t mm_export_max(void);
/* Destination, before any thread ran: the state is authentic. -EBADMSG: part of it may be applied, and nothing
 * may run. */
int state_import(const uint8_t *in, size_t size);
/* Bitmap of slots that state_import filled: bit i = slot i; out has THREAD_SLOTS_MAX / 8 bytes. */
void state_slots(uint8_t *out);
/* Destination: imported threads may run (they still wait in OCALL_PARK until the host unparks them). */
void state_go(void);
/* True while a fresh destination: loaded, not started. */
bool state_is_fresh(void);
/* Marks this fresh enclave as a destination: SERVICE_START is refused from now on, slots park when entered. */
int state_become_destination(void);

/* ---- service calls (service.c dispatches; migrator.c answers ops >= SERVICE_MIGRATE_FIRST) ---- */
/* call is a private copy; in/out ranges are checked to be the host's. Runs on a service slot. */
int migrate_service(struct service_call *call);

/* ---- string functions for everything in the runtime (rtlib.c) ---- */
void *memcpy(void *restrict, const void *restrict, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
int memcmp(const void *, const void *, size_t);
size_t strlen(const char *);

#endif
