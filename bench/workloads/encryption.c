/* SPDX-License-Identifier: Apache-2.0
 *
 * A file is encrypted over and over into an archive in memory, 64 KB at a time, each time under another nonce.
 * The file is bench.input in the working directory. An operation is a page. The stream cipher (ChaCha20, RFC 8439)
 * is here as a load, not to protect anything.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define CHUNK 65536
#define LANES 8 /* blocks side by side, so that the compiler takes vector registers */

static uint8_t *archive;
static uint64_t *written; /* of each chunk: the number it was written as, and so its nonce and its place in the file */
static uint64_t chunk_count, next, wrong;
static uint64_t file_chunks;
static int file;

static void quarter(uint32_t s[16][LANES], int a, int b, int c, int d)
{
	for (int i = 0; i < LANES; i++) {
		uint32_t t;
		s[a][i] += s[b][i], t = s[d][i] ^ s[a][i], s[d][i] = t << 16 | t >> 16;
		s[c][i] += s[d][i], t = s[b][i] ^ s[c][i], s[b][i] = t << 12 | t >> 20;
		s[a][i] += s[b][i], t = s[d][i] ^ s[a][i], s[d][i] = t << 8 | t >> 24;
		s[c][i] += s[d][i], t = s[b][i] ^ s[c][i], s[b][i] = t << 7 | t >> 25;
	}
}

/* in and out may be the same */
static void cipher(uint64_t nonce, const uint8_t *in, uint8_t *out)
{
	static const uint32_t words[12] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, 1, 2, 3, 4, 5, 6, 7, 8};

	for (uint32_t block = 0; block < CHUNK / 64; block += LANES) {
		uint32_t begin[16][LANES], s[16][LANES];
		for (int w = 0; w < 16; w++)
			for (uint32_t i = 0; i < LANES; i++)
				begin[w][i] = w < 12 ? words[w] : w == 12 ? block + i : (uint32_t)(nonce >> (w - 13) * 32 % 64);
		memcpy(s, begin, sizeof(s));
		for (int round = 0; round < 10; round++) {
			quarter(s, 0, 4, 8, 12), quarter(s, 1, 5, 9, 13), quarter(s, 2, 6, 10, 14), quarter(s, 3, 7, 11, 15);
			quarter(s, 0, 5, 10, 15), quarter(s, 1, 6, 11, 12), quarter(s, 2, 7, 8, 13), quarter(s, 3, 4, 9, 14);
		}
		for (uint32_t i = 0; i < LANES; i++)
			for (uint32_t w = 0; w < 16; w++) {
				size_t at = (block + i) * 64 + w * 4;
				uint32_t x;
				memcpy(&x, in + at, 4);
				x ^= s[w][i] + begin[w][i];
				memcpy(out + at, &x, 4);
			}
	}
}

static void chunk_read(uint64_t number, uint8_t *out)
{
	if (pread(file, out, CHUNK, (off_t)(number % file_chunks * CHUNK)) != CHUNK) {
		perror("bench.input");
		exit(1);
	}
}

static void chunk_write(void)
{
	static uint8_t plain[CHUNK];
	uint64_t slot = next % chunk_count;

	chunk_read(next, plain);
	cipher(next, plain, archive + slot * CHUNK);
	written[slot] = next++;
}

static void prepare(size_t bytes)
{
	struct stat is;

	file = open("bench.input", O_RDONLY);
	if (file < 0 || fstat(file, &is) || is.st_size < CHUNK) {
		perror("bench.input");
		exit(1);
	}
	file_chunks = (uint64_t)is.st_size / CHUNK;
	chunk_count = bytes / CHUNK;
	archive = room(chunk_count * CHUNK);
	written = room(chunk_count * sizeof(*written));
	while (next < chunk_count)
		chunk_write();
}

static void run(void)
{
	for (;;) {
		chunk_write();
		meter_add(CHUNK / 4096);
	}
}

static uint64_t check(char *text, size_t size)
{
	static uint8_t plain[CHUNK], decrypted[CHUNK];

	for (uint64_t slot = 0; slot < chunk_count; slot++) {
		chunk_read(written[slot], plain);
		cipher(written[slot], archive + slot * CHUNK, decrypted);
		wrong += memcmp(plain, decrypted, CHUNK) != 0;
	}
	snprintf(text, size, "%llu chunks, %llu encrypted", (unsigned long long)chunk_count, (unsigned long long)next);
	return wrong;
}

const struct kernel kernel_encryption = {"encryption", prepare, run, check};
