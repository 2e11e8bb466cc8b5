/* SPDX-License-Identifier: Apache-2.0
 *
 * memset. Not seen by the pass; marks by hand.
 */
#include <string.h>
#include "libc/src/mem.h"

/* size <= 128 */
static inline __attribute__((always_inline)) void set_small(uint8_t *d, uint64_t pattern, size_t size)
{
	v16 wide = {(long long)pattern, (long long)pattern};

	if (size >= 16) {
		if (size > 64) {
			AT(v16, d, 32) = wide;
			AT(v16, d, 48) = wide;
			AT(v16, d, size - 64) = wide;
			AT(v16, d, size - 48) = wide;
		}
		if (size > 32) {
			AT(v16, d, 16) = wide;
			AT(v16, d, size - 32) = wide;
		}
		AT(v16, d, 0) = wide;
		AT(v16, d, size - 16) = wide;
	} else if (size >= 8) {
		AT(u64, d, 0) = pattern;
		AT(u64, d, size - 8) = pattern;
	} else if (size >= 4) {
		AT(u32, d, 0) = (uint32_t)pattern;
		AT(u32, d, size - 4) = (uint32_t)pattern;
	} else if (size >= 2) {
		AT(u16, d, 0) = (uint16_t)pattern;
		AT(u16, d, size - 2) = (uint16_t)pattern;
	} else {
		*d = (uint8_t)pattern;
	}
}

/* size > 64 */
static void set_strip(uint8_t *d, uint64_t pattern, size_t size)
{
	v16 wide = {(long long)pattern, (long long)pattern};
	uint8_t *end = d + size;

	if (size >= REP_SIZE) {
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(pattern) : "memory");
		return;
	}
	for (; size > 64; size -= 64, d += 64)
		for (int i = 0; i < 64; i += 16)
			AT(v16, d, i) = wide;
	for (int i = -64; i < 0; i += 16)
		AT(v16, end, i) = wide;
}

void *memset(void *dest, int c, size_t size)
{
	uint64_t pattern = (uint8_t)c * 0x0101010101010101u;
	uint8_t *d = dest;

	if (size <= 128) {
		if (size) {
			set_small(d, pattern, size);
			mark_short(d, size);
		}
		return dest;
	}
	while (size) {
		size_t strip = size <= STRIP_SIZE + 64 ? size : STRIP_SIZE;

		set_strip(d, pattern, strip);
		mark_range(d, strip);
		d += strip;
		size -= strip;
		if (size)
			poll();
	}
	return dest;
}
