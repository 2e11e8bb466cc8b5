/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/platform.h"

#include <stdlib.h>
#include <sys/sysinfo.h>

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
