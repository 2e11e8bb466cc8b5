/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/ring.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int ring_init(struct ring *r, size_t slot_size)
{
	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	for (unsigned i = 0; i < RING_SLOTS; i++) {
		r->slot[i].data = malloc(slot_size);
		if (!r->slot[i].data) {
			ring_destroy(r);
			return -ENOMEM;
		}
		/* Not in the middle of a round: a first touch is a page fault each. */
		memset(r->slot[i].data, 0, slot_size);
	}
	return 0;
}

void ring_destroy(struct ring *r)
{
	for (unsigned i = 0; i < RING_SLOTS; i++)
		free(r->slot[i].data);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
}

struct ring_slot *ring_fill_begin(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->closed && r->filled - r->emptied == RING_SLOTS)
		pthread_cond_wait(&r->changed, &r->lock);
	struct ring_slot *slot = r->closed ? NULL : &r->slot[r->filled % RING_SLOTS];
	pthread_mutex_unlock(&r->lock);
	return slot;
}

struct ring_slot *ring_empty_begin(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	while (!r->closed && r->filled == r->emptied)
		pthread_cond_wait(&r->changed, &r->lock);
	struct ring_slot *slot = r->closed ? NULL : &r->slot[r->emptied % RING_SLOTS];
	pthread_mutex_unlock(&r->lock);
	return slot;
}

static void advance(struct ring *r, unsigned *count)
{
	pthread_mutex_lock(&r->lock);
	(*count)++;
	pthread_mutex_unlock(&r->lock);
	/* Not before: the one that wakes would meet the lock, and sleep again. */
	pthread_cond_signal(&r->changed);
}

void ring_fill_end(struct ring *r)
{
	advance(r, &r->filled);
}

void ring_empty_end(struct ring *r)
{
	advance(r, &r->emptied);
}

void ring_close(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->closed = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}
