/* SPDX-License-Identifier: Apache-2.0 */
#include "host/fdinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int read_lock(const char *line, struct fdinfo *out)
{
	char kind[16], mode[16], end[32];
	int64_t start;
	if (sscanf(line, "lock: %*[^:]: %15s %*s %15s %*s %*s %" SCNd64 " %31s", kind, mode, &start, end) !=
	    4)
		return -EBADMSG;
	if (out->lock_count == FDINFO_LOCKS_MAX)
		return -E2BIG;
	int64_t last = 0;
	bool to_end = sscanf(end, "%" SCNd64, &last) != 1;
	out->lock[out->lock_count++] = (struct fdinfo_lock){
	    .kind = kind[0], .write = mode[0] == 'W', .start = start, .size = to_end ? 0 : last - start + 1};
	return 0;
}

static void read_line(const char *line, struct fdinfo *out)
{
	long long seconds, nanoseconds;
	if (sscanf(line, "pos: %" SCNu64, &out->offset) == 1 ||
	    sscanf(line, "flags: %" SCNo32, &out->flags) == 1 ||
	    sscanf(line, "eventfd-count: %" SCNx64, &out->eventfd_count) == 1 ||
	    sscanf(line, "clockid: %d", &out->clock) == 1 ||
	    sscanf(line, "ticks: %" SCNu64, &out->timer_ticks) == 1 ||
	    sscanf(line, "settime flags: %" SCNo32, &out->timer_flags) == 1)
		return;
	if (sscanf(line, "it_value: (%lld, %lld)", &seconds, &nanoseconds) == 2)
		out->timer.it_value = (struct timespec){seconds, nanoseconds};
	else if (sscanf(line, "it_interval: (%lld, %lld)", &seconds, &nanoseconds) == 2)
		out->timer.it_interval = (struct timespec){seconds, nanoseconds};
}

int fdinfo_read(int fd, struct fdinfo *out)
{
	char path[64], text[16384];
	memset(out, 0, offsetof(struct fdinfo, lock));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	int info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	size_t size = 0;
	ssize_t got;
	while (size < sizeof(text) - 1 && (got = read(info, text + size, sizeof(text) - 1 - size)) > 0)
		size += (size_t)got;
	close(info);
	text[size] = 0;

	char *rest, *line = strtok_r(text, "\n", &rest);
	int r = 0;
	for (; line && !r; line = strtok_r(NULL, "\n", &rest)) {
		if (strncmp(line, "lock:", 5) == 0)
			r = read_lock(line, out);
		else
			read_line(line, out);
	}
	return r;
}
