/* SPDX-License-Identifier: Apache-2.0
 *
 * Socket options, as one table. Which of them a program has set is noted when
 * it sets them (one bit each), so that the rest costs nothing in the downtime.
 */
#ifndef HOST_NET_SOCKOPTS_H
#define HOST_NET_SOCKOPTS_H

#include <stdbool.h>
#include "host/bytes.h"

/* The bit of an option; 0 for one that is not carried. */
uint64_t sockopts_bit(int level, int name);
/* The options of set, and the buffers' sizes, which the kernel changes by itself. Before TCP_REPAIR, which
 * has its own idea of SO_REUSEADDR. */
void sockopts_dump(int fd, uint64_t set, struct bytes *out);
/* An option this kernel refuses is left out, except an interface that is not here: -ENODEV. SO_REUSEADDR is for the
 * caller to set. Returns 0 or -EBADMSG. */
int sockopts_restore(int fd, struct reader *in, uint64_t *set, int *reuse_address);
/* Past what it would read. */
void sockopts_skip(struct reader *in);

/* The two halves of that, where they are read and written at different times. */
struct sockopts_buffers {
	uint32_t receive, send;
};
void sockopts_dump_values(int fd, uint64_t set, struct bytes *out);
int sockopts_restore_values(int fd, struct reader *in, uint64_t *set, int *reuse_address);
/* unread: bytes of memory the receive queue takes. */
int sockopts_buffers(int fd, struct sockopts_buffers *out, uint32_t *unread);
/* Sizes that the kernel adapts go on being its own decision. */
bool sockopts_buffers_are_set(uint64_t set);
void sockopts_restore_buffers(int fd, struct sockopts_buffers sizes, uint64_t set);

#endif
