/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the destination share. Nobody else includes it.
 *
 *   destination.c       from the first frame to the program's end here
 *   destination_link.c  frames and connections
 *   destination_take.c  what comes up to READY, and COMMIT
 *   destination_fill.c  pages that are still at the source
 */
#ifndef MIGRATE_DESTINATION_PRIVATE_H
#define MIGRATE_DESTINATION_PRIVATE_H

#include <pthread.h>
#include "host/carry.h"
#include "host/hook.h"
#include "migrate/address.h"
#include "migrate/arrivals.h"
#include "migrate/destination.h"
#include "migrate/inflow.h"
#include "migrate/urgent.h"
#include "migrate/wire.h"
#include "softsgx/softsgx.h"

#define SILENCE_MS 10000u
#define REFUSED_KEPT_US (60ull * 1000 * 1000) /* for a source that asks late */
#define HOOK_TIMEOUT_MS 400

struct destination {
	const struct destination_options *o;
	const struct frame_hello *hello;
	char name[MIGRATE_NAME_MAX];
	pid_t bearer; /* process that has this name here, the program's earlier home; 0: none, -1: not known */
	int attach_fd;
	atomic_int *stage; /* enum session_stage */
	int wake_fd; /* a stream failed */
	struct wire control;
	pthread_mutex_t send_lock; /* streams' threads send on the control connection too */
	struct enclave *e;
	struct inflow flow;
	struct arrivals arrivals;
	uint64_t resumed_us;
	uint64_t filled_us; /* how long after that the last page came */
	uint64_t deferred;  /* pages that were still at the source when the program resumed here */
	atomic_bool served; /* the source has sent them all */
	atomic_bool filling;
	atomic_bool ended; /* the program, while they were still there */
	atomic_bool died;  /* ... and not by itself */
	struct carry_destination *carry;
	struct hook *hook;
	struct softsgx_stats before;
	uint64_t parking_us, downtime_us;
	struct urgency urgency; /* of the main thread */
	uint8_t slots[THREAD_SLOTS_MAX / 8]; /* with a thread that stands by */
	bool secure;			     /* the peer has shown to be the same enclave */
	bool only_asked;		     /* nothing failed: the source wanted to know whether it could come */
	bool handed_over;		     /* RESUME succeeded: runs here */
	uint8_t refused[1024];
	size_t refused_size;
};

/* Connections of one attempt, until all are there. */
struct connections {
	int fd[MIGRATE_STREAMS_MAX + 1]; /* the last is the urgent one; -1: not yet */
	unsigned count;
	uint32_t epoch; /* frame_attach.epoch */
};

/* destination_link.c */
int destination_tell(struct destination *d, enum frame_type type, const void *first, size_t first_size,
		     const void *second, size_t second_size);
/* Another control connection in place of the last one; -1: none. */
void destination_control(struct destination *d, int fd);
int destination_link_failed(int rc, struct failure *why);
/* What the source says in the FAILED that came. */
int destination_source_failed(struct destination *d, struct failure *why);
int destination_enclave_failed(int rc, const char *what, struct failure *why);
int destination_flow_failed(struct destination *d, struct failure *why);
/* Whoever polls wake_fd. */
void destination_wake(struct destination *d);
void connections_init(struct connections *c);
void connections_close(struct connections *c);
/* Takes over fd. */
int connections_add(struct connections *c, unsigned streams, uint32_t stream, int fd);
/* The threads of all connections begin. Takes over all of c. */
int destination_flow_open(struct destination *d, struct connections *c, struct failure *why);
int destination_streams_open(struct destination *d, struct failure *why);
/* The next frame on the control connection, or on the one that takes its place. */
int destination_await(struct destination *d, uint64_t until_us);

/* destination_take.c */
int destination_until_ready(struct destination *d, struct failure *why);
/* From READY to running. */
int destination_serve_commit(struct destination *d, struct failure *why);
/* Answers COMMIT, the first time by letting the program run. */
int destination_on_commit(struct destination *d, struct failure *why);

/* destination.c */
void destination_report(struct destination *d);

/* destination_fill.c */
void destination_fill(struct destination *d);
/* Signals that the source got and the program has not. */
void destination_hear_signals(struct destination *d);

#endif
