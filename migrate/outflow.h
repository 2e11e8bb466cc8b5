/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's page streams: for each a thread in the enclave that encrypts and
 * a thread that writes to its connection, with a ring between. Rounds are begun
 * and awaited by the migration's own thread.
 */
#ifndef MIGRATE_OUTFLOW_H
#define MIGRATE_OUTFLOW_H

#include <stdatomic.h>
#include "host/enclave.h"
#include "migrate/lane.h"
#include "migrate/parcel.h"
#include "migrate/wire.h"

struct outflow;

struct outstream {
	struct outflow *flow;
	unsigned index;
	struct lane lane;
};

struct outflow {
	struct enclave *enclave;
	unsigned count;
	struct outstream stream[MIGRATE_STREAMS_MAX];
	int wake_fd; /* eventfd, ours to write when a stream fails */

	atomic_uint_fast64_t pages, zero_pages, bytes; /* ever sent */
	atomic_uint_fast64_t paced_us;		       /* spent waiting for the bandwidth limit, per stream */
	atomic_uint_fast64_t bandwidth;		       /* bytes per second over all streams, 0: no limit */

	pthread_mutex_t lock; /* protects the following */
	pthread_cond_t changed;
	unsigned round;	   /* begun */
	unsigned produced; /* streams that have encrypted all of it */
	int error;	   /* first -errno of a stream */
	bool closing;
};

/* Takes over fds. wake_fd: an eventfd that is written once if a stream fails. */
int outflow_open(struct outflow *f, struct enclave *e, const int *fds, unsigned count, int wake_fd);
/* The enclave's ROUND call has been made: all streams send it. */
void outflow_round(struct outflow *f);
/* Until everything of the round is encrypted, though not yet sent. 0, a stream's error, or -ETIMEDOUT if
 * nothing moved for that long, -ECANCELED if *cancelled. */
int outflow_produced(struct outflow *f, unsigned stall_ms, atomic_bool *cancelled);
/* The enclave's ROUND call has been made: the calling thread sends it, as FRAME_LAST in that parcel, which is open, while the
 * streams rest. room: RECORD_SIZE_MAX bytes. -ETIMEDOUT if a record takes longer than stall_us, or all of it than most. */
int outflow_here(struct outflow *f, uint8_t *room, struct parcel *parcel, uint64_t stall_us, struct wait most);
/* Bytes that were given to the kernel and of which no peer has said that they came. */
uint64_t outflow_unsent(struct outflow *f);
int outflow_error(struct outflow *f);
void outflow_priority(struct outflow *f, enum lane_priority priority);
/* Ends threads (also in the middle of a round), closes connections. May be called twice. */
void outflow_close(struct outflow *f);

#endif
