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

struct inject {
	int ipv4, ipv6; /* -1: none */
};

/* Needs CAP_NET_RAW; what cannot be opened fails when it is used. */
struct inject inject_open(void);
void inject_close(struct inject *i);
/* data: from the header of the protocol on, checksum included. to is an address of this host. */
int inject(const struct inject *i, const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
	   const void *data, size_t size);

#endif
