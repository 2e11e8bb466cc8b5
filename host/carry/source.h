/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's half of carry.h, for the files that share it: preflight.c
 * (what can move), ahead.c (what is read before the stop), freeze.c
 * and interests.c (its state), source.c (all else).
 */
#ifndef HOST_CARRY_SOURCE_H
#define HOST_CARRY_SOURCE_H

#include "host/carry.h"
#include "host/carry/meeting.h"
#include "host/carry/network.h"
#include "host/carry/record.h"

/* A connection of the program, or one it has not accepted yet. */
struct frozen {
	int host_fd;
	bool in_repair, urgent;
	bool peeks; /* from .peek_from on; not while it is frozen */
	int reuse_address, peek_from;
	uint8_t shut;
	size_t fixed, fixed_size; /* in carry_source.fixed */
	struct tcp_mark mark;
};

struct carry_source {
	struct fdtable *fds;
	struct carry_options options;
	struct network network;
	bool local;    /* a move within one host: sockets are handed over */
	struct meeting meeting;
	struct files_need need;
	bool prepared; /* network_source_prepare() succeeded */
	bool ended;    /* undone or forgotten: nothing to take back */

	/* from calm on: what of connections does not change by itself, read while the program runs */
	struct ahead {
		const struct file *file;
		size_t fixed, fixed_size; /* in .fixed */
		int reuse_address;
	} *ahead;
	unsigned ahead_count;
	struct bytes fixed;
	size_t expected;   /* the state may come to so much */
	struct bytes room; /* for the state: memory that was touched before */

	/* from freeze to undo or forget */
	struct inventory inventory;
	struct source_file { /* by file of the inventory */
		enum socket_class class;
		unsigned frozen;
	} *file;
	struct frozen *frozen;
	unsigned frozen_count, frozen_capacity;
	struct hand_over hand_over;
};

/* ---- preflight.c ---- */
/* The program's own. One that has been removed is nowhere. */
int carry_working_directory(char path[static CARRY_PATH_MAX], struct failure *why);

/* ---- ahead.c ---- */
/* The program runs: reads what freeze need not read again. A matter of speed: what it leaves out, freeze
 * reads. -EMSGSIZE: there is more than a stop carries. */
int ahead_read(struct carry_source *s, struct failure *why);
/* So much is queued as yet. */
void ahead_expect(struct carry_source *s, size_t queued);
/* NULL: nothing, or no longer true. */
const struct ahead *ahead_of(const struct carry_source *s, const struct file *file);

/* ---- interests.c: what epoll descriptors wait for ---- */
int interests_dump(const struct carry_source *s, struct bytes *out, struct failure *why);
/* Undo: the connections that were taken from the kernel are told of by its sets from here on. */
void interests_ring(const struct carry_source *s);

/* list.c, for those who only want to know: to options.tell. */
void list_tell(const struct carry_source *s, const struct inventory *v, unsigned index, const struct hand_over *h,
	       const char *obstacle);
void list_rest(const struct carry_source *s, const char *obstacle_locks);

#endif
