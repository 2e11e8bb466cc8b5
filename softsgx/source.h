/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory that ADD_PAGES takes pages from: what kind it is, without touching
 * it.
 */
#ifndef SOFTSGX_SOURCE_H
#define SOFTSGX_SOURCE_H

#include <stddef.h>
#include <stdint.h>

struct source {
	uint64_t end;	    /* of the mapping that covers the address; 0 if it could not be learnt */
	uint64_t untouched; /* for the caller: known to be zeros up to here */
	uint8_t noexec;	    /* from a file system mounted so: code in it must not be run */
	uint8_t anonymous;  /* private memory without a file: zeros where it was never written */
};

/* 0 or -EFAULT where nothing is mapped. */
int source_look(uint64_t address, struct source *out);
/* Bytes from address on, at most size, that are surely zero because nobody ever wrote them; for anonymous
 * memory. */
size_t source_untouched(uint64_t address, size_t size);

#endif
