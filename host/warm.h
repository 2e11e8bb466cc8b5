/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that the kernel will fill while a program stands still, found before.
 */
#ifndef HOST_WARM_H
#define HOST_WARM_H

#include <stddef.h>

/* size bytes for free(), all of them written to by the kernel; NULL if memory is short. Where what the kernel writes goes
 * by page tables of its own (a guest with page-table isolation whose tables are shadowed), to have written there oneself
 * saves it little: 2.8 of 4 ms a MB. Of huge pages where there are any. */
void *warm_memory(size_t size);

#endif
