/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel says of a descriptor in /proc/self/fdinfo: flags, offset,
 * locks, the counter of an eventfd, the state of a timerfd.
 */
#ifndef HOST_FDINFO_H
#define HOST_FDINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define FDINFO_LOCKS_MAX 64

struct fdinfo_lock {
	char kind; /* 'P'OSIX, 'O'FD, 'F'LOCK */
	uint8_t write;
	int64_t start, size; /* size 0: to the end */
};

struct fdinfo {
	uint64_t offset;
	uint32_t flags; /* as open's */
	uint64_t eventfd_count;
	int clock;
	uint32_t timer_flags;
	uint64_t timer_ticks;
	struct itimerspec timer; /* it_value: what remains */
	unsigned lock_count;
	struct fdinfo_lock lock[FDINFO_LOCKS_MAX];
};

/* 0, -errno, -E2BIG for more locks than fit. */
int fdinfo_read(int fd, struct fdinfo *out);

#endif
