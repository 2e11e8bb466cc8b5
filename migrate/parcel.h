/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of one connection that go together: a packet wakes the other host, and
 * that takes longer than to make most frames. One thread's.
 */
#ifndef MIGRATE_PARCEL_H
#define MIGRATE_PARCEL_H

#include "migrate/wire.h"

#define PARCEL_SIZE (64u << 10)

struct parcel {
	int fd; /* -1: closed, nothing waits */
	uint8_t *data; /* PARCEL_SIZE bytes, touched */
	size_t size;
};

/* -ENOMEM. */
int parcel_init(struct parcel *p);
void parcel_free(struct parcel *p);
/* From here on to parcel_end() frames for that connection wait for each other. */
void parcel_begin(struct parcel *p, int fd);
/* As wire_send(). What does not fit any more goes at once, behind what waits. */
int parcel_put(struct parcel *p, enum frame_type type, const void *first, size_t first_size, const void *second,
	       size_t second_size, struct wait wait);
/* Sends what waits. Closed in any case. */
int parcel_end(struct parcel *p, struct wait wait);

#endif
