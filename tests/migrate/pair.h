/* SPDX-License-Identifier: Apache-2.0
 *
 * Two processes that each hold the trusted half of a migration, over a runtime
 * made up for the test, and this process as the hosts between them. Each has
 * PAIR_PAGES pages of application memory, thread state that is a string, and
 * parks when told.
 */
#ifndef TESTS_MIGRATE_PAIR_H
#define TESTS_MIGRATE_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/image.h"
#include "abi/migrate.h"
#include "softsgx/softsgx.h"

#define PAIR_PAGES 1000u
#define PAIR_FIRST (APP_BASE >> PAGE_SHIFT)

struct side {
	int fd;
	int pid;
};

struct identity {
	uint8_t mrenclave, mrsigner; /* repeated */
	uint64_t attributes, xfrm;
	uint32_t config_flags;
};
#define IDENTITY_DEFAULT ((struct identity){1, 2, SGX_ATTR_INIT | SGX_ATTR_MODE64BIT, SGX_XFRM_LEGACY, 0})

/* What a test does to the made-up runtime, besides migration calls. */
enum poke {
	POKE_FILL = 1000, /* arg[0] page (from 0), arg[1] byte: live, filled, marked */
	POKE_READ,	  /* arg[0] page; out: its content */
	POKE_SILENT,	  /* arg[0] page, arg[1] byte: filled without a mark, as a stack is */
	POKE_GONE,	  /* arg[0] page: no longer mapped */
	POKE_STATE,	  /* in: the thread state */
	POKE_LOOK,	  /* out: the thread state; ret[0] 1 if threads may run here, ret[1] pages mapped */
	POKE_BUSY,	  /* arg[0]: threads that do not park */
	POKE_START,	  /* as if the program had been started */
	POKE_DIRTY,	  /* arg[0] page: always dirty from now on */
	POKE_EXISTS,	  /* arg[0] page; ret[0] 1 if it does */
	POKE_COUNTER,	  /* arg[0] stream, arg[1]: number of its next record */
	POKE_MEANWHILE,	  /* arg[0], arg[1]: of a FETCH that comes while the next record is written to the host */
	POKE_MEANWHILE_RC, /* ret[0]: what it was answered, negated */
};

void side_open(struct side *s, const struct identity *who);
void side_close(struct side *s);
/* One call. out may be NULL; *out_size is its capacity, then what was written. ret may be NULL. */
int side_call(struct side *s, uint32_t op, uint64_t arg0, uint64_t arg1, const void *in, size_t in_size,
	      void *out, size_t *out_size, uint64_t ret[4]);
int side_do(struct side *s, uint32_t op, uint64_t arg0, uint64_t arg1); /* without data */
uint64_t side_ask(struct side *s, uint32_t op, uint64_t arg0);		/* ret[0]; must succeed */

/* A record or message on its way. */
struct message {
	size_t size;
	uint8_t data[RECORD_SIZE_MAX];
};
int message_get(struct side *s, uint32_t op, uint64_t arg0, const struct message *in, struct message *out);
int message_put(struct side *s, uint32_t op, uint64_t arg0, const struct message *m);

struct pair {
	struct side source, destination;
};
void pair_open(struct pair *p, const struct identity *source, const struct identity *destination);
void pair_close(struct pair *p);
/* The steps of a handshake, so that a test can stop between them or alter what passes. */
int pair_hello(struct pair *p, unsigned streams);
void evidence_make(struct side *s, struct message *evidence); /* what the quoting host gives for it */
void evidence_sign(struct message *evidence);		      /* again, after a test changed it */
int pair_attest(struct pair *p);
int pair_secure(struct pair *p, unsigned streams); /* all of it; must succeed */
/* All of a round and its map from one to the other; must succeed. Counts may be NULL. */
void pair_round(struct pair *p, unsigned streams, enum migrate_round kind, uint64_t counts[2]);
/* The same, with what ROUND asks for and says. most, grow: arg[1], arg[2]; ret may be NULL. */
void pair_choose(struct pair *p, enum migrate_round kind, uint64_t most, uint64_t grow, uint64_t ret[4]);
void pair_send(struct pair *p, unsigned streams, uint64_t counts[2]);
void pair_stop(struct pair *p);
void pair_export(struct pair *p);

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			check_failed(__FILE__, __LINE__, #condition);                                        \
	} while (0)
_Noreturn void check_failed(const char *file, int line, const char *what);

#endif
