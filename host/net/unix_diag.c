/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/unix_diag.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/net/netlink.h"

static int visit(void *context, const struct nlmsghdr *answer)
{
	struct unix_info *out = context;
	const size_t body = sizeof(struct unix_diag_msg);
	const uint32_t *peer = netlink_attribute(answer, body, UNIX_DIAG_PEER, sizeof(*peer));
	const struct unix_diag_rqlen *queue =
	    netlink_attribute(answer, body, UNIX_DIAG_RQLEN, sizeof(*queue));
	*out = (struct unix_info){peer ? *peer : 0, queue ? queue->udiag_wqueue : 0};
	return 0;
}

int unix_ask(uint32_t inode, struct unix_info *out)
{
	struct netlink_message m = {0};
	struct unix_diag_req body = {.sdiag_family = AF_UNIX,
				     .udiag_states = ~0u,
				     .udiag_ino = inode,
				     .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN,
				     .udiag_cookie = {~0u, ~0u}};
	int fd = netlink_open(NETLINK_SOCK_DIAG);
	if (fd < 0)
		return fd;
	netlink_begin(&m, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, &body, sizeof(body));
	int r = netlink_ask(fd, &m, visit, out);
	close(fd);
	return r;
}

/* Two ways to one file: through a link, by way of /proc. */
static bool same_file(const char *path, const char *other)
{
	const char *name = strrchr(path, '/'), *other_name = strrchr(other, '/');
	struct stat a, b;
	return path[0] == '/' && other[0] == '/' && strcmp(name, other_name) == 0 && lstat(path, &a) == 0 &&
	       lstat(other, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

bool unix_name_taken(const struct sockaddr_un *name, size_t size)
{
	char wanted[sizeof(name->sun_path) + 1] = "", line[512], path[200];
	size_t length = size - offsetof(struct sockaddr_un, sun_path);
	memcpy(wanted, name->sun_path, length);
	/* The list has @ for the zero bytes of names that are no paths. */
	for (size_t i = 0; !name->sun_path[0] && i < length; i++)
		wanted[i] = wanted[i] ? wanted[i] : '@';
	FILE *f = fopen("/proc/self/net/unix", "re");
	bool taken = false;
	while (f && !taken && fgets(line, sizeof(line), f))
		taken = sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %199[^\n]", path) == 1 &&
			(strcmp(path, wanted) == 0 || same_file(path, wanted));
	if (f)
		fclose(f);
	return taken;
}
