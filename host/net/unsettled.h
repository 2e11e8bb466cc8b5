/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP connections that are the kernel's alone: handshakes not yet complete, and
 * last data and FINs of sockets the program has closed. They belong to no
 * descriptor, so they cannot be carried, but they end by themselves within a
 * round trip or two.
 */
#ifndef HOST_NET_UNSETTLED_H
#define HOST_NET_UNSETTLED_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* A socket for the question, or -errno. */
int unsettled_open(void);
/* How many there are whose local address `ours` accepts. -errno. */
int unsettled_count(int fd, bool (*ours)(const void *context, const struct in6_addr *address),
		    const void *context);

#endif
