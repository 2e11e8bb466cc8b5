/* SPDX-License-Identifier: Apache-2.0
 *
 * "tcp:HOST:PORT", "tcp:[::1]:PORT" and sockets made of it. Untrusted side.
 * 0 or -errno.
 */
#ifndef MIGRATE_ADDRESS_H
#define MIGRATE_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>
#include "host/failure.h"

struct address {
	char text[300]; /* as given */
	struct sockaddr_storage at;
	socklen_t size;
};

/* Is it written like one? Nothing is looked up. -EINVAL. */
int address_check(const char *text, struct failure *why);
/* Names are looked up. An empty HOST is every local address. */
int address_parse(const char *text, struct address *out, struct failure *why);
/* A listening socket. */
int address_listen(const struct address *a, int *fd, struct failure *why);
/* A connected socket. wake_fd (or -1): readable means give up, -ECANCELED. */
int address_connect(const struct address *a, int timeout_ms, int wake_fd, int *fd, struct failure *why);
/* No delays, large buffers, and an error when the other end is silent for that long. */
void address_tune(int fd, unsigned silence_ms);

#endif
