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
	SESSION_SERVING,   /* source: it runs there, and deferred pages are still here */
	SESSION_READY,	   /* destination: all is in place except the thread state and deferred pages */
	SESSION_FILLING,   /* destination: runs here, deferred pages are to come */
	SESSION_RESUMED,   /* destination: runs here, on its own */
	SESSION_OVER,	   /* no way on: moved away, refused, or failed half-way */
};

/* A byte string carried in several records. */
struct blob {
	uint8_t *data;
	size_t capacity; /* of data, whole pages */
	size_t size;	 /* of the whole; 0: not begun */
	size_t done;	 /* bytes sent or received */
};

/* Streams, then the two that are always there. */
#define LANE_URGENT MIGRATE_STREAMS_MAX
#define LANE_CONTROL (MIGRATE_STREAMS_MAX + 1)
#define LANES (MIGRATE_STREAMS_MAX + 2)

struct session {
	/* migrator.c: who may be inside */
	int admitted; /* calls for a lane now inside, -1: one alone */
	uint32_t lane_busy[LANES];

	enum migrate_role role;
	enum session_phase phase;
	unsigned streams;
	uint32_t epoch; /* of the pages' channels: how often connections were made anew while pages were deferred */
	struct handshake handshake;
	struct channel send, receive; /* control, both directions */
	struct record *out, *in;      /* control */
	struct blob memory, state;

	/* per lane of pages: streams and the urgent one */
	struct channel channel[LANE_URGENT + 1];
	struct record *record[LANE_URGENT + 1];

	/* source */
	bool stopping;	 /* threads were asked to park */
	bool prepare;	 /* the round under way sends no content */
	uint8_t share[32]; /* completes the state's key; leaves with COMMIT */
	struct gcm_key state_key; /* at the source, until the state is sealed */
	struct source_pages {
		struct pageset live;	/* as last told by mm_export() */
		struct pageset there;	/* exist at the destination */
		struct pageset current; /* the destination has them as they are: sent, and not found written since */
		struct pageset dirty;	/* found written by the last collection */
		struct pageset again;	/* were found written when they had been quiet, or before they were sent */
		struct pageset leaving; /* of pending: to be taken out */
		struct pageset pending; /* still to be dealt with in this round */
		/* A bit for each block, a word for each chunk, so that the last look, while the program stands still, goes
		 * over few blocks however many there are. */
		uint64_t *active;    /* with pages that are dirty, or live and not current */
		uint64_t *due;	     /* with pages that are pending or old there when the round is chosen */
		uint64_t *unsettled; /* a look may change what is known of them, even if nothing there is marked */
		uint8_t *absent;     /* for each block: its pages that live and do not exist there */
		size_t maps_size;    /* of these four */
		uint64_t absent_count;
		uint64_t left_count; /* pages that stay behind */
	} pages;
	uint64_t cursor[MIGRATE_STREAMS_MAX]; /* next block of pending to look at, 0: the first */
	bool hot_first[MIGRATE_STREAMS_MAX];  /* SERVE: of the first of two passes, which takes dirty pages only */

	/* destination */
	bool mapped;			     /* a memory map came */
	bool broken;			     /* an authentic record could not be installed: never READY */
	uint8_t commit_tag[RECORD_TAG_SIZE]; /* of the COMMIT that was obeyed */
};

#define SOURCE_PAGESETS(p)                                                                                   \
	&(p)->live, &(p)->there, &(p)->current, &(p)->dirty, &(p)->again, &(p)->leaving, &(p)->pending

/* What READY tells the source: it goes on only if its own counters say the same. */
struct manifest {
	uint64_t next[MIGRATE_STREAMS_MAX];
	uint64_t control_next;
	uint64_t state_size;
	uint64_t deferred; /* pages */
} __attribute__((packed));

extern struct session session;

/* Everything that the stop needs is touched, or made: buffers for the records. -ENOMEM. */
int session_open(enum migrate_role role, unsigned streams);
/* After the handshake: the channels of this role. */
int session_channels(void);
/* The pages' channels anew, with keys of that epoch, which must be higher than any before. -EINVAL. */
int session_reopen(uint64_t epoch);
/* Wipes all keys and frees what belongs to streams, pages and state; the control records stay, to be repeated. */
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

/* crypto_support.c. What mbedTLS worked in; nothing of it is in use between calls, nor holds a secret. */
void crypto_memory_free(void);

/* source.c */
int source_offer(struct service_call *call);
int source_answered(struct service_call *call);
/* The session is secure. */
int source_make_share(void);
int source_send(struct service_call *call);
int source_stop(struct service_call *call);
int source_continue(struct service_call *call);
int source_pending(struct service_call *call);
int source_slots(struct service_call *call);
int source_export(struct service_call *call);
int source_commit(struct service_call *call);
int source_finish(struct service_call *call);
int source_cancel(struct service_call *call);
/* source_pages.c */
int source_round(struct service_call *call);
/* Nothing is there, or written, yet. -ENOMEM. */
int source_pages_begin(void);
/* From that one on the first block that is due; pending.block_end: none. */
uint64_t source_next_due(uint64_t block);
/* Of a block, when the last round was sent: the pages that stayed behind, one bit each. */
uint64_t source_stays(uint64_t block);
/* They are pending. */
void source_pages_left(void);
/* Has all that the round chose been sent? */
bool source_round_sent(void);
/* How many pages stay behind. */
uint64_t source_left(void);
/* source_serve.c */
int source_serve(struct service_call *call);
int source_fetch(struct service_call *call);
int source_release(struct service_call *call);
/* source.c. Pages of one block from pending into the record, of those in mask. False when the record is full. */
bool source_take_block(struct record *r, uint64_t block, uint64_t mask, uint64_t counts[static 2]);

/* destination.c */
int destination_accept(struct service_call *call);
int destination_receive(struct service_call *call);
int destination_ready(struct service_call *call);
int destination_resume(struct service_call *call);
int destination_retire(struct service_call *call);
int destination_refuse(struct service_call *call);
int destination_reopen(struct service_call *call);
int destination_arrived(struct service_call *call);

#endif
