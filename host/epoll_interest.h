/* SPDX-License-Identifier: Apache-2.0
 *
 * What an epoll descriptor waits for, asked of the kernel (/proc/self/fdinfo),
 * which alone knows which one-shot interests have fired.
 */
#ifndef HOST_EPOLL_INTEREST_H
#define HOST_EPOLL_INTEREST_H

#include <sys/epoll.h>

/* Calls visit for each interest with the host descriptor it was added by, until it returns non-zero.
 * Returns that, 0, or -errno. */
int epoll_interest_each(int epoll_fd,
			int (*visit)(void *context, int host_fd, const struct epoll_event *interest),
			void *context);

#endif
