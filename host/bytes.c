/* SPDX-License-Identifier: Apache-2.0 */
#include "host/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

void bytes_clear(struct bytes *b)
{
	b->size = 0;
	b->error = 0;
}

uint8_t *bytes_extend(struct bytes *b, size_t size)
{
	if (b->error)
		return NULL;
	if (!b->data || b->capacity - b->size < size) {
		size_t capacity = b->capacity ? b->capacity * 2 : 4096;
		if (capacity < b->size + size)
			capacity = b->size + size;
		uint8_t *data = realloc(b->data, capacity);
		if (!data) {
			b->error = -ENOMEM;
			return NULL;
		}
		b->data = data;
		b->capacity = capacity;
	}
	uint8_t *p = b->data + b->size;
	b->size += size;
	return p;
}

void bytes_put(struct bytes *b, const void *data, size_t size)
{
	uint8_t *p = bytes_extend(b, size);
	if (p && size)
		memcpy(p, data, size);
}

void bytes_put_u8(struct bytes *b, uint8_t value)
{
	bytes_put(b, &value, 1);
}

void bytes_put_u32(struct bytes *b, uint32_t value)
{
	bytes_put(b, &value, sizeof(value));
}

void bytes_put_u64(struct bytes *b, uint64_t value)
{
	bytes_put(b, &value, sizeof(value));
}

void bytes_put_block(struct bytes *b, const void *data, size_t size)
{
	bytes_put_u32(b, (uint32_t)size);
	bytes_put(b, data, size);
}

void bytes_put_string(struct bytes *b, const char *s)
{
	bytes_put_block(b, s, strlen(s));
}

struct reader reader_of(const void *data, size_t size)
{
	return (struct reader){.data = data, .left = size};
}

const uint8_t *reader_take(struct reader *r, size_t size)
{
	if (!r->error && size > r->left)
		r->error = -EBADMSG;
	if (r->error)
		return NULL;
	const uint8_t *p = r->data;
	r->data += size;
	r->left -= size;
	return p;
}

void reader_get(struct reader *r, void *out, size_t size)
{
	const uint8_t *p = reader_take(r, size);
	if (p)
		memcpy(out, p, size);
	else
		memset(out, 0, size);
}

uint8_t reader_u8(struct reader *r)
{
	uint8_t value;
	reader_get(r, &value, sizeof(value));
	return value;
}

uint32_t reader_u32(struct reader *r)
{
	uint32_t value;
	reader_get(r, &value, sizeof(value));
	return value;
}

uint64_t reader_u64(struct reader *r)
{
	uint64_t value;
	reader_get(r, &value, sizeof(value));
	return value;
}

const uint8_t *reader_block(struct reader *r, size_t *size)
{
	uint32_t n = reader_u32(r);
	const uint8_t *p = reader_take(r, n);
	*size = p ? n : 0;
	return p;
}

char *reader_string(struct reader *r, size_t max)
{
	size_t size;
	const uint8_t *p = reader_block(r, &size);
	if (!p)
		return NULL;
	if (size > max || memchr(p, 0, size)) {
		r->error = -EBADMSG;
		return NULL;
	}
	char *s = malloc(size + 1);
	if (!s) {
		r->error = -ENOMEM;
		return NULL;
	}
	memcpy(s, p, size);
	s[size] = 0;
	return s;
}

uint32_t reader_count(struct reader *r, size_t item_size)
{
	uint32_t count = reader_u32(r);
	if (!r->error && count > r->left / item_size)
		r->error = -EBADMSG;
	return r->error ? 0 : count;
}
