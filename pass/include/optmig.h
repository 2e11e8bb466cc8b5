/* SPDX-License-Identifier: Apache-2.0
 *
 * For programs that write memory in a way the compiler pass cannot see (inline
 * assembly through a pointer). Found by optmig-cc without any option; plain
 * compilers define nothing here, so guard its use with __OPTMIG__.
 */
#ifndef OPTMIG_H
#define OPTMIG_H

#include <stddef.h>

/*
 * Says that [start, start + size) was written, after it was. The pass accepts
 * an inline assembly statement that stores through a pointer if the next
 * statement is a call of this for every byte it may have written.
 */
void __optmig_mark(const void *start, size_t size);

#endif
