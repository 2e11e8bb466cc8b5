/* SPDX-License-Identifier: Apache-2.0
 *
 * A chain of blocks in a ring: for each, a new payload is made and hashed, and a nonce is sought with which the
 * header's hash begins with zero bits. An operation is a hash. SHA-256 is here as a load, not to protect anything.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define BLOCK 4096
#define ZERO_BITS 10

struct block {
	uint32_t previous[8], payload_hash[8];
	uint64_t number;
	uint64_t nonce;
	uint8_t spare[16];
	uint8_t payload[BLOCK - 96];
};
_Static_assert(sizeof(struct block) == BLOCK, "a block is a page");

static struct block *ring;
static uint64_t ring_count, mined, wrong;

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static uint32_t constant[64];

/* The fractional parts of the cube roots of the first primes. */
static void constants_init(void)
{
	for (uint32_t n = 2, found = 0; found < 64; n++) {
		bool prime = true;
		for (uint32_t d = 2; d * d <= n; d++)
			prime = prime && n % d;
		if (!prime)
			continue;
		unsigned __int128 cube = (unsigned __int128)n << 96;
		uint64_t root = 0;
		for (int bit = 35; bit >= 0; bit--) {
			unsigned __int128 r = root | 1ull << bit;
			if (r * r * r <= cube)
				root |= 1ull << bit;
		}
		constant[found++] = (uint32_t)root;
	}
}

static inline uint32_t rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void compress(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], k = h[7];

	for (int i = 0; i < 16; i++) {
		memcpy(&w[i], p + 4 * i, 4);
		w[i] = __builtin_bswap32(w[i]);
	}
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
		       (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (int i = 0; i < 64; i++) {
		uint32_t t = k + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
			     constant[i] + w[i];
		uint32_t u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		k = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + u;
	}
	h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += k;
}

static void hash(const void *data, size_t size, uint32_t out[8])
{
	uint8_t last[128] = {0};
	size_t whole = size / 64 * 64, rest = size - whole, end = rest < 56 ? 64 : 128;
	uint64_t bits = __builtin_bswap64(size * 8);

	memcpy(out, start, sizeof(start));
	for (size_t i = 0; i < whole; i += 64)
		compress(out, (const uint8_t *)data + i);
	memcpy(last, (const uint8_t *)data + whole, rest);
	last[rest] = 0x80;
	memcpy(last + end - 8, &bits, 8);
	for (size_t i = 0; i < end; i += 64)
		compress(out, last + i);
}

static void header_hash(const struct block *b, uint32_t out[8])
{
	hash(b, offsetof(struct block, spare), out);
}

static void block_begin(struct block *b, uint64_t number, const struct block *previous)
{
	noise_fill(number, b->payload, sizeof(b->payload));
	if (previous)
		header_hash(previous, b->previous);
	hash(b->payload, sizeof(b->payload), b->payload_hash);
	b->number = number;
	b->nonce = 0;
}

/* The ring is full from the start; only what is mined has the zeros. */
static void prepare(size_t bytes)
{
	constants_init();
	ring_count = bytes / BLOCK;
	ring = room(ring_count * BLOCK);
	for (; mined < ring_count; mined++)
		block_begin(&ring[mined], mined, mined ? &ring[mined - 1] : NULL);
}

static void run(void)
{
	for (;; mined++) {
		struct block *b = &ring[mined % ring_count];
		uint32_t h[8];
		block_begin(b, mined, &ring[(mined - 1) % ring_count]);
		for (;; b->nonce++) {
			header_hash(b, h);
			if (h[0] >> (32 - ZERO_BITS) == 0)
				break;
			if (b->nonce % 32 == 31)
				meter_add(32);
		}
	}
}

/* From the oldest block that is whole: the one being mined is not looked at. */
static uint64_t check(char *text, size_t size)
{
	uint32_t h[8];

	for (uint64_t n = mined - ring_count + 1; n < mined; n++) {
		const struct block *b = &ring[n % ring_count];
		hash(b->payload, sizeof(b->payload), h);
		wrong += b->number != n || memcmp(h, b->payload_hash, sizeof(h));
		if (n == mined - ring_count + 1)
			continue;
		header_hash(&ring[(n - 1) % ring_count], h);
		wrong += memcmp(h, b->previous, sizeof(h)) != 0;
	}
	snprintf(text, size, "%llu blocks, %llu mined", (unsigned long long)ring_count,
		 (unsigned long long)(mined - ring_count));
	return wrong;
}

const struct kernel kernel_blockchain = {"blockchain", prepare, run, check};
