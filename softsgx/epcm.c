/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/epcm.h"

#include <errno.h>
#include "softsgx/sys.h"

static size_t entry_bytes(size_t count)
{
	return count * sizeof(uint32_t);
}

static size_t chunk_bytes(size_t count)
{
	return ((count >> EPCM_CHUNK_SHIFT) + 1) * sizeof(uint16_t);
}

int epcm_create(struct epcm *epcm, size_t page_count)
{
	/* Shared: a forked child works on the same enclave. */
	void *entry = sys_reserve(entry_bytes(page_count), MAP_SHARED);
	void *chunk = sys_reserve(chunk_bytes(page_count), MAP_SHARED);

	epcm->entry = sys_failed(entry) ? NULL : entry;
	epcm->chunk = sys_failed(chunk) ? NULL : chunk;
	epcm->count = page_count;
	if (epcm->entry && epcm->chunk)
		return 0;
	epcm_destroy(epcm);
	*epcm = (struct epcm){0};
	return -ENOMEM;
}

void epcm_destroy(const struct epcm *epcm)
{
	if (epcm->entry)
		SYS(SYS_munmap, epcm->entry, entry_bytes(epcm->count));
	if (epcm->chunk)
		SYS(SYS_munmap, epcm->chunk, chunk_bytes(epcm->count));
}

size_t epcm_used(const struct epcm *epcm)
{
	size_t used = 0;

	for (size_t i = 0; epcm->chunk && i <= epcm->count >> EPCM_CHUNK_SHIFT; i++)
		used += epcm->chunk[i];
	return used;
}
