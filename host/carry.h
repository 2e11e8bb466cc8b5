/* SPDX-License-Identifier: Apache-2.0
 *
 * What the host carries of a program that moves: open files, sockets with their
 * connections, pipes, epoll sets, locks, working directory. Untrusted; it is
 * the host's own knowledge, so it travels as plain records (struct bytes) which
 * the migration's stream delivers.
 *
 *   source                              destination
 *   open, preflight ──── manifest ────> prepare             program runs
 *   prepare         <─── answer ─────── (hold ready)        program runs
 *   calm                                                    program runs
 *   freeze          ──── state ───────> restore             program parked
 *                   <─── READY ────────
 *   (COMMIT)        ───────────────────> release            program runs there
 *   forget                              finish
 *
 * Any failure before COMMIT: undo at the source, discard at the destination,
 * each on its own and in any order. From calm on, packets for the program's
 * addresses go to the destination's kernel, which holds them: none is dropped
 * while both sides live.
 *
 * Each function returns 0 or -errno and fills why with a sentence for the
 * operator. One thread at a time per object.
 */
#ifndef HOST_CARRY_H
#define HOST_CARRY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include "host/bytes.h"
#include "host/failure.h"

struct fdtable;

/* One thing the program has open, for people. */
struct carry_item {
	const int *fd; /* the numbers that share it */
	unsigned fd_count;
	const char *what, *how;
	const char *obstacle; /* NULL: it can move */
};

struct carry_options {
	/* preflight: told of everything there is, and goes on past what cannot move. NULL: stops there. */
	void (*tell)(void *context, const struct carry_item *item);
	void *context;
	bool tcp_established; /* move established TCP connections and the addresses they live on */
	bool file_locks;      /* take file locks along */
	bool files_ignore;    /* do not compare size and time of files with those at the other side */
	/* The migration stream's own local end: its address cannot be moved away from under it. ss_family 0:
	 * none. */
	struct sockaddr_storage stream_local;
	/* And the other end, if known: one that is this host's as well makes it a move within the host, where
	 * sockets are handed over as they are. (A loopback stream_local says as much.) */
	struct sockaddr_storage stream_peer;
};

/* What there is to carry, for people. */
struct carry_counts {
	unsigned descriptors; /* numbers the program holds */
	unsigned files;	      /* open file descriptions behind them */
	unsigned listeners;
	unsigned bound;	      /* sockets with a local address, listening ones among them */
	unsigned connections; /* established TCP */
	unsigned addresses;   /* that move along */
	size_t queued;	      /* bytes in the queues of connections, where those have to travel */
};

/* A manifest, an answer and a state are no larger: what connections have queued travels in the last. A stop would take
 * seconds for more, and the other host has to hold it. */
#define CARRY_SIZE_MAX (64u << 20)

/* ---- source ---- */
struct carry_source;

/* fds must outlive the result. No effect on the program until carry_source_calm(). */
int carry_source_open(struct fdtable *fds, const struct carry_options *options, struct carry_source **out,
		      struct failure *why);
/* The program runs. Finds everything that cannot be carried (the first one is named in why) and appends the
 * manifest for the destination. counts may be NULL. May be called alone, for `optmig check`. */
int carry_source_preflight(struct carry_source *s, struct bytes *manifest, struct carry_counts *counts,
			   struct failure *why);
/* The program runs. answer: what carry_destination_prepare() gave. Loads what will redirect packets. */
int carry_source_prepare(struct carry_source *s, const void *answer, size_t size, struct failure *why);
/* The program runs, just before its threads are asked to park: new connections wait at the destination from
 * here on, those that are half open may complete and closed ones end. Takes a millisecond, at most 30.
 * Optional. -EMSGSIZE: connections have more queued than a stop carries. */
int carry_source_calm(struct carry_source *s, struct failure *why);
/* What the state may come to, as far as preflight or calm could tell. */
size_t carry_source_expected(const struct carry_source *s);
/* All threads are parked, no ocall is under way. Redirects all packets, then appends the state of everything.
 * On failure the caller undoes. */
int carry_source_freeze(struct carry_source *s, struct bytes *state, struct failure *why);
/* Before COMMIT, from any phase: everything as it was, threads may be unparked after. Idempotent, and quick:
 * what takes long to take down waits for carry_source_close(). */
int carry_source_undo(struct carry_source *s, struct failure *why);
/* After COMMIT: descriptors are closed without a word on the wire, the addresses go, redirected packets flow
 * on until the neighbours have learnt (at most about 2 s, the call blocks). */
void carry_source_forget(struct carry_source *s);
/* Frees; undoes first if neither undo nor forget was called after the last phase. NULL is fine. */
void carry_source_close(struct carry_source *s);

/* ---- destination ---- */
struct carry_destination;

/* fds: a fresh table (descriptors 0, 1, 2 are this process's own). Checks paths, binds listeners, prepares
 * sockets and the hold; appends the answer for the source. On failure nothing is left and *out is NULL. */
int carry_destination_prepare(struct fdtable *fds, const void *manifest, size_t size, struct bytes *answer,
			      struct carry_destination **out, struct failure *why);
/* Makes every descriptor. Connections stay in repair mode: silent. After success READY may be said. Takes the memory
 * of state, in which there is what they have yet to send, until finish or discard. */
int carry_destination_restore(struct carry_destination *d, struct bytes *state, struct failure *why);
/* After COMMIT: connections speak, held packets are delivered, neighbours are told. The program's threads may
 * run once this returns. Does not fail half-way: an error is reported after everything else was done. */
int carry_destination_release(struct carry_destination *d, struct failure *why);
/* After release, while the program runs: tells the neighbours a few more times, passes on stragglers, takes
 * the hold down. Blocks at most about 2 s. Frees d. */
void carry_destination_finish(struct carry_destination *d);
/* Failure before COMMIT: closes and removes everything made here, empties fds. Frees d. NULL is fine. */
void carry_destination_discard(struct carry_destination *d);

#endif
