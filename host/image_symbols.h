/* SPDX-License-Identifier: Apache-2.0
 *
 * Names for messages, from an image's symbol table. The file is hostile input, and
 * what it says is believed by nobody but a reader.
 */
#ifndef HOST_IMAGE_SYMBOLS_H
#define HOST_IMAGE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "host/image.h"

/* The function that address is in, of an image that image_open() took. False if it tells none (it is stripped). What is not a
 * letter, digit, '_', '.' or '$' becomes '?'. */
bool image_function(const struct image *image, uint64_t address, char *name, size_t size);

#endif
