/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets that arrive for a program between its freeze here or elsewhere and
 * its first instruction here wait in the kernel: steer.h marks them, a netfilter
 * rule sends what is marked to a queue, and release lets the whole queue in at
 * once, in order. The rule lives in a table owned by a descriptor of this
 * process, so it goes when the process goes.
 */
#ifndef HOST_NET_HOLD_H
#define HOST_NET_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hold {
	int queue; /* netlink socket the packets are queued to */
	int table; /* netlink socket that owns the rule */
	uint16_t number;
	uint32_t mark; /* for struct steer_rule */
};

#define HOLD_NONE ((struct hold){.queue = -1, .table = -1})

/* For the packets of one family or both. On failure *out is HOLD_NONE. -EOPNOTSUPP: this kernel has no
 * NFQUEUE or nf_tables. -EPERM. */
int hold_open(bool ipv4, bool ipv6, struct hold *out);
/* Lets in what is queued now. */
int hold_release(struct hold *h);
/* That, and from now on nothing waits: packets that were marked already, and have not come to the queue. */
int hold_end(struct hold *h);
/* Each packet queued since the last call, from its IP header on. It stays queued. The number of packets. */
unsigned hold_each(struct hold *h, void (*visit)(void *context, const uint8_t *packet, size_t size),
		   void *context);
/* What is still queued is dropped: release first. */
void hold_close(struct hold *h);

#endif
