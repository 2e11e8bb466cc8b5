/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the processor cannot make CPUID fault: the CPUID instructions of the
 * program itself become UD2, which is as long and traps. Found by walking the
 * program's .text from its start; a program in which that goes astray is left
 * alone.
 */
#ifndef SOFTSGX_PATCH_H
#define SOFTSGX_PATCH_H

#include <stdint.h>

/* Number of instructions changed, or -errno. Once, before the program runs. */
int patch_cpuid(void);
/* Was there a CPUID at this address? */
int patch_is_cpuid(uint64_t address);

#endif
