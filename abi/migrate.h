/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of a migration agree on: the service calls that drive the
 * trusted half, the handshake messages, and the records that travel from
 * enclave to enclave. Hosts carry records as they are; they can read headers
 * and page numbers and nothing else.
 *
 *   source enclave                                   destination enclave
 *   OFFER    -> struct handshake_hello  ------------>  ACCEPT (fresh enclaves only)
 *   ANSWERED <------------------------------------- -> struct handshake_hello
 *   REPORT, PEER  <--- struct evidence, both ways --->  REPORT, PEER
 *   ROUND(...)     SEND...  --- RECORD_PAGES ------->  RECEIVE        repeated
 *   EXPORT...   ----------- RECORD_MEMORY ---------->  RECEIVE        after each ROUND
 *   STOP, PENDING
 *   ROUND(FINAL)   SEND...  --- RECORD_PAGES ------->  RECEIVE
 *   EXPORT...   ----------- RECORD_MEMORY, _STATE -->  RECEIVE
 *   COMMIT  <---------------------- RECORD_READY ----  READY
 *           ----------------------- RECORD_COMMIT -->  RESUME         threads may run there
 *   FINISH  <-------------------- RECORD_RESUMED ----  RETIRE
 *   if pages were deferred:
 *   SERVE          SEND...  --- RECORD_PAGES ------->  RECEIVE
 *   FETCH (a page a thread waits for)  -- ... ------>  RECEIVE
 *   RELEASE <-------------------- RECORD_ARRIVED ----  ARRIVED
 *
 * A page lives at the source when the application has it mapped and it exists. It exists at the destination once
 * something came for it there (and, of the image and the static heap, from the start). Pages that live and are to
 * exist in no old version while the application runs there are never sent before, or taken out again: they are
 * deferred, do not exist when the destination resumes, and come into being with their content.
 *
 * All integers are little-endian. Nothing here holds padding: it would leak. An incompatible change raises
 * ABI_VERSION (abi/image.h).
 */
#ifndef ABI_MIGRATE_H
#define ABI_MIGRATE_H

#include <stdint.h>
#include "abi/call.h"
#include "abi/layout.h"

/* Service slots are shared with other calls of the host: leave some. */
#define MIGRATE_STREAMS_MAX 6
/* "Stream" number of everything that is not pages. */
#define MIGRATE_CONTROL 0xffu
/* The stream of pages that are asked for one by one. */
#define MIGRATE_URGENT 0xfeu

/*
 * in/out: what the call reads and writes. Every call may fail with -EPERM when the session is not in the
 * state for it, -EBUSY when another one is under way, -EINVAL for malformed arguments, and -EBADMSG when
 * something received is not authentic; a refused message changes nothing.
 */
enum migrate_op {
	/* source: arg[0] streams. out: hello. Forgets an earlier, cancelled session. */
	MIGRATE_OFFER = SERVICE_MIGRATE_FIRST,
	/* destination: in: the source's hello. out: own hello. The enclave can no longer be started. */
	MIGRATE_ACCEPT,
	/* source: in: the destination's hello. */
	MIGRATE_ANSWERED,
	/* both: in: TARGETINFO of whoever makes evidence of it. out: REPORT bound to this handshake. */
	MIGRATE_REPORT,
	/* both: in: the peer's struct evidence. The session is secure after it. */
	MIGRATE_PEER,
	/* source: collects what was written and chooses what the next SENDs carry. arg[0] enum migrate_round, arg[1],
	 * arg[2] see there. ret[0] pages to be sent, ret[1] pages found written, ret[2] pages that exist there in an old
	 * version, ret[3] pages that live and do not exist there; WATCH: ret[1] counts those not seen written before.
	 * -EAGAIN: to be repeated until all threads have come by at a safepoint, from where on writes are tracked. */
	MIGRATE_ROUND,
	/* source: arg[0] stream. out: next record. ret[0] its size, 0: there was nothing left; ret[1] pages with content,
	 * ret[2] zero pages in it; ret[3] 1: the round is over for this stream, there is no need to ask again. */
	MIGRATE_SEND,
	/* destination: arg[0] stream or MIGRATE_CONTROL, in: a record. ret[1], ret[2] as for SEND. */
	MIGRATE_RECEIVE,
	/* source: asks all threads to park; and, before the final round, takes it back. */
	MIGRATE_STOP,
	MIGRATE_CONTINUE,
	/* source: ret[0] threads that are not parked yet. */
	MIGRATE_PENDING,
	/* source: out: bitmap of the slots that hold a thread, THREAD_SLOTS_MAX / 8 bytes. Final once parked.
	 */
	MIGRATE_SLOTS,
	/* source: out: next control record: the memory map of the last ROUND, after FINAL's the threads' state (all its
	 * pages must have been sent). ret[0] its size, 0: there was nothing left; ret[1] 1: that was all there
	 * is by now. */
	MIGRATE_EXPORT,
	/* destination, all received: out: READY. */
	MIGRATE_READY,
	/* source: in: READY; out: COMMIT. From here on no thread runs here. Again without input: the same
	   bytes. */
	MIGRATE_COMMIT,
	/* destination: in: COMMIT; out: RESUMED, ret[0] pages that are deferred. The same COMMIT again: the same answer. -ENOTRECOVERABLE: it
	 * was authentic and what came before is of no use; only REFUSE is left. */
	MIGRATE_RESUME,
	/* source: in: RESUMED: keys are wiped, unless ret[1] pages are still to be served. Or REFUSED: ret[0] = 1 and
	 * the threads may go on here. */
	MIGRATE_FINISH,
	/* destination, before RESUME: out: REFUSED. This session can never be resumed. */
	MIGRATE_REFUSE,
	/* source, before COMMIT: forgets the session, un-asks the threads. */
	MIGRATE_CANCEL,
	/* source, after FINISH: the deferred pages, from the start; ret[0] how many. arg[0]: 0, or, after connections were
	 * lost, the number of this attempt, higher than any before: streams get new keys. */
	MIGRATE_SERVE,
	/* source: arg[1] a page. out: a record of the urgent stream with it, and with what follows
	 * it and has not been sent; size 0: it was not deferred. */
	MIGRATE_FETCH,
	/* destination: arg[0] as for SERVE. */
	MIGRATE_REOPEN,
	/* destination: out: ARRIVED, keys are wiped. -EAGAIN: ret[0] pages are still deferred. */
	MIGRATE_ARRIVED,
	/* source: in: ARRIVED: keys are wiped. */
	MIGRATE_RELEASE,
	/* destination, where nothing was deferred, once its threads run: keys are wiped. */
	MIGRATE_RETIRE,
	MIGRATE_OP_END
};

