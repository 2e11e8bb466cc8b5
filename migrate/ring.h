/* SPDX-License-Identifier: Apache-2.0
 *
 * A few buffers that go round between two threads, one filling, one emptying,
 * so that encryption and the socket work at the same time.
 */
#ifndef MIGRATE_RING_H
#define MIGRATE_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_SLOTS 4

struct ring_slot {
	size_t size; /* bytes of data in use; 0 is allowed and has the users' meaning */
	uint32_t note;
	uint8_t *data;
};

struct ring {
	struct ring_slot slot[RING_SLOTS];
	pthread_mutex_t lock; /* protects the following */
	pthread_cond_t changed;
	unsigned filled, emptied; /* how many ever */
	bool closed;
};

int ring_init(struct ring *r, size_t slot_size); /* 0 or -ENOMEM */
void ring_destroy(struct ring *r);
/* Waits. NULL once the ring is closed. */
struct ring_slot *ring_fill_begin(struct ring *r);
void ring_fill_end(struct ring *r);
struct ring_slot *ring_empty_begin(struct ring *r);
void ring_empty_end(struct ring *r);
/* Both threads get NULL from now on. */
void ring_close(struct ring *r);

#endif
