/* SPDX-License-Identifier: Apache-2.0
 *
 * How much memory this process could still get, as far as the kernel tells.
 */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdint.h>

/* Bytes: what the machine has available, swap included, or the least that a memory control group above this process leaves
 * (version 1 and 2), whichever is less. UINT64_MAX if it cannot be told. An estimate, and a moment's. Thread-safe. */
uint64_t memory_room(void);

#endif
