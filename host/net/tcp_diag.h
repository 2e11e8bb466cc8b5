/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel knows of this host's TCP connections, those that are its alone
 * among them: handshakes not yet complete, and last data and FINs of sockets the
 * program has closed. They belong to no descriptor, so they cannot be carried, but
 * they end by themselves within a round trip or two.
 */
#ifndef HOST_NET_TCP_DIAG_H
#define HOST_NET_TCP_DIAG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct tcp_seen {
	struct in6_addr own, peer;
	uint32_t inode; /* of the socket; 0: nobody's descriptor */
};

/* A socket for the question, or -errno. */
int tcp_diag_open(void);
/* Calls visit for each connection in one of the states (bits 1 << TCP_...). -errno. */
int tcp_diag_each(int fd, uint32_t states, void (*visit)(void *context, const struct tcp_seen *seen), void *context);
/* How many there are that belong to no descriptor, and whose local address `ours` accepts. -errno. */
int tcp_diag_unsettled(int fd, bool (*ours)(const void *context, const struct in6_addr *address),
		       const void *context);

#endif
