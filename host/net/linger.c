/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/linger.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/net/ip.h"

#define END_MAX_MS 1000

static socklen_t name_of(const struct in6_addr *address, struct sockaddr_un *out)
{
	char text[INET6_ADDRSTRLEN];
	ip_text(address, text);
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* abstract: behind a zero */
	int size = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "optmig-linger-%s", text);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}

int linger_open(const struct in6_addr *address)
{
	struct sockaddr_un name;
	socklen_t size = name_of(address, &name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&name, size) < 0 || listen(fd, 4) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

void linger_end(const struct in6_addr *address)
{
	struct sockaddr_un name;
	socklen_t size = name_of(address, &name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd ended = {.fd = fd, .events = POLLIN};
	if (fd >= 0 && connect(fd, (struct sockaddr *)&name, size) == 0)
		poll(&ended, 1, END_MAX_MS);
	if (fd >= 0)
		close(fd);
}
