/* SPDX-License-Identifier: Apache-2.0
 *
 * CPUID as a machine with SGX answers it, where the processor lets CPUID fault;
 * and the files that say the same.
 */
#ifndef SOFTSGX_CPUID_H
#define SOFTSGX_CPUID_H

#include <stdint.h>

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

/* Makes CPUID trap in this thread and those it makes; 0 or -errno. */
int cpuid_fault_start(void);
void cpuid_fault_stop(void);
/* Is it us who make CPUID trap? */
int cpuid_faults(void);

/* The simulated machine's answer. */
struct cpuid cpuid_answer(uint32_t leaf, uint32_t subleaf);

uint64_t cpuid_epc_size(void);
/* Descriptors of memory files, or -1. */
int cpuid_cpuinfo(void);
int cpuid_epc_size_file(void);

#endif
