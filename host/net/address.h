/* SPDX-License-Identifier: Apache-2.0
 *
 * IP addresses of this host's interfaces: where one lives, putting it
 * elsewhere, telling the neighbours.
 */
#ifndef HOST_NET_ADDRESS_H
#define HOST_NET_ADDRESS_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include "host/net/ip.h"

struct place {
	int interface; /* index */
	char name[IF_NAMESIZE];
	uint8_t mac[6];
	uint8_t prefix;	     /* length the address has here */
	bool carries_more;   /* other addresses of its subnet would vanish with it */
	bool autoconfigured; /* IPv6: the router's next advertisement would bring it back */
};

/* route: netlink_open(NETLINK_ROUTE). Where a local address is. -ENOENT: not on this host. -EPROTONOSUPPORT:
 * not on an Ethernet interface. */
int address_find(int route, const struct in6_addr *address, struct place *out);
/* The interface over which the address's link is reached. -EHOSTUNREACH: no route, or only through a gateway.
 */
int address_link(int route, const struct in6_addr *address, struct place *out);
/* The index of the interface by which packets from one address leave for another; 0 if there is no way. */
int address_way(int route, const struct in6_addr *from, const struct in6_addr *to);
/* Resolves the neighbour that leads to a peer, so that the first packet to it need not wait. A hint: no
 * answer is waited for. */
void address_warm(int route, const struct in6_addr *peer);
/* As a /32 or /128, usable when this returns: an IPv6 address is not first asked for on the link, for until
 * now the other host has had it. Adding one that is there, removing one that is not: 0. */
int address_add(int route, const struct in6_addr *address, int interface);
int address_remove(int route, const struct in6_addr *address, int interface, uint8_t prefix);
/* Gratuitous ARP request or unsolicited neighbour advertisement: "address is at my MAC". packet:
 * address_packet_open(). */
int address_packet_open(void);
int address_announce(int packet, const struct in6_addr *address, const struct place *place);

#endif
