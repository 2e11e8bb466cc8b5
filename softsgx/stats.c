/* SPDX-License-Identifier: Apache-2.0
 *
 * SOFTSGX_STATS: one line of JSON per enclave when it is destroyed or the
 * program ends, with the time that real hardware would have taken for the same
 * operations (SOFTSGX_COST changes the figures; docs/softsgx.md says where they
 * are from).
 */
#include "softsgx/stats.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cost {
	const char *name;
	size_t counter; /* offset in struct softsgx_stats */
	double ns;
} costs[] = {
#define LEAF(n) offsetof(struct softsgx_stats, leaf) + (n) * sizeof(uint64_t)
    {"ereport", LEAF(SGX_EREPORT), 6000},
    {"egetkey", LEAF(SGX_EGETKEY), 6000},
    {"eenter", LEAF(SGX_EENTER), 1300},
    {"eresume", LEAF(SGX_ERESUME), 1300},
    {"eexit", LEAF(SGX_EEXIT), 1100},
    {"eaccept", LEAF(SGX_EACCEPT), 1000},
    {"emodpe", LEAF(SGX_EMODPE), 1000},
    {"eacceptcopy", LEAF(SGX_EACCEPTCOPY), 1500},
    {"everifyreport2", LEAF(SGX_EVERIFYREPORT2), 6000},
    {"edeccssa", LEAF(SGX_EDECCSSA), 500},
    {"aex", offsetof(struct softsgx_stats, aex), 1300},
    {"eaug", offsetof(struct softsgx_stats, eaug), 1500},
    {"fault", offsetof(struct softsgx_stats, faults), 3100},
    {"eadd", offsetof(struct softsgx_stats, eadd), 2000},
    {"ioctl", offsetof(struct softsgx_stats, ioctls), 500},
    {"shootdown", offsetof(struct softsgx_stats, shootdowns), 3000},
};
#define COST_COUNT (sizeof(costs) / sizeof(costs[0]))

static uint64_t counter(const struct softsgx_stats *stats, const struct cost *cost)
{
	uint64_t value;

	memcpy(&value, (const char *)stats + cost->counter, sizeof(value));
	return value;
}

/* name=ns,name=ns */
static void read_costs(const char *setting)
{
	while (setting && *setting) {
		size_t length = strcspn(setting, "=");

		for (size_t i = 0; i < COST_COUNT && setting[length]; i++)
			if (strlen(costs[i].name) == length && !memcmp(costs[i].name, setting, length))
				costs[i].ns = strtod(setting + length + 1, NULL);
		setting += strcspn(setting, ",");
		setting += *setting == ',';
	}
}

double softsgx_projected_us(const struct softsgx_stats *stats)
{
	double ns = 0;

	read_costs(getenv("SOFTSGX_COST"));
	for (size_t i = 0; i < COST_COUNT; i++)
		ns += (double)counter(stats, &costs[i]) * costs[i].ns;
	return ns / 1000;
}

void stats_write(const struct enclave *e)
{
	const char *path = getenv("SOFTSGX_STATS");
	char line[2048];
	int length;
	long fd;

	if (!path || !*path)
		return;
	length = snprintf(line, sizeof(line), "{\"pid\":%ld,\"mrenclave\":\"", SYS(SYS_getpid));
	for (int i = 0; i < 32; i++)
		length +=
		    snprintf(line + length, sizeof(line) - (size_t)length, "%02x", e->secs.mrenclave[i]);
	length += snprintf(line + length, sizeof(line) - (size_t)length, "\"");
	for (size_t i = 0; i < COST_COUNT; i++) {
		uint64_t value = counter(&e->stats, &costs[i]);

		length += snprintf(line + length, sizeof(line) - (size_t)length, ",\"%s\":%llu",
				   costs[i].name, (unsigned long long)value);
	}
	length += snprintf(line + length, sizeof(line) - (size_t)length,
			   ",\"projected_us\":%.1f}\n", softsgx_projected_us(&e->stats));
	fd = SYS(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	SYS(SYS_write, fd, line, length);
	SYS(SYS_close, fd);
}
