/* SPDX-License-Identifier: Apache-2.0
 *
 * A growable byte buffer to write records into, and a bounded cursor to read
 * them back. Both keep the first error: writers and parsers read like the
 * record they describe and look once, at the end. Numbers are little-endian.
 * What a reader reads may come from anybody.
 */
#ifndef HOST_BYTES_H
#define HOST_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t size;
	size_t capacity;
	int error; /* 0 or -ENOMEM: nothing was appended since */
};

void bytes_free(struct bytes *b);  /* leaves an empty, usable buffer */
void bytes_clear(struct bytes *b); /* keeps the memory */
/* size more bytes, uninitialised; NULL when memory is short (b->error is set). */
uint8_t *bytes_extend(struct bytes *b, size_t size);
void bytes_put(struct bytes *b, const void *data, size_t size);
void bytes_put_u8(struct bytes *b, uint8_t value);
void bytes_put_u32(struct bytes *b, uint32_t value);
void bytes_put_u64(struct bytes *b, uint64_t value);
/* u32 size, then the data. */
void bytes_put_block(struct bytes *b, const void *data, size_t size);
void bytes_put_string(struct bytes *b, const char *s);

struct reader {
	const uint8_t *data;
	size_t left;
	int error; /* 0, -EBADMSG or -ENOMEM: everything read since is zero */
};

struct reader reader_of(const void *data, size_t size);
/* The next size bytes in place; NULL if there are not so many. */
const uint8_t *reader_take(struct reader *r, size_t size);
void reader_get(struct reader *r, void *out, size_t size);
uint8_t reader_u8(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* A block in place. *size is 0 on error. */
const uint8_t *reader_block(struct reader *r, size_t *size);
/* Allocated, NUL terminated; NULL on error, on an inner NUL, and above max characters. */
char *reader_string(struct reader *r, size_t max);
/* A count of items that take at least item_size bytes each: more than fit are an error. */
uint32_t reader_count(struct reader *r, size_t item_size);

#endif
