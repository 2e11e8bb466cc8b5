/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets for sockets of this host, in a peer's name: what the peer's own packet
 * told the other host and nobody will say again.
 */
#ifndef HOST_NET_INJECT_H
#define HOST_NET_INJECT_H

#include <stddef.h>
#include <stdint.h>
#include "host/net/ip.h"

/* Opened when first needed: most programs that move never are in need of it, and they stand still meanwhile. */
struct inject {
	int ipv4, ipv6; /* -1: not yet */
};
#define INJECT_UNOPENED ((struct inject){-1, -1})

void inject_close(struct inject *i);
/* data: from the header of the protocol on, checksum included. to is an address of this host. Needs CAP_NET_RAW. */
int inject(struct inject *i, const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
	   const void *data, size_t size);

#endif
