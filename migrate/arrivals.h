/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages as they come to the destination's host: records for its enclave, and,
 * once the program runs here while pages are still at the source, the threads
 * that wait for one. Thread-safe. Untrusted side.
 */
#ifndef MIGRATE_ARRIVALS_H
#define MIGRATE_ARRIVALS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "host/enclave.h"

struct arrivals {
	struct enclave *enclave;
	atomic_uint_fast64_t waits; /* of threads for a page */

	_Atomic uint64_t *come; /* a bit a page */
	atomic_bool begun;	/* the program runs, or is about to */
	uint64_t pages_end;

	pthread_mutex_t lock; /* protects the following */
	pthread_cond_t changed;
	pthread_t reader;
	int urgent_fd; /* -1: none */
	bool reading;
	atomic_bool lost;    /* the connection, while it was in use */
	unsigned connection; /* how many there were: each is asked anew */
	int wake_fd;	     /* eventfd, written when the connection is lost */
};

/* -ENOMEM. */
int arrivals_init(struct arrivals *a, struct enclave *e, int wake_fd);
/* A record of a stream: its host's part, the enclave's, and whoever waits for what is in it goes on. */
int arrivals_record(struct arrivals *a, unsigned stream, const void *record, size_t size);
/* Before the program runs: from now on its threads may wait. */
void arrivals_begin(struct arrivals *a);
/* Takes over fd: pages are asked for there, once there is anybody to ask for one. */
int arrivals_connect(struct arrivals *a, int fd);
void arrivals_disconnect(struct arrivals *a);
bool arrivals_lost(struct arrivals *a);
/* All pages are here. */
void arrivals_end(struct arrivals *a);

#endif
