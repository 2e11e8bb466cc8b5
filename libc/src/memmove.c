/* SPDX-License-Identifier: Apache-2.0
 *
 * memcpy and memmove: one function, since every size below REP_SIZE is loaded
 * (nearly) whole before it is stored. Not seen by the pass; marks by hand.
 */
#include <string.h>
#include "libc/src/mem.h"

/* size <= 16; every byte is loaded before one is stored */
static inline __attribute__((always_inline)) void move_tiny(uint8_t *d, const uint8_t *s, size_t size)
{
	if (size >= 8) {
		uint64_t a = AT(u64, s, 0), b = AT(u64, s, size - 8);

		AT(u64, d, 0) = a;
		AT(u64, d, size - 8) = b;
	} else if (size >= 4) {
		uint32_t a = AT(u32, s, 0), b = AT(u32, s, size - 4);

		AT(u32, d, 0) = a;
		AT(u32, d, size - 4) = b;
	} else if (size >= 2) {
		uint16_t a = AT(u16, s, 0), b = AT(u16, s, size - 2);

		AT(u16, d, 0) = a;
		AT(u16, d, size - 2) = b;
	} else {
		*d = *s;
	}
}

/* 16 < size <= 128 */
static inline __attribute__((always_inline)) void move_small(uint8_t *d, const uint8_t *s, size_t size)
{
	v16 head = AT(v16, s, 0), tail = AT(v16, s, size - 16);

	if (size > 32) {
		v16 head2 = AT(v16, s, 16), tail2 = AT(v16, s, size - 32);

		if (size > 64) {
			v16 a = AT(v16, s, 32), b = AT(v16, s, 48);
			v16 c = AT(v16, s, size - 64), e = AT(v16, s, size - 48);

			AT(v16, d, 32) = a;
			AT(v16, d, 48) = b;
			AT(v16, d, size - 64) = c;
			AT(v16, d, size - 48) = e;
		}
		AT(v16, d, 16) = head2;
		AT(v16, d, size - 32) = tail2;
	}
	AT(v16, d, 0) = head;
	AT(v16, d, size - 16) = tail;
}

/* 64 < size, upwards: right unless s < d < s + size. The tail is loaded first, so that
 * a d just below s may overwrite it. */
static void move_up(uint8_t *d, const uint8_t *s, size_t size)
{
	v16 t0 = AT(v16, s, size - 64), t1 = AT(v16, s, size - 48);
	v16 t2 = AT(v16, s, size - 32), t3 = AT(v16, s, size - 16);
	uint8_t *end = d + size;

	/* `rep movsb` crawls when it reads what it wrote a moment ago */
	if (size >= REP_SIZE && (uintptr_t)(s - d) >= 64) {
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(size) : : "memory");
		return;
	}
	for (; size > 64; size -= 64, d += 64, s += 64) {
		v16 a = AT(v16, s, 0), b = AT(v16, s, 16), c = AT(v16, s, 32), e = AT(v16, s, 48);

		AT(v16, d, 0) = a;
		AT(v16, d, 16) = b;
		AT(v16, d, 32) = c;
		AT(v16, d, 48) = e;
	}
	AT(v16, end, -64) = t0;
	AT(v16, end, -48) = t1;
	AT(v16, end, -32) = t2;
	AT(v16, end, -16) = t3;
}

/* The mirror image, for s < d < s + size. */
static void move_down(uint8_t *d, const uint8_t *s, size_t size)
{
	v16 h0 = AT(v16, s, 0), h1 = AT(v16, s, 16), h2 = AT(v16, s, 32), h3 = AT(v16, s, 48);

	for (; size > 64; size -= 64) {
		v16 a = AT(v16, s, size - 16), b = AT(v16, s, size - 32);
		v16 c = AT(v16, s, size - 48), e = AT(v16, s, size - 64);

		AT(v16, d, size - 16) = a;
		AT(v16, d, size - 32) = b;
		AT(v16, d, size - 48) = c;
		AT(v16, d, size - 64) = e;
	}
	AT(v16, d, 0) = h0;
	AT(v16, d, 16) = h1;
	AT(v16, d, 32) = h2;
	AT(v16, d, 48) = h3;
}

/* size > 128. The strips are taken in the order of the bytes; none is shorter than 65 bytes. */
static void move_long(uint8_t *d, const uint8_t *s, size_t size)
{
	int down = (uintptr_t)(d - s) < size;

	while (size) {
		size_t strip = size <= STRIP_SIZE + 64 ? size : STRIP_SIZE;
		size_t offset = down ? size - strip : 0;

		(down ? move_down : move_up)(d + offset, s + offset, strip);
		mark_range(d + offset, strip);
		size -= strip;
		if (!down) {
			d += strip;
			s += strip;
		}
		if (size)
			poll();
	}
}

void *memmove(void *dest, const void *src, size_t size)
{
	if (size <= 16) {
		if (!size)
			return dest;
		move_tiny(dest, src, size);
	} else if (size <= 128) {
		move_small(dest, src, size);
	} else {
		move_long(dest, src, size);
		return dest;
	}
	mark_short(dest, size);
	return dest;
}

void *memcpy(void *restrict, const void *restrict, size_t) __attribute__((alias("memmove")));
