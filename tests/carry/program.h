/* SPDX-License-Identifier: Apache-2.0
 *
 * A program without an enclave: its system calls go through ocall_syscall() and
 * a table, as an enclave's do, so that what it has open can be moved. Its
 * memory does not move; tests hand over what they need.
 */
#ifndef TESTS_CARRY_PROGRAM_H
#define TESTS_CARRY_PROGRAM_H

#include <sys/socket.h>

#include "host/carry.h"
#include "host/enclave.h"
#include "host/fdtable.h"

struct program {
	struct fdtable *fds;
	struct host_thread thread;
};

void program_open(struct program *p);
void program_close(struct program *p);
/* As syscall(2), with the program's descriptors. Pointers may be anywhere. */
long program_call(struct program *p, long nr, long a, long b, long c, long d, long e, long f);
#define CALL_6(p, nr, a, b, c, d, e, f, ...)                                                                 \
	program_call(p, nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL(p, nr, ...) CALL_6(p, nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* A socket of the program's that listens at that name. */
int program_listen(struct program *p, const void *name, socklen_t size, int backlog);

/* Says why a step of a move failed, and fails the test. */
void program_must(int r, const struct failure *why);
/* A move is refused before a destination is asked, with this error and for a reason with this word. */
void program_refused(struct program *p, const struct carry_options *options, int error, const char *word);

/* Moves within this process to another table, by way of the three messages. */
void program_move_here(struct program *from, struct program *to, const struct carry_options *options);
/* ... and the program does that between preparation and stop. */
void program_move_busy(struct program *from, struct program *to, const struct carry_options *options,
		       void (*does)(struct program *from));

/* One end each of a move between two hosts of the testbed, its messages on the channel: the parent passes on
 * 'm', 'a' and 's', and says 'c' to both when the destination has said 'r'. memory: the program's own. */
void program_leave(struct program *p, int channel, const struct carry_options *options, void *memory,
		   size_t size);
/* The program runs when this returns; carry_destination_finish() is left to the caller. */
struct carry_destination *program_arrive(struct program *p, int channel, void *memory, size_t size);
/* The parent's part, until both have done theirs. */
void program_relay(int from, int to);

/* The same in steps, for tests that do something between them. */
/* Source: 'm', until 'a' and prepared. */
struct carry_source *program_offer(struct program *p, int channel, const struct carry_options *options);
/* Source: stops, and 's'. */
void program_freeze(struct carry_source *s, int channel, void *memory, size_t size);
/* Destination: from 'm' to 'a'. */
struct carry_destination *program_answer(struct program *p, int channel);
/* Destination: with what came as 's', and 'r'. */
void program_restore(struct carry_destination *d, int channel, struct bytes *state, void *memory,
		     size_t size);

#endif
