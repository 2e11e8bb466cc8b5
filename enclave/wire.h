/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded cursors for what is handed over: overruns are remembered, never made.
 */
#ifndef ENCLAVE_WIRE_H
#define ENCLAVE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "enclave/rt.h"

struct writer {
	uint8_t *base;
	size_t capacity;
	size_t used; /* may pass capacity: then nothing more was written and the export failed */
};

static inline void put_bytes(struct writer *w, const void *data, size_t size)
{
	if (w->used <= w->capacity && size <= w->capacity - w->used)
		memcpy(w->base + w->used, data, size);
	w->used += size;
}

static inline void put_u64(struct writer *w, uint64_t value)
{
	put_bytes(w, &value, sizeof value);
}

/* Arrays that are mostly zero: of 64 blocks each a bitmap, then those that are not. Where a writer only counts, all: it is
 * the most they can come to. */
#define SPARSE_BLOCK 64u

static inline size_t sparse_block(size_t size, size_t at)
{
	return size - at < SPARSE_BLOCK ? size - at : SPARSE_BLOCK;
}

static inline bool sparse_is_zero(const uint8_t *p, size_t size)
{
	uint8_t any = 0;
	for (size_t i = 0; i < size; i++)
		any |= p[i];
	return !any;
}

static inline void put_sparse(struct writer *w, const void *data, size_t size)
{
	const uint8_t *p = data;
	for (size_t start = 0; start < size; start += 64 * SPARSE_BLOCK) {
		size_t bits_at = w->used;
		uint64_t bits = 0;
		put_u64(w, 0);
		for (size_t i = 0, at = start; i < 64 && at < size; i++, at += SPARSE_BLOCK) {
			size_t part = sparse_block(size, at);
			if (w->capacity && sparse_is_zero(p + at, part))
				continue;
			bits |= 1ull << i;
			put_bytes(w, p + at, part);
		}
		if (w->used <= w->capacity)
			memcpy(w->base + bits_at, &bits, sizeof bits);
	}
}

struct reader {
	const uint8_t *base;
	size_t size;
	size_t used;
	bool bad; /* something was missing: all that was read is zero */
};

static inline void get_bytes(struct reader *r, void *data, size_t size)
{
	if (r->bad || size > r->size - r->used) {
		r->bad = true;
		memset(data, 0, size);
		return;
	}
	memcpy(data, r->base + r->used, size);
	r->used += size;
}

static inline uint64_t get_u64(struct reader *r)
{
	uint64_t value;
	get_bytes(r, &value, sizeof value);
	return value;
}

static inline void get_sparse(struct reader *r, void *data, size_t size)
{
	uint8_t *p = data;
	memset(p, 0, size);
	for (size_t start = 0; start < size; start += 64 * SPARSE_BLOCK) {
		uint64_t bits = get_u64(r);
		for (size_t at = start; bits && at < size; bits >>= 1, at += SPARSE_BLOCK)
			if (bits & 1)
				get_bytes(r, p + at, sparse_block(size, at));
		r->bad |= size - start < 64 * SPARSE_BLOCK && bits != 0;
	}
}

#endif
