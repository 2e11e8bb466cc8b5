/* SPDX-License-Identifier: Apache-2.0
 *
 * Socket options the program may have set, as one table. What
 * differs from a fresh socket is set again.
 */
#ifndef HOST_NET_SOCKOPTS_H
#define HOST_NET_SOCKOPTS_H

#include "host/bytes.h"

void sockopts_dump(int fd, struct bytes *out);
/* fd: fresh. An option this kernel refuses is left out. SO_REUSEADDR is for the caller to set: TCP_REPAIR has
 * its own idea of it. Returns 0 or -EBADMSG. */
int sockopts_restore(int fd, struct reader *in, uint8_t *reuse_address);

#endif
