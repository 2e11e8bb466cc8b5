/* SPDX-License-Identifier: Apache-2.0
 *
 * An image by what it measures to, in a directory. Untrusted side.
 */
#ifndef MIGRATE_IMAGE_FIND_H
#define MIGRATE_IMAGE_FIND_H

#include <stddef.h>
#include <stdint.h>
#include "host/failure.h"

/* The path of the first signed image in dir whose SIGSTRUCT names that MRENCLAVE. -ENOENT. */
int image_find(const char *dir, const uint8_t mrenclave[static 32], char *path, size_t size,
	       struct failure *why);

#endif
