/* SPDX-License-Identifier: Apache-2.0
 *
 * A small program in the kernel, at an interface's entrance, that decides
 * about packets for the addresses that move: let them in, mark them to be held
 * here (hold.h), or send them on to another host's MAC. Another at its exit
 * keeps this host from speaking for an address whose packets it sends on. The
 * decision is one map entry per address, so it changes in one system call for
 * both. Where the kernel has TCX, the programs go when their descriptors are
 * closed, however this process ends.
 */
#ifndef HOST_NET_STEER_H
#define HOST_NET_STEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "host/net/steer_tc.h"

#define STEER_HOLD 1u	  /* mark them: netfilter's queue takes them */
#define STEER_REDIRECT 2u /* out again, to .to_mac; what comes from the address is dropped */
#define STEER_NEW_ONLY 4u /* with the two above: only the first packet of a TCP connection (SYN) */
#define STEER_SILENT                                                                                         \
	8u /* drop ARP requests and neighbour solicitations: this host does not answer for it                \
	    */

struct steer_rule {
	uint32_t flags; /* 0: pass */
	uint32_t mark;
	uint32_t interface; /* to leave by: the one it came in by */
	uint8_t to_mac[6], from_mac[6];
	uint64_t redirected; /* packets, counted by the kernel */
} __attribute__((aligned(8)));

struct steer_side {
	int program;
	int link;	 /* TCX; -1: */
	struct steer_filter filter;
};

struct steer {
	int map;
	int interface;
	struct steer_side in, out;
};

#define STEER_NONE ((struct steer){.map = -1, .in = {-1, -1, STEER_FILTER_NONE}, .out = {-1, -1, STEER_FILTER_NONE}})

/* For tests: as on a kernel without TCX. */
extern bool steer_avoid_tcx;

/* On failure *out is STEER_NONE. -EOPNOTSUPP: the kernel can attach no program. -EPERM: no privilege. */
int steer_open(int interface, struct steer *out);
void steer_close(struct steer *s);
/* Sets .redirected to what it was if the rule exists. */
int steer_set(struct steer *s, const struct in6_addr *address, const struct steer_rule *rule);
int steer_get(struct steer *s, const struct in6_addr *address, struct steer_rule *rule);

#endif
