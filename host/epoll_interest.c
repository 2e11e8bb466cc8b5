/* SPDX-License-Identifier: Apache-2.0 */
#include "host/epoll_interest.h"

#include <errno.h>
#include <stdio.h>

int epoll_interest_each(int epoll_fd, int (*visit)(void *context, const struct epoll_interest *interest),
			void *context)
{
	char line[256];
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", epoll_fd);
	FILE *f = fopen(line, "re");
	if (!f)
		return -errno;
	int r = 0;
	while (!r && fgets(line, sizeof(line), f)) {
		int host_fd;
		unsigned events;
		unsigned long long data;
		if (sscanf(line, "tfd: %d events: %x data: %llx", &host_fd, &events, &data) != 3)
			continue;
		struct epoll_interest interest = {host_fd, {.events = events, .data.u64 = data}};
		r = visit(context, &interest);
	}
	fclose(f);
	return r;
}
