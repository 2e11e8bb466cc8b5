/* SPDX-License-Identifier: Apache-2.0
 *
 * Netlink messages: built in a fixed buffer, sent, answered. No library, no
 * spawned program: one message costs some microseconds.
 */
#ifndef HOST_NET_NETLINK_H
#define HOST_NET_NETLINK_H

#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>

/* A socket of the protocol (NETLINK_ROUTE, NETLINK_NETFILTER), close-on-exec, or -errno. */
int netlink_open(int protocol);

/* One or several messages in a row. Too much for the buffer: .error. */
struct netlink_message {
	_Alignas(NLMSG_ALIGNTO) uint8_t data[2048];
	size_t size;
	size_t header; /* of the message being built */
	int error;
};

void netlink_begin(struct netlink_message *m, uint16_t type, uint16_t flags, const void *body,
		   size_t body_size);
void netlink_put(struct netlink_message *m, uint16_t attribute, const void *value, size_t size);
void netlink_put_u32(struct netlink_message *m, uint16_t attribute, uint32_t value);
/* Netfilter's numbers are big-endian. */
void netlink_put_be32(struct netlink_message *m, uint16_t attribute, uint32_t value);
void netlink_put_string(struct netlink_message *m, uint16_t attribute, const char *value);
size_t netlink_nest(struct netlink_message *m, uint16_t attribute);
void netlink_nest_end(struct netlink_message *m, size_t nest);

/* Sends all of it and waits for `acks` acknowledgements. 0 or the first error among them. */
int netlink_send(int fd, struct netlink_message *m, unsigned acks);
/* Sends a request and calls visit for each answer (until NLMSG_DONE if it was a dump) while it returns 0. */
int netlink_ask(int fd, struct netlink_message *m, int (*visit)(void *context, const struct nlmsghdr *answer),
		void *context);
/* Attributes of a message body: the value of the wanted one, at least size bytes, or NULL. */
const void *netlink_attribute(const struct nlmsghdr *answer, size_t body_size, uint16_t attribute,
			      size_t size);

#endif
