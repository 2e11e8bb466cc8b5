/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernel knows of unix sockets and no call on them tells.
 */
#ifndef HOST_NET_UNIX_DIAG_H
#define HOST_NET_UNIX_DIAG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

struct unix_info {
	uint32_t peer;	  /* inode of the connected socket; 0: none, or it is closed */
	uint32_t backlog; /* of a listening one */
};

/* -ENOENT: no such socket in this network namespace. */
int unix_ask(uint32_t inode, struct unix_info *out);
/* Whether some socket of this network namespace has that name. */
bool unix_name_taken(const struct sockaddr_un *name, size_t size);

#endif
