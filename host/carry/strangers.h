/* SPDX-License-Identifier: Apache-2.0
 *
 * Other programs' connections on the addresses that are to move: they would be
 * cut, for an address goes with all of its packets.
 */
#ifndef HOST_CARRY_STRANGERS_H
#define HOST_CARRY_STRANGERS_H

#include "host/carry/network.h"
#include "host/failure.h"
#include "host/fdtable.h"

/* -EADDRINUSE: there are some. The program may run meanwhile. Where the kernel does not tell, nothing is refused. */
int strangers_check(struct fdtable *fds, const struct network *network, struct failure *why);

#endif