enum migrate_round {
	ROUND_PREPARE = 0, /* the destination makes room for at most arg[1] pages that do not exist there */
	ROUND_LIVE = 1,	   /* every page the destination has not as it is now */
	/* Nothing is sent: only looks at what is being written. ret[0] pages written since the last ROUND. */
	ROUND_WATCH = 3,
	/* What a page costs: at most arg[1] pages, of those that do not exist there; or, if arg[2] is not 0, of those that do,
	 * whether they have changed or not. */
	ROUND_SAMPLE = 5,
	/* Pages that were not written since the last ROUND: of those that exist there; if arg[2] is not 0, of others those
	 * that were never seen written, in WATCH or since, and if they are fewer than arg[2], those that were. If more than
	 * arg[1] pages exist there in an old version, those that were found written more than once are taken out there. */
	ROUND_QUIET = 4,
	/* Every page that exists there in an old version, quiet or not. */
	ROUND_OLD = 6,
	/* Parked. If more than arg[1] pages would have to go, only those that exist there in an old version do, and
	 * what a resumed thread needs first; the others stay behind, deferred. */
	ROUND_FINAL = 2,
};

/* Of arg[2] */
#define GROW_NOT 0ull
#define GROW_UNSEEN 1ull

/* ---- handshake ---- */
#define HELLO_MAGIC 0x314f4c4c48474d4full /* "OMGHLLO1" */
struct handshake_hello {
	uint64_t magic;
	uint32_t role; /* enum migrate_role */
	uint32_t streams;
	uint8_t nonce[32];
	uint8_t public_key[32]; /* ephemeral X25519 */
} __attribute__((packed));

enum migrate_role {
	ROLE_NONE = 0,
	ROLE_SOURCE = 1,
	ROLE_DESTINATION = 2,
};

enum evidence_kind {
	EVIDENCE_SOFTSGX_QUOTE = 1, /* body: struct softsgx_quote */
};
#define EVIDENCE_BODY_MAX 16384u
struct evidence {
	uint32_t kind; /* enum evidence_kind */
	uint32_t size; /* of body */
	uint8_t body[];
} __attribute__((packed));

/* ---- records: header, runs, body (ciphertext), tag. Header and runs are authenticated as they are. ---- */
#define RECORD_MAGIC 0x4352474fu /* "OGRC" */
#define RECORD_VERSION 1
#define RECORD_BLOCK_PAGES 64u /* a run never crosses a block; a block always uses the same stream */
#define RECORD_PAGES_MAX 64u   /* with content, in one record */
#define RECORD_RUNS_MAX 248u
#define RECORD_BODY_MAX (RECORD_PAGES_MAX * PAGE_SIZE)
#define RECORD_TAG_SIZE 16u

enum record_type {
	RECORD_PAGES = 1,
	RECORD_MEMORY = 2, /* part of the memory map: offset, total */
	RECORD_STATE = 3,  /* part of the thread state, sealed with a key that only COMMIT completes */
	RECORD_READY = 4,
	RECORD_COMMIT = 5,
	RECORD_RESUMED = 6,
	RECORD_REFUSED = 7,
	RECORD_ARRIVED = 8,
};

struct record_header {
	uint32_t magic;
	uint8_t version;
	uint8_t type; /* enum record_type */
	uint16_t stream;
	uint64_t counter; /* from 1, without a gap, per stream and direction */
	uint32_t run_count;
	uint32_t body_size;
	uint64_t offset; /* RECORD_MEMORY, RECORD_STATE: of body in the whole, and the size of the whole */
	uint64_t total;
} __attribute__((packed));
_Static_assert(sizeof(struct record_header) == 40, "record header");

enum run_kind {
	RUN_DATA = 0,	/* count pages of the body */
	RUN_ZERO = 1,	/* count pages of zeros */
	RUN_EXPECT = 2, /* no content yet: make the pages exist */
	RUN_ABSENT = 3, /* make them not exist. The destination's host trims them before its enclave gets the record,
			   and removes them after */
};
struct record_run {
	uint64_t page;
	uint32_t count;
	uint32_t kind; /* enum run_kind */
} __attribute__((packed));
_Static_assert(sizeof(struct record_run) == 16, "record run");

#define RECORD_SIZE_MAX                                                                                      \
	(sizeof(struct record_header) + RECORD_RUNS_MAX * sizeof(struct record_run) + RECORD_BODY_MAX +      \
	 RECORD_TAG_SIZE)
#define RECORD_SIZE_MIN (sizeof(struct record_header) + RECORD_TAG_SIZE)

static inline unsigned migrate_stream_of(uint64_t page, unsigned streams)
{
	return (unsigned)((page / RECORD_BLOCK_PAGES) % streams);
}

#endif
