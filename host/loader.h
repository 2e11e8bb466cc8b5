/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds an enclave from an image: ECREATE, its pages, the mappings, EINIT. The
 * mappings cover the whole regions where the enclave will ask for pages later.
 */
#ifndef HOST_LOADER_H
#define HOST_LOADER_H

#include "host/device.h"
#include "host/image.h"

/* What is mapped, to take it away again: nothing else in the low addresses is ours. */
struct loader_map {
	struct image_range *range;
	size_t count;
};

/* image: derived with image_derive_signed(). On failure nothing stays mapped. */
int loader_build(struct device *device, const struct image *image, struct loader_map *map,
		 struct failure *why);
/* Takes all mappings away; threads that are inside fault out. */
void loader_unmap(struct device *device, struct loader_map *map);

#endif
