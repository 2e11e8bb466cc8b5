/* SPDX-License-Identifier: Apache-2.0
 *
 * A move within one network namespace: no address changes hands and nothing has
 * to be repaired or held, for the destination can take the source's sockets as
 * they are (pidfd_getfd). Both sides have them until one ends.
 */
#ifndef HOST_CARRY_LOCAL_H
#define HOST_CARRY_LOCAL_H

#include <stdbool.h>
#include <sys/socket.h>
#include "host/bytes.h"
#include "host/failure.h"

/* Whether a stream with these ends stays within this network namespace. peer may have ss_family 0: unknown.
 */
bool local_stream(const struct sockaddr_storage *own, const struct sockaddr_storage *peer);
/* Who this process is, for the other side to find. */
void local_put(struct bytes *out);
/* A descriptor of the process that wrote local_put(), if it is in this kernel and this network namespace. */
int local_open(struct reader *in, int *pidfd, struct failure *why);
/* Its socket. -ENOTSOCK for anything else. */
int local_take(int pidfd, int fd);

#endif
