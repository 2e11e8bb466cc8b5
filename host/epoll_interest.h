/* SPDX-License-Identifier: Apache-2.0
 *
 * What an epoll descriptor waits for, asked of the kernel (/proc/self/fdinfo),
 * which alone knows which one-shot interests have fired.
 */
#ifndef HOST_EPOLL_INTEREST_H
#define HOST_EPOLL_INTEREST_H

#include <sys/epoll.h>

struct epoll_interest {
	int host_fd; /* it was added by */
	struct epoll_event event;
};

/* Calls visit for each interest until it returns non-zero. Returns that, 0, or -errno. */
int epoll_interest_each(int epoll_fd, int (*visit)(void *context, const struct epoll_interest *interest),
			void *context);

#endif
