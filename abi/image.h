/* SPDX-License-Identifier: Apache-2.0
 *
 * A signed image: an ELF executable (ET_EXEC, linked by optmig-cc) whose
 * section .note.optmig.image holds one ELF note (name "OptMig", type
 * IMAGE_NOTE_TYPE) with a struct image_note as its descriptor. optmig-cc fills
 * .link, `optmig sign` the rest. The section is not loaded and not measured;
 * .config is, as the page at CONFIG_BASE.
 */
#ifndef ABI_IMAGE_H
#define ABI_IMAGE_H

#include <stdint.h>
#include "sgx/arch.h"

/* Of all that abi/ holds. To be raised with every change after which a host and a runtime, one of before it and one
 * of after, do not understand each other. */
#define ABI_VERSION 10

#define IMAGE_NOTE_SECTION ".note.optmig.image"
#define IMAGE_NOTE_NAME "OptMig" /* namesz 7, padded to 8 */
#define IMAGE_NOTE_TYPE 1
#define IMAGE_MAGIC 0x47494d54504f5845ull
#define IMAGE_RANGES_MAX 8

/* What is known at link (pass/image-note.c). First and as it is in every version, so that .abi can be read. */
struct image_link {
	uint64_t small_start; /* globals under a page: always counted dirty */
	uint64_t small_end;
	uint64_t entry; /* the application's first instruction; e_entry is the one for running outside an enclave */
	uint64_t abi;   /* ABI_VERSION of the runtime that is in the image */
	uint64_t reserved[4];
};

struct image_range {
	uint64_t start; /* page aligned */
	uint64_t end;
};

#define IMAGE_FLAG_PRODUCTION 1u /* refuses DEBUG peers and software evidence */

/* The measured page at CONFIG_BASE. Everything the runtime may believe about its own shape. */
struct image_config {
	uint64_t magic;
	uint32_t abi; /* ABI_VERSION */
	uint32_t flags;
	uint64_t elrange_size;
	uint64_t heap_base;
	uint64_t heap_size;   /* bytes; pages are added on demand after ... */
	uint64_t heap_static; /* ... this many bytes, which are added at load */
	uint64_t stack_size;  /* of the main thread; taken from the heap */
	uint32_t thread_count; /* application threads at one time */
	uint32_t slot_count;   /* thread_count + THREAD_SLOTS_SERVICE */
	uint64_t xfrm;
	uint64_t entry; /* the application's first instruction */
	uint64_t phdr;  /* address of its program headers, for AT_PHDR */
	uint32_t phdr_count;
	uint32_t range_count;
	struct image_range range[IMAGE_RANGES_MAX]; /* writable application segments, from ELF */
	struct image_range small;                   /* within them: always dirty */
	uint64_t tls_size;                          /* PT_TLS p_memsz, rounded up to its alignment */
};

struct image_note {
	struct image_link link;
	struct image_config config;
	struct sgx_sigstruct sigstruct;
	uint32_t signed_flag; /* 1 once signed */
	uint32_t reserved[15];
};

#endif
