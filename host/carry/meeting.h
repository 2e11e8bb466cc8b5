/* SPDX-License-Identifier: Apache-2.0
 *
 * A channel between source and destination if both run on one kernel and see one
 * storage, in whatever namespaces: a socket beside a file the program has open.
 * Over it an open file description goes as it is, with its locks, so that nobody
 * else can have them in between. Both sides have it until one ends.
 */
#ifndef HOST_CARRY_MEETING_H
#define HOST_CARRY_MEETING_H

#include <stdint.h>
#include "host/bytes.h"

#define MEETING_TOKEN_SIZE 16

struct meeting {
	int listener, fd;		   /* -1: none */
	char path[4096];		   /* "": none, or gone */
	uint8_t token[MEETING_TOKEN_SIZE]; /* who does not know it is not the destination */
};

void meeting_init(struct meeting *m);
void meeting_close(struct meeting *m);
/* Source: in that directory, if it takes one. -errno. */
int meeting_offer(struct meeting *m, const char *directory);
void meeting_put(const struct meeting *m, struct bytes *out);
/* Destination: goes there. A descriptor, or -1: another kernel, or none was offered. */
int meeting_find(struct reader *in);
/* Source, once the destination has been there: fd is set if it has. */
void meeting_join(struct meeting *m);

/* In order. */
int meeting_hand(int meeting_fd, int fd);
int meeting_take(int meeting_fd); /* a regular file's descriptor, or -errno */

#endif
