/* SPDX-License-Identifier: Apache-2.0
 *
 * Lengths of x86-64 instructions, to walk over compiled code.
 */
#ifndef SOFTSGX_DECODE_H
#define SOFTSGX_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the instruction at code, or 0 if it is none or longer than size. */
size_t decode_length(const uint8_t *code, size_t size);

#endif
