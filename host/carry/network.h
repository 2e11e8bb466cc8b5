/* SPDX-License-Identifier: Apache-2.0
 *
 * The addresses that move with a program, and where their packets go meanwhile.
 *
 *              source                           destination
 *   prepare    steer: pass                      hold ready; steer: hold, silent
 *   calm       steer: redirect new connections
 *   freeze     steer: redirect all              packets wait in the queue
 *   COMMIT                                      address added; queue let in; steer: pass; announced
 *   forget     steer: redirect all, silent
 *   end        address removed, steer gone      hold gone
 *
 * Until COMMIT the destination has neither the address nor an answer for it: if
 * its process dies, the kernel takes down what was set up here.
 */
#ifndef HOST_CARRY_NETWORK_H
#define HOST_CARRY_NETWORK_H

#include <poll.h>

#include "host/bytes.h"
#include "host/failure.h"
#include "host/net/address.h"
#include "host/net/hold.h"
#include "host/net/steer.h"

#define SERVICES_MAX 16
#define PEERS_MAX 64 /* whose neighbours are resolved beforehand */

struct service {
	struct in6_addr address;
	struct place place; /* here */
	uint8_t to_mac[6];  /* source: the destination's */
	unsigned steer;
	bool added; /* destination: the address is here by our doing */
};

struct network {
	int route;
	struct service service[SERVICES_MAX];
	unsigned service_count;
	struct way {
		struct in6_addr own, peer;
	} way[PEERS_MAX]; /* source: of the program's connections */
	unsigned way_count;
	struct steer steer[SERVICES_MAX]; /* one per interface */
	int steer_interface[SERVICES_MAX];
	unsigned steer_count;
	struct pollfd linger[SERVICES_MAX]; /* source, once the program has left: who wants it to end (host/net/linger.h) */
	unsigned linger_count;
	/* destination */
	struct hold hold;
	unsigned departures;
	int packet; /* announcements; opened early, since closing one takes milliseconds */
};

void network_init(struct network *n);
void network_close(struct network *n);
bool network_has(const struct network *n, const struct in6_addr *address);

/* Whether it is an address of this host. */
bool network_is_here(struct network *n, const struct in6_addr *address);

/* ---- source ---- */
/* Adds an address that must move, if it can. stays: the migration stream's own, or NULL. */
int network_source_add(struct network *n, const struct in6_addr *address, const struct in6_addr *stays,
		       struct failure *why);
/* Remembers a peer of a connection; more than PEERS_MAX are left out. -EXDEV: it is reached by another interface than the one
 * that has the connection's own address, where no packet program is. */
int network_source_peer(struct network *n, const struct in6_addr *own, const struct in6_addr *peer);
/* Fails now if this host could not redirect. What it loads for that lets everything pass. */
int network_source_check(struct network *n, struct failure *why);
void network_put(const struct network *n, struct bytes *manifest);
int network_source_prepare(struct network *n, struct reader *answer, struct failure *why);
/* flags: of steer.h; 0: packets come in as always. */
int network_steer(struct network *n, uint32_t flags);
/* After COMMIT: removes the addresses, then waits until no more packets come for them. Blocks. */
void network_source_finish(struct network *n);

/* ---- destination ---- */
int network_destination_prepare(struct network *n, struct reader *manifest, struct bytes *answer,
				struct failure *why);
/* After COMMIT, before connections speak: the addresses are here. */
int network_destination_arrive(struct network *n, struct failure *why);
/* After connections speak: held packets come in, neighbours are told. */
int network_destination_open(struct network *n, struct failure *why);
void network_destination_finish(struct network *n);
/* Instead, before COMMIT: what was held goes back to the source. Blocks for some milliseconds. */
void network_destination_return(struct network *n);

#endif
