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
	memset(s->word, 0, s->size);
	return 0;
}

void pageset_free(struct pageset *s)
{
	if (s->word)
		rt_pages_free(s->word, s->size);
	memset(s, 0, sizeof(*s));
}
