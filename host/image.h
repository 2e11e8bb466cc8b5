/* SPDX-License-Identifier: Apache-2.0
 *
 * An image file as an enclave: its ELF checked, its configuration page derived,
 * its pages listed. `optmig sign` measures the list and the loader adds it, so
 * both see one layout. The file is hostile input here too: whoever signs or runs
 * an image need not have linked it. No device and no key in here.
 *
 *   image_elf.c    the file's bytes -> segments and note, every offset checked
 *   image.c        segments and options -> struct image_config
 *   image_pages.c  segments and configuration -> runs of pages
 */
#ifndef HOST_IMAGE_H
#define HOST_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/image.h"
#include "abi/layout.h"
#include "host/failure.h"
#include "host/measure.h"

#define IMAGE_SEGMENTS_MAX 32
#define IMAGE_FILE_SIZE_MAX (1ull << 31)

/* One PT_LOAD (or PT_GNU_RELRO, which has no bytes of its own). Addresses are not page aligned. */
struct image_segment {
	uint64_t start, end;
	uint64_t file_offset, file_size;
	uint64_t flags; /* SGX_SECINFO_R, W, X */
};

/* Neighbouring pages that are added alike. */
struct image_run {
	uint64_t start;
	uint64_t count;		/* pages */
	uint64_t flags;		/* SECINFO */
	const uint8_t *content; /* page aligned; NULL: all zero */
	bool measured;
};

/* What `optmig sign` may choose. */
struct image_options {
	uint64_t heap_size;
	uint64_t heap_static;
	uint64_t stack_size;
	uint32_t thread_count;
	uint32_t flags; /* IMAGE_FLAG_* */
	uint64_t xfrm;
};

struct image {
	/* from the file */
	uint8_t *file;
	size_t file_size;
	struct image_segment segment[IMAGE_SEGMENTS_MAX]; /* ascending, no page in two of them */
	unsigned segment_count;
	struct image_segment relro[IMAGE_SEGMENTS_MAX];
	unsigned relro_count;
	uint64_t entry;
	uint64_t phdr;
	uint32_t phdr_count;
	uint64_t tls_size;
	size_t note_offset;	/* of the descriptor, in file */
	struct image_note note; /* a copy of it */

	/* derived */
	struct image_config config;
	struct image_run *run; /* ascending */
	size_t run_count, run_capacity;
	uint8_t *page_buffer; /* what runs' contents point into */
	size_t page_buffer_size;
};

/* Reads and checks the file; nothing is derived yet. -ESTALE for an image of another ABI, -EINVAL or -ENOEXEC
 * for a bad one, or the error of open or read. */
int image_open(const char *path, struct image *image, struct failure *why);
/* The same from memory: takes over file (from malloc), also when it fails. */
int image_parse(uint8_t *file, size_t file_size, struct image *image, struct failure *why);
void image_close(struct image *image);

/* Derives .config and the runs. */
int image_derive(struct image *image, const struct image_options *options, struct failure *why);
/* The same with the options the image was signed with; -EINVAL unless it gives what was signed. */
int image_derive_signed(struct image *image, struct failure *why);

/* The SECS to create the enclave with; debug sets its DEBUG attribute. */
void image_secs(const struct image *image, bool debug, struct sgx_secs *secs);
void image_measure(const struct image *image, uint8_t mrenclave[static MRENCLAVE_SIZE]);

/* image_pages.c, called by image_derive(). */
int image_pages_list(struct image *image, struct failure *why);
/* image_elf.c: permissions of one page of a segment: read-only where PT_GNU_RELRO says so. */
uint64_t image_page_flags(const struct image *image, const struct image_segment *segment, uint64_t page);

static inline uint64_t page_down(uint64_t address)
{
	return address & ~(uint64_t)(PAGE_SIZE - 1);
}

static inline uint64_t page_up(uint64_t address)
{
	return page_down(address + PAGE_SIZE - 1);
}

#endif
