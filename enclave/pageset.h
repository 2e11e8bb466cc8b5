/* SPDX-License-Identifier: Apache-2.0
 *
 * A set of application pages: one bit a page, one word a block of
 * RECORD_BLOCK_PAGES. Blocks belong to streams, so two streams never touch the
 * same word and no word needs a lock. Trusted side only.
 */
#ifndef ENCLAVE_PAGESET_H
#define ENCLAVE_PAGESET_H

#include <stdint.h>
#include "abi/migrate.h"
#include "enclave/rt.h"

_Static_assert(RECORD_BLOCK_PAGES == 64, "a block is one word");
#define PAGESET_FIRST (APP_BASE >> PAGE_SHIFT)
_Static_assert(PAGESET_FIRST % 64 == 0, "blocks are aligned");

struct pageset {
	uint64_t *word; /* block b of the enclave is word[b - PAGESET_FIRST / 64] */
	size_t size;
	uint64_t block_end; /* no page of this block or behind it is in the set, so nobody looks there */
};

/* Room for pages below end_page; none is in it. -ENOMEM. */
int pageset_init(struct pageset *s, uint64_t end_page);
/* Pages from end_page on are not looked at until it is raised. */
void pageset_limit(struct pageset *s, uint64_t end_page);
void pageset_free(struct pageset *s);

static inline size_t pageset_words(const struct pageset *s)
{
	return s->block_end - PAGESET_FIRST / 64;
}

static inline uint64_t *pageset_block(const struct pageset *s, uint64_t block)
{
	return &s->word[block - PAGESET_FIRST / 64];
}

static inline void pageset_add(struct pageset *s, uint64_t page)
{
	*pageset_block(s, page / 64) |= 1ull << (page % 64);
}

#endif
