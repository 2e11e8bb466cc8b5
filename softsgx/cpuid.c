/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/cpuid.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include "sgx/arch.h"
#include "softsgx/platform.h"
#include "softsgx/sys.h"

#ifndef ARCH_SET_CPUID
#define ARCH_SET_CPUID 0x1012
#endif
#define EPC_BASE 0x4000000000ull /* where the pretended EPC lies */

static int faulting;

int cpuid_faults(void)
{
	return faulting;
}

int cpuid_fault_start(void)
{
	int error = (int)SYS(SYS_arch_prctl, ARCH_SET_CPUID, 0);

	faulting = !error;
	return error;
}

void cpuid_fault_stop(void)
{
	faulting = 0;
	SYS(SYS_arch_prctl, ARCH_SET_CPUID, 1);
}

static struct cpuid real_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid c;

	if (faulting)
		SYS(SYS_arch_prctl, ARCH_SET_CPUID, 1);
	__asm__ volatile("cpuid"
			 : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
			 : "a"(leaf), "c"(subleaf));
	if (faulting)
		SYS(SYS_arch_prctl, ARCH_SET_CPUID, 0);
	return c;
}

uint64_t cpuid_epc_size(void)
{
	return platform_epc_size();
}

static struct cpuid sgx_leaf(uint32_t subleaf)
{
	uint64_t size = cpuid_epc_size();

	switch (subleaf) {
	case 0: /* SGX1, SGX2, EVERIFYREPORT2, EDECCSSA; EXINFO; largest enclaves */
		return (struct cpuid){platform_has_sgx2() ? 1u | 1u << 1 | 1u << 7 | 1u << 11 : 1u,
				      SGX_MISC_EXINFO, 0, PLATFORM_SIZE_LOG2_32 | PLATFORM_SIZE_LOG2 << 8};
	case 1:
		return (struct cpuid){(uint32_t)(platform_attributes() & ~SGX_ATTR_INIT), 0,
				      (uint32_t)platform_xfrm(), 0};
	case 2:
		return (struct cpuid){(uint32_t)EPC_BASE | 1, (uint32_t)(EPC_BASE >> 32), (uint32_t)size | 1,
				      (uint32_t)(size >> 32)};
	default:
		return (struct cpuid){0};
	}
}

struct cpuid cpuid_answer(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid c;

	if (leaf == 0x12)
		return sgx_leaf(subleaf);
	c = real_cpuid(leaf, subleaf);
	if (leaf == 0 && c.eax < 0x12)
		c.eax = 0x12;
	if (leaf == 7 && subleaf == 0) {
		c.ebx |= 1u << 2;
		c.ecx |= 1u << 30;
	}
	return c;
}

static int memory_file(void)
{
	return (int)SYS(SYS_memfd_create, "softsgx", MFD_CLOEXEC);
}

static void put(int fd, const char *text, size_t size)
{
	SYS(SYS_write, fd, text, size);
}

int cpuid_cpuinfo(void)
{
	static const char extra[] = " sgx sgx_lc sgx1 sgx2";
	const size_t extra_size = sizeof(extra) - (platform_has_sgx2() ? 1 : sizeof(" sgx2"));
	long from = SYS(SYS_openat, AT_FDCWD, "/proc/cpuinfo", O_RDONLY | O_CLOEXEC, 0);
	int to = memory_file(), in_flags = 0, matched = 0;
	char buffer[4096];
	long got;

	if (from < 0 || to < 0)
		return -1;
	/* A line that begins with "flags" gets the words at its end. */
	while ((got = SYS(SYS_read, from, buffer, sizeof(buffer))) > 0) {
		long start = 0;

		for (long i = 0; i < got; i++) {
			if (buffer[i] == '\n') {
				if (in_flags) {
					put(to, buffer + start, (size_t)(i - start));
					put(to, extra, extra_size);
					start = i;
				}
				in_flags = matched = 0;
			} else if (matched >= 0) {
				matched = buffer[i] == "flags"[matched] ? matched + 1 : -1;
				if (matched == 5) {
					in_flags = 1;
					matched = -1;
				}
			}
		}
		put(to, buffer + start, (size_t)(got - start));
	}
	SYS(SYS_close, from);
	SYS(SYS_lseek, to, 0, SEEK_SET);
	return to;
}

int cpuid_epc_size_file(void)
{
	char text[32];
	int to = memory_file(),
	    size = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)cpuid_epc_size());

	if (to < 0)
		return -1;
	put(to, text, (size_t)size);
	SYS(SYS_lseek, to, 0, SEEK_SET);
	return to;
}
