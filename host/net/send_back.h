/* SPDX-License-Identifier: Apache-2.0
 *
 * A packet that was held here goes on to the host it was redirected from, as if
 * it had never been.
 */
#ifndef HOST_NET_SEND_BACK_H
#define HOST_NET_SEND_BACK_H

#include <stddef.h>
#include <stdint.h>
#include "host/net/address.h"

/* A socket for it, or -errno. */
int send_back_open(void);
/* packet: from its IPv4 or IPv6 header on; may be a large one that receive offload has put together. */
int send_back(int fd, const struct place *place, const uint8_t to_mac[6], const uint8_t *packet, size_t size);

#endif
