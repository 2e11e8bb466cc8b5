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

#endif
