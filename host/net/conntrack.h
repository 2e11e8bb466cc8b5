/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's connection tracking, by which firewalls let in what belongs to a
 * connection they know. What a host remembers of a connection that has left would
 * be wrong if it came back: its packets would be taken for invalid, and dropped.
 */
#ifndef HOST_NET_CONNTRACK_H
#define HOST_NET_CONNTRACK_H

#include <stdbool.h>
#include <sys/socket.h>

/* Does this host's firewall track connections? */
bool conntrack_is_used(void);

/* Connections to be forgotten, noted while their sockets are there. */
struct conntrack_pair {
	struct sockaddr_storage own, peer;
};
/* Of a connected TCP socket. False: it has no names any more. */
bool conntrack_note(int fd, struct conntrack_pair *out);
/* Forgets them. What is not known, or may not be forgotten (CAP_NET_ADMIN), stays. */
void conntrack_forget(const struct conntrack_pair *pairs, unsigned count);

#endif
