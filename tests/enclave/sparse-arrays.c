/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: enclave/wire.h. Arrays of the state that are mostly zero arrive as they were, in less; what is too short for
 * them, or names blocks that they do not have, is refused.
 */
#include <string.h>
#include "enclave/wire.h"
#include "tests/check.h"

#define SIZE (64 * SPARSE_BLOCK + 3 * SPARSE_BLOCK + 8)

static uint8_t array[SIZE], copy[SIZE], text[2 * SIZE];

static size_t put(void)
{
	struct writer w = {text, sizeof(text), 0};
	put_sparse(&w, array, SIZE);
	return w.used;
}

static bool arrives(size_t size)
{
	struct reader r = {text, size, 0, false};
	memset(copy, 0xaa, SIZE);
	get_sparse(&r, copy, SIZE);
	return !r.bad && r.used == size && memcmp(array, copy, SIZE) == 0;
}

int main(void)
{
	struct writer none = {text, 0, 0};
	put_sparse(&none, array, SIZE);
	size_t most = none.used;
	CHECK(put() == 2 * sizeof(uint64_t) && arrives(put()));
	/* any byte, also the last ones, which are no whole block */
	for (size_t at = 0; at < SIZE; at++) {
		array[at] = 1;
		size_t size = put();
		CHECK(size <= 2 * sizeof(uint64_t) + SPARSE_BLOCK && arrives(size) && !arrives(size - 1));
		array[at] = 0;
	}
	memset(array, 7, SIZE);
	CHECK(put() == most && arrives(most));
	/* no room: told, and nothing behind it is touched */
	struct writer small = {text, 100, 0};
	memset(text, 0x55, sizeof(text));
	put_sparse(&small, array, SIZE);
	CHECK(small.used == most);
	for (size_t i = 100; i < sizeof(text); i++)
		CHECK(text[i] == 0x55);
	/* a block past the end of the second part */
	memset(array, 0, SIZE);
	put();
	text[sizeof(uint64_t)] = 1 << 4;
	CHECK(!arrives(2 * sizeof(uint64_t)));
	return 0;
}
