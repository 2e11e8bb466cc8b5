/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/ip.h"

#include <arpa/inet.h>
#include <string.h>

#define IPV4_AT 12 /* in a mapped address */

bool ip_of(const struct sockaddr_storage *name, struct in6_addr *out)
{
	if (name->ss_family == AF_INET)
		*out = ip_read(AF_INET, &((const struct sockaddr_in *)name)->sin_addr);
	else if (name->ss_family == AF_INET6)
		*out = ((const struct sockaddr_in6 *)name)->sin6_addr;
	else
		return false;
	return true;
}

uint16_t ip_port(const struct sockaddr_storage *name)
{
	if (name->ss_family == AF_INET)
		return ((const struct sockaddr_in *)name)->sin_port;
	return name->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)name)->sin6_port : 0;
}

bool ip_equal(const struct in6_addr *a, const struct in6_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool ip_is_ipv4(const struct in6_addr *a)
{
	return IN6_IS_ADDR_V4MAPPED(a);
}

bool ip_is_any(const struct in6_addr *a)
{
	struct ip_wire w = ip_wire(a);
	for (size_t i = 0; i < w.size; i++)
		if (w.data[i])
			return false;
	return true;
}

bool ip_is_loopback(const struct in6_addr *a)
{
	return ip_is_ipv4(a) ? a->s6_addr[IPV4_AT] == IN_LOOPBACKNET : IN6_IS_ADDR_LOOPBACK(a);
}

void ip_text(const struct in6_addr *a, char out[INET6_ADDRSTRLEN])
{
	struct ip_wire w = ip_wire(a);
	inet_ntop(w.family, w.data, out, INET6_ADDRSTRLEN);
}

struct ip_wire ip_wire(const struct in6_addr *a)
{
	if (ip_is_ipv4(a))
		return (struct ip_wire){AF_INET, 32, sizeof(struct in_addr), a->s6_addr + IPV4_AT};
	return (struct ip_wire){AF_INET6, 128, sizeof(*a), a->s6_addr};
}

struct in6_addr ip_read(uint8_t family, const void *data)
{
	struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	if (family == AF_INET)
		memcpy(a.s6_addr + IPV4_AT, data, sizeof(struct in_addr));
	else
		memcpy(&a, data, sizeof(a));
	return a;
}
