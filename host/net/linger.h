/* SPDX-License-Identifier: Apache-2.0
 *
 * For some time after a program has left, its host sends packets for its address on.
 * Should the program come back meanwhile, that has to end: packets would go to and fro
 * between the hosts, and this one would be silent for an address that it has. Who
 * lingers is found by a name, whatever process it is (presence.h). Should another user of
 * the host ask, packets of neighbours that have not learnt of the new place are sent again.
 */
#ifndef HOST_NET_LINGER_H
#define HOST_NET_LINGER_H

#include <netinet/in.h>

/* A socket that can be read when somebody asks for the end, or -errno. Closing it says that it has come. */
int linger_open(const struct in6_addr *address);
/* Asks who lingers for the address, if somebody does, and waits for the end, for a second at most. */
void linger_end(const struct in6_addr *address);

#endif
