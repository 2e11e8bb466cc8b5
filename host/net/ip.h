/* SPDX-License-Identifier: Apache-2.0
 *
 * An IP address of either family: an IPv4 one is the IPv6 address it is mapped
 * to (::ffff:a.b.c.d). So one socket family, one map and one record serve both.
 */
#ifndef HOST_NET_IP_H
#define HOST_NET_IP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* False: the name has no IP address. */
bool ip_of(const struct sockaddr_storage *name, struct in6_addr *out);
/* In network order; 0 if it has none. */
uint16_t ip_port(const struct sockaddr_storage *name);
bool ip_equal(const struct in6_addr *a, const struct in6_addr *b);
bool ip_is_ipv4(const struct in6_addr *a);
bool ip_is_any(const struct in6_addr *a);
bool ip_is_loopback(const struct in6_addr *a);
void ip_text(const struct in6_addr *a, char out[INET6_ADDRSTRLEN]);

/* As its own family's messages have it: AF_INET and 4 bytes, or AF_INET6 and 16. */
struct ip_wire {
	uint8_t family;
	uint8_t bits;
	size_t size;
	const uint8_t *data; /* in a */
};
struct ip_wire ip_wire(const struct in6_addr *a);
/* The address of 4 or 16 bytes. */
struct in6_addr ip_read(uint8_t family, const void *data);

#endif
