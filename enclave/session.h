/* SPDX-License-Identifier: Apache-2.0
 *
 * The one migration an enclave may be part of: what source.c and destination.c
 * share. migrator.c owns it and admits their calls; within a call admitted
 * alone everything may be touched, within a call admitted for one stream only
 * what belongs to that stream. Trusted side only.
 */
#ifndef ENCLAVE_SESSION_H
#define ENCLAVE_SESSION_H

#include <stdbool.h>
#include "abi/migrate.h"
#include "enclave/channel.h"
#include "enclave/pageset.h"
#include "enclave/record.h"

enum session_phase {
	SESSION_NONE,
	SESSION_HELLO,	   /* own hello made */
	SESSION_JOINED,	   /* keys agreed, with somebody */
	SESSION_SECURE,	   /* the peer is an enclave like this one */
	SESSION_FINAL,	   /* source: parked, the last round is being sent */
	SESSION_COMMITTED, /* source: nothing runs here any more unless REFUSED comes back */
	SESSION_READY,	   /* destination: all is in place except the thread state */
	SESSION_RESUMED,   /* destination: runs here */
	SESSION_OVER,	   /* no way on: moved away, refused, or failed half-way */
};

/* A byte string carried in several records. */
struct blob {
	uint8_t *data;
	size_t capacity; /* of data, whole pages */
	size_t size;	 /* of the whole; 0: not begun */
	size_t done;	 /* bytes sent or received */
};

#define LANE_CONTROL MIGRATE_STREAMS_MAX

struct session {
	/* migrator.c: who may be inside */
	int admitted; /* calls for a stream or control now inside, -1: one alone */
	uint32_t lane_busy[MIGRATE_STREAMS_MAX + 1];

	enum migrate_role role;
	enum session_phase phase;
	unsigned streams;
	struct handshake handshake;
	struct channel send, receive; /* control, both directions */
	struct record *out, *in;      /* control */
	struct blob memory, state;

	/* per stream */
	struct channel channel[MIGRATE_STREAMS_MAX];
	struct record *record[MIGRATE_STREAMS_MAX];

	/* source */
	bool stopping;			      /* threads were asked to park */
	bool prepare;			      /* the round under way sends no content */
	bool everything;		      /* a round of all pages was begun */
	struct pageset pending;		      /* still to be sent */
	struct pageset sent;		      /* were sent at least once */
	uint64_t cursor[MIGRATE_STREAMS_MAX]; /* next block of pending to look at, 0: the first */
	uint8_t share[32];		      /* completes the state's key; leaves with COMMIT */

	/* destination */
	bool broken;			     /* an authentic record could not be installed: never READY */
	uint8_t commit_tag[RECORD_TAG_SIZE]; /* of the COMMIT that was obeyed */
};

/* What READY tells the source: it goes on only if its own counters say the same. */
struct manifest {
	uint64_t next[MIGRATE_STREAMS_MAX];
	uint64_t control_next;
	uint64_t memory_size, state_size;
} __attribute__((packed));

extern struct session session;

/* Buffers for the records. -ENOMEM. */
int session_open(enum migrate_role role, unsigned streams);
/* After the handshake: the channels of this role. */
int session_channels(void);
/* Wipes all keys and frees what belongs to streams and state; the control records stay, to be repeated. */
void session_retire(void);
/* Wipes everything; phase is what is left to be. */
void session_close(enum session_phase phase);
/* Room for size bytes; content is lost. -ENOMEM. */
int blob_reserve(struct blob *b, size_t size);
void blob_free(struct blob *b);
#define BLOB_SIZE_MAX (16u << 20)

/* Input of exactly that size. -EINVAL. */
int call_input(const struct service_call *call, void *out, size_t size);
int call_output(struct service_call *call, const void *in, size_t size);
int call_nothing(struct service_call *call); /* size 0 */
/* A sealed record to the host. */
int call_write(struct service_call *call, const struct record *r);
/* Seals a record that is complete except for counter and tag, and writes it. -ENOSPC: the counter did not
 * move. */
int call_send(struct service_call *call, struct channel *c, struct record *r);

/* source.c */
int source_offer(struct service_call *call);
int source_answered(struct service_call *call);
int source_round(struct service_call *call);
int source_send(struct service_call *call);
int source_stop(struct service_call *call);
int source_pending(struct service_call *call);
int source_slots(struct service_call *call);
int source_export(struct service_call *call);
int source_commit(struct service_call *call);
int source_finish(struct service_call *call);
int source_cancel(struct service_call *call);

/* destination.c */
int destination_accept(struct service_call *call);
int destination_receive(struct service_call *call);
int destination_ready(struct service_call *call);
int destination_resume(struct service_call *call);
int destination_refuse(struct service_call *call);

#endif
