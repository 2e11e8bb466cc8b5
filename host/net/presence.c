/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/presence.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAITING_MAX 16 /* more than connections of a session, and those of one that was given up */

static socklen_t name_of(const char *text, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* abstract: behind a zero */
	int size = snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1, "optmig/%s", text);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
}

static int open_named(const char *text, int (*use)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un name;
	socklen_t size = name_of(text, &name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (use(fd, (struct sockaddr *)&name, size) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

int presence_begin(const char *name)
{
	int fd = open_named(name, bind);
	if (fd < 0 || listen(fd, WAITING_MAX) == 0)
		return fd;
	int error = -errno;
	close(fd);
	return error;
}

int presence_ask(const char *name)
{
	return open_named(name, connect);
}
