/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/platform.h"

#include <stdlib.h>
#include <sys/sysinfo.h>

int platform_has_sgx2(void)
{
	static int has = -1;

	if (has < 0)
		has = !getenv("SOFTSGX_SGX1");
	return has;
}

uint64_t platform_attributes(void)
{
	return SGX_ATTR_INIT | SGX_ATTR_DEBUG | SGX_ATTR_MODE64BIT | SGX_ATTR_PROVISIONKEY |
	       SGX_ATTR_EINITTOKENKEY | SGX_ATTR_KSS | (platform_has_sgx2() ? SGX_ATTR_AEXNOTIFY : 0);
}

uint64_t platform_xfrm(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low & 0x2e7u;
}

static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t size = strtoull(text, &end, 0);

	switch (*end) {
	case 'G':
	case 'g':
		return size << 30;
	case 'M':
	case 'm':
		return size << 20;
	case 'K':
	case 'k':
		return size << 10;
	default:
		return size;
	}
}

uint64_t platform_epc_size(void)
{
	static uint64_t size;
	const char *setting;
	struct sysinfo info;

	if (size)
		return size;
	setting = getenv("SOFTSGX_EPC");
	if (setting)
		size = parse_size(setting) & ~0xfffull;
	if (!size && !sysinfo(&info))
		size = ((uint64_t)info.totalram * info.mem_unit / 2) & ~0xfffull;
	return size;
}

uint64_t platform_epc_limit(void)
{
	const char *setting = getenv("SOFTSGX_LIMIT");

	return setting ? parse_size(setting) : UINT64_MAX;
}
