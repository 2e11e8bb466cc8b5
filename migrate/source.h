/* SPDX-License-Identifier: Apache-2.0
 *
 * The source's untrusted half of one migration. Whatever fails before COMMIT
 * leaves the program running here as if nothing had been.
 */
#ifndef MIGRATE_SOURCE_H
#define MIGRATE_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>
#include "host/enclave.h"
#include "migrate/report.h"

/* One migration, from several threads' view. */
struct migration {
	struct enclave *enclave;
	const char *name;
	struct migrate_options options;
	uint64_t begun_us;

	atomic_bool program_ended;
	atomic_bool cancelled;	 /* asked to stop; too late once committed */
	atomic_bool handed_over; /* the program runs at the destination; pages may be here still */
	int wake_fd;	       /* eventfd: written when cancelled, or when a stream fails */

	pthread_mutex_t lock; /* protects the following */
	struct migrate_progress progress;
};

int migration_open(struct migration *m, struct enclave *e, const char *name,
		   const struct migrate_options *options);
void migration_close(struct migration *m);
/* From any thread, any number of times. */
void migration_cancel(struct migration *m);
/* The same, because there is nothing left to move. */
void migration_program_ended(struct migration *m);
struct migrate_progress migration_progress(struct migration *m);

/* Runs it. 0: the program lives at the other side, nothing of it runs here; the enclave is to be ended by
 * enclave_set_moved(). Otherwise *r says why and the program runs on here, except after -ENOTRECOVERABLE: the
 * destination took the commit and was never heard of again; and -EOWNERDEAD: it took it and ended before it had all
 * pages, so the program runs nowhere. options.only_check: goes as far as nothing is
 * moved, never returns 0, and r->result is RESULT_POSSIBLE if a move would begin. r->leaves_destination, r->carried are
 * the caller's to free. */
int migration_run(struct migration *m, struct migrate_report *r);

#endif
