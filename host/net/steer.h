/* SPDX-License-Identifier: Apache-2.0
 *
 * A small program in the kernel, at an interface's entrance (TCX), that decides
 * about packets for the addresses that move: let them in, mark them to be held
 * here (hold.h), or send them on to another host's MAC. The decision is one map
 * entry per address, so it changes in one system call, and the program goes
 * when its descriptors are closed, however this process ends.
 */
#ifndef HOST_NET_STEER_H
#define HOST_NET_STEER_H

#include <stdint.h>

#define STEER_HOLD 1u	  /* mark them: netfilter's queue takes them */
#define STEER_REDIRECT 2u /* out again, to .to_mac */
#define STEER_NEW_ONLY 4u /* with the two above: only the first packet of a TCP connection (SYN) */
#define STEER_SILENT 8u	  /* drop ARP requests for the address: this host does not answer for it */

struct steer_rule {
	uint32_t flags; /* 0: pass */
	uint32_t mark;
	uint32_t interface; /* to leave by: the one it came in by */
	uint8_t to_mac[6], from_mac[6];
	uint64_t redirected; /* packets, counted by the kernel */
} __attribute__((aligned(8)));

struct steer {
	int map;
	int program;
	int link;
};

#define STEER_NONE ((struct steer){-1, -1, -1})

/* On failure *out is STEER_NONE. -EOPNOTSUPP: no TCX in this kernel. -EPERM: no privilege. */
int steer_open(int interface, struct steer *out);
void steer_close(struct steer *s);
/* address: network order. Sets .redirected to what it was if the rule exists. */
int steer_set(struct steer *s, uint32_t address, const struct steer_rule *rule);
int steer_get(struct steer *s, uint32_t address, struct steer_rule *rule);

#endif
