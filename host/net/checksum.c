/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/checksum.h"

#include <arpa/inet.h>

static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i += 2)
		sum += (uint32_t)data[i] << 8 | (i + 1 < size ? data[i + 1] : 0);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The sum does not depend on where in the pseudo header a number stands, and mapped IPv4 addresses are summed
 * as IPv4's. */
static uint32_t sum_pseudo(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
			   size_t size)
{
	struct ip_wire f = ip_wire(from), t = ip_wire(to);
	return sum16(sum16(0, f.data, f.size), t.data, t.size) + protocol + (uint32_t)(size >> 16) +
	       (uint32_t)(size & 0xffff);
}

uint16_t checksum_pseudo(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
			 size_t size)
{
	return htons(fold(sum_pseudo(from, to, protocol, size)));
}

uint16_t checksum_with_pseudo(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
			      const void *data, size_t size)
{
	return htons((uint16_t)~fold(sum16(sum_pseudo(from, to, protocol, size), data, size)));
}
