/* SPDX-License-Identifier: Apache-2.0 */
#include "host/memory.h"
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The number behind the line's first word in a file like /proc/meminfo. */
static bool field(const char *path, const char *key, uint64_t *value)
{
	char line[256];
	size_t length = strlen(key);
	bool found = false;
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strncmp(line, key, length) == 0 && sscanf(line + length, " %" SCNu64, value) == 1;
	if (f)
		fclose(f);
	return found;
}

static uint64_t less(uint64_t from, uint64_t by)
{
	return from > by ? from - by : 0;
}

static const struct hierarchy {
	const char *controllers; /* as in /proc/self/cgroup */
	const char *root, *limit, *usage, *cached;
} hierarchies[] = {
    {"", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "},
    {"memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
};

/* What a group leaves. Files that are cached and not in use give way. No limit, or no such group here: all. */
static uint64_t group_room(const struct hierarchy *h, const char *group)
{
	char path[PATH_MAX];
	uint64_t limit, usage, cached = 0;
	snprintf(path, sizeof(path), "%s%s/%s", h->root, group, h->limit);
	if (!field(path, "", &limit))
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%s%s/%s", h->root, group, h->usage);
	if (!field(path, "", &usage))
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%s%s/memory.stat", h->root, group);
	field(path, h->cached, &cached);
	return less(limit, less(usage, cached));
}

/* A group's limit binds all groups below it, too. Changes the path. */
static uint64_t line_room(const struct hierarchy *h, char *group)
{
	uint64_t room = group_room(h, group);
	for (char *end; (end = strrchr(group, '/'));) {
		*end = '\0';
		uint64_t above = group_room(h, group);
		room = above < room ? above : room;
	}
	return room;
}

static uint64_t groups_room(void)
{
	char line[PATH_MAX + 64];
	uint64_t room = UINT64_MAX;
	FILE *f = fopen("/proc/self/cgroup", "re");
	/* number:controllers:/path */
	while (f && fgets(line, sizeof(line), f)) {
		char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!group)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		for (unsigned i = 0; i < sizeof(hierarchies) / sizeof(hierarchies[0]); i++) {
			if (strcmp(hierarchies[i].controllers, controllers + 1))
				continue;
			uint64_t here = line_room(&hierarchies[i], group);
			room = here < room ? here : room;
		}
	}
	if (f)
		fclose(f);
	return room;
}

uint64_t memory_room(void)
{
	uint64_t available, swap_kb = 0, room = groups_room();
	field("/proc/meminfo", "SwapFree:", &swap_kb);
	if (field("/proc/meminfo", "MemAvailable:", &available) && available * 1024 < room)
		room = available * 1024;
	return room == UINT64_MAX ? room : room + swap_kb * 1024;
}
