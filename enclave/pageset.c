/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/pageset.h"
#include <errno.h>
#include "enclave/mm.h"

void pageset_limit(struct pageset *s, uint64_t end_page)
{
	/* whole chunks of the memory map */
	s->block_end = (end_page + CHUNK_PAGES - 1) / CHUNK_PAGES * (CHUNK_PAGES / 64);
}

int pageset_init(struct pageset *s, uint64_t end_page)
{
	pageset_limit(s, end_page);
	s->size = pageset_words(s) * sizeof(uint64_t);
	s->word = rt_pages_alloc(s->size);
	if (!s->word)
		return -ENOMEM;
	pageset_clear(s);
	return 0;
}

void pageset_free(struct pageset *s)
{
	if (s->word)
		rt_pages_free(s->word, s->size);
	memset(s, 0, sizeof(*s));
}

void pageset_clear(struct pageset *s)
{
	memset(s->word, 0, pageset_words(s) * sizeof(uint64_t));
}

uint64_t pageset_count(const struct pageset *s)
{
	uint64_t count = 0;
	for (size_t i = 0; i < pageset_words(s); i++)
		count += (uint64_t)__builtin_popcountll(s->word[i]);
	return count;
}
