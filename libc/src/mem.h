/* SPDX-License-Identifier: Apache-2.0
 *
 * What memcpy, memmove and memset share: unaligned loads and stores that the
 * compiler turns into single instructions, and the sizes at which the work is cut.
 */
#ifndef LIBC_MEM_H
#define LIBC_MEM_H

#include <stddef.h>
#include <stdint.h>
#include "libc/src/track.h"

/* Longest stretch between two polls, and the size from which `rep` is worth its start-up. */
#define STRIP_SIZE ((size_t)64 << 10)
#define REP_SIZE ((size_t)1024)

typedef uint16_t u16 __attribute__((aligned(1), may_alias));
typedef uint32_t u32 __attribute__((aligned(1), may_alias));
typedef uint64_t u64 __attribute__((aligned(1), may_alias));
typedef long long v16 __attribute__((vector_size(16), aligned(1), may_alias));

#define AT(type, base, offset) (*(type *)((uint8_t *)(base) + (offset)))

#endif
