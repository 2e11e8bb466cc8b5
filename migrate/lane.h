/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection of a flow of pages: two threads and the ring between them.
 */
#ifndef MIGRATE_LANE_H
#define MIGRATE_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include "migrate/ring.h"

struct lane {
	int fd;
	struct ring ring;
	bool ring_made;

	struct lane_thread {
		void *(*run)(void *context);
		void *context;
		pthread_t thread;
		atomic_int tid;
		struct lane *lane;
	} thread[2];
	unsigned threads; /* of these, how many were started */
	atomic_int priority;
};

/* fd is set; takes it in any case. Starts both threads with context. 0 or -errno: then lane_close(). */
int lane_open(struct lane *l, size_t slot_size, void *(*first)(void *), void *(*second)(void *),
	      void *context);
void lane_close(struct lane *l);
/* While a program runs it comes before its own move; once it is asked to stop, the move is what everybody
 * waits for. For root only: others could not take it back. Nice values. */
enum lane_priority {
	LANE_BACKGROUND = 10,
	LANE_NORMAL = 0, /* while pages follow: the program may be waiting for any of them */
	LANE_URGENT = -15,
};
void lane_priority(struct lane *l, enum lane_priority priority);

/* While so many pages follow. A few are all there before anybody else misses the processor. */
static inline enum lane_priority lane_while_following(uint64_t pages)
{
	return pages <= 2048 ? LANE_URGENT : LANE_NORMAL;
}

#endif
