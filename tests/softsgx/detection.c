/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that looks for SGX before it uses it: CPUID, /proc/cpuinfo, the size
 * of the EPC, the nodes' names.
 */
#include "tests/softsgx/harness.h"

#include <cpuid.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	unsigned int eax, ebx, ecx, edx;
	char line[8192];
	struct stat st;
	FILE *file;
	int found = 0, fd;

	CHECK_EQ(access(SGX_DEVICE_ENCLAVE, R_OK | W_OK), 0);
	CHECK_EQ(stat(SGX_DEVICE_PROVISION, &st), 0);
	CHECK(S_ISCHR(st.st_mode));
	fd = open(SGX_DEVICE_ENCLAVE, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(open("/dev/sgx_vepc_", O_RDWR), -1);

	file = fopen("/proc/cpuinfo", "r");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "flags", 5))
			found = strstr(line, " sgx ") && strstr(line, " sgx_lc ") && strstr(line, " sgx2\n");
	fclose(file);
	CHECK(found);

	__cpuid(0, eax, ebx, ecx, edx);
	CHECK(eax >= 0x12);
	__cpuid_count(7, 0, eax, ebx, ecx, edx);
	if (!(ebx & 4)) {
		printf("CPUID cannot be answered here\n");
		return 77;
	}
	CHECK(ecx & (1u << 30));
	__cpuid_count(0x12, 0, eax, ebx, ecx, edx);
	CHECK_EQ(eax & 3, 3);
	CHECK_EQ(ebx & 1, 1);
	CHECK((edx >> 8 & 0xff) >= 36);
	__cpuid_count(0x12, 1, eax, ebx, ecx, edx);
	CHECK_EQ(eax & 6, 6);
	CHECK_EQ(ecx & 3, 3);
	__cpuid_count(0x12, 2, eax, ebx, ecx, edx);
	CHECK_EQ(eax & 15, 1);
	CHECK(((uint64_t)(edx & 0xfffff) << 32 | (ecx & ~0xfffu)) >= 1 << 20);
	__cpuid_count(0x12, 3, eax, ebx, ecx, edx);
	CHECK_EQ(eax & 15, 0);
	return 0;
}
