/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the processor cannot make CPUID fault: the CPUID instructions of the
 * program, and of libraries that look as if they had to do with SGX, become UD2,
 * which is as long and traps. Bytes are changed only where walking the function
 * they are in, which the table for unwinding names, arrives at an instruction.
 */
#ifndef SOFTSGX_PATCH_H
#define SOFTSGX_PATCH_H

#include <stdint.h>

/* Number of instructions changed, or -errno. Once, before the program runs. */
int patch_cpuid(void);
/* Was there a CPUID at this address? */
int patch_is_cpuid(uint64_t address);

#endif
