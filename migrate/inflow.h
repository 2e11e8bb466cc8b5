/* SPDX-License-Identifier: Apache-2.0
 *
 * The destination's page streams: for each a thread that reads its connection
 * and a thread in the enclave that checks and installs, with a ring between.
 * When the last stream has installed a round, the source is told.
 */
#ifndef MIGRATE_INFLOW_H
#define MIGRATE_INFLOW_H

#include <stdatomic.h>
#include "migrate/lane.h"
#include "migrate/wire.h"

struct inflow;

/* Called by the streams' threads. */
struct inflow_ops {
	/* Takes a record of that stream: 0, or -errno, which ends all streams. */
	int (*record)(void *context, unsigned stream, const void *record, size_t size);
	/* The last of a round was taken. */
	void (*round_done)(void *context, uint32_t round);
};

struct instream {
	struct inflow *flow;
	unsigned index;
	struct lane lane;
	uint32_t round; /* installer: last one that ended */
};

struct inflow {
	unsigned count;
	struct instream stream[MIGRATE_STREAMS_MAX];
	int wake_fd;
	struct inflow_ops op;
	void *context;

	pthread_mutex_t lock; /* protects the following */
	pthread_cond_t changed;
	unsigned ended; /* streams that have reached the end of the round under way */
	uint32_t done;	/* last round that all streams have installed */
	int error;
	bool refused; /* the error is the enclave's answer to a record */
	bool closing;
};

int inflow_open(struct inflow *f, const int *fds, unsigned count, int wake_fd, struct inflow_ops op, void *context);
/* Until that round is installed. 0, a stream's error, -ETIMEDOUT. */
int inflow_wait(struct inflow *f, uint32_t round, uint64_t until_us);
/* The first error. *refused: the enclave did not take a record. */
int inflow_error(struct inflow *f, bool *refused);
void inflow_priority(struct inflow *f, enum lane_priority priority);
void inflow_close(struct inflow *f);

#endif
