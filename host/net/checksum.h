/* SPDX-License-Identifier: Apache-2.0
 *
 * The Internet checksum (RFC 1071) of what goes over IPv4 or IPv6, for the few
 * packets that are made here. Results are in network order, ready to be stored.
 */
#ifndef HOST_NET_CHECKSUM_H
#define HOST_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include "host/net/ip.h"

/* Of the pseudo header alone, not complemented: what the kernel wants where it is to fill in the rest. */
uint16_t checksum_pseudo(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
			 size_t size);
/* Of pseudo header and data. */
uint16_t checksum_with_pseudo(const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
			      const void *data, size_t size);

#endif
