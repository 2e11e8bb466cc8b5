/* SPDX-License-Identifier: Apache-2.0
 *
 * An image by what it measures to, in a directory. Untrusted side.
 */
#ifndef MIGRATE_IMAGE_FIND_H
#define MIGRATE_IMAGE_FIND_H

#include <stddef.h>
#include <stdint.h>
#include "host/failure.h"

/* The path of a signed image in dir whose SIGSTRUCT names that MRENCLAVE. -ENOENT; -EEXIST if there are several by
 * different signers, or some for debugging and some not: they are not the same to each other. */
int image_find(const char *dir, const uint8_t mrenclave[static 32], char *path, size_t size,
	       struct failure *why);

#endif
