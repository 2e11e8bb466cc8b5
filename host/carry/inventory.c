/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "host/net/ip.h"

static int count_descriptors(struct fdtable *fds)
{
	struct descriptor *d;
	int count = 0;
	for (int fd = 0; (fd = fdtable_next(fds, fd, &d)) >= 0; fd++)
		count++;
	return count;
}

/* A file is known if its index leads back to it; indices of earlier walks do not. */
static void enter_file(struct inventory *v, struct descriptor *d, int fd)
{
	struct file *f = d->file;
	if (f->index < v->file_count && v->file[f->index].file == f)
		return;
	f->index = v->file_count;
	v->file[v->file_count++] = (struct inventory_file){.file = f, .host_fd = d->host_fd, .fd = fd};
}

int inventory_take(struct fdtable *fds, struct inventory *out)
{
	*out = (struct inventory){.fds = fds};
	/* The program may open more meanwhile: those are not of this moment. */
	unsigned capacity = (unsigned)count_descriptors(fds);
	out->descriptor = calloc(capacity + 1, sizeof(*out->descriptor));
	out->file = calloc(capacity + 1, sizeof(*out->file));
	if (!out->descriptor || !out->file) {
		inventory_free(out);
		return -ENOMEM;
	}
	struct descriptor *d;
	for (int fd = 0; out->descriptor_count < capacity && (fd = fdtable_next(fds, fd, &d)) >= 0; fd++) {
		d = fdtable_borrow(fds, fd);
		if (!d)
			continue;
		out->descriptor[out->descriptor_count++] = (struct inventory_descriptor){fd, d};
		enter_file(out, d, fd);
	}
	return 0;
}

struct ends {
	struct in6_addr own, peer;
	uint16_t own_port, peer_port;
};

static bool ends_of(int fd, struct ends *out)
{
	struct sockaddr_storage own = {0}, peer = {0};
	socklen_t own_size = sizeof(own), peer_size = sizeof(peer);
	if (getsockname(fd, (struct sockaddr *)&own, &own_size) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0)
		return false;
	out->own_port = ip_port(&own);
	out->peer_port = ip_port(&peer);
	return ip_of(&own, &out->own) && ip_of(&peer, &out->peer);
}

bool inventory_has_other_end(const struct inventory *v, int host_fd)
{
	struct ends here, there;
	if (!ends_of(host_fd, &here))
		return false;
	for (unsigned i = 0; i < v->file_count; i++)
		if (v->file[i].file->kind == FILE_SOCKET && ends_of(v->file[i].host_fd, &there) &&
		    here.own_port == there.peer_port && here.peer_port == there.own_port &&
		    ip_equal(&here.own, &there.peer) && ip_equal(&here.peer, &there.own))
			return true;
	return false;
}

void inventory_free(struct inventory *v)
{
	for (unsigned i = 0; i < v->descriptor_count; i++)
		fdtable_return(v->fds, v->descriptor[i].descriptor);
	free(v->descriptor);
	free(v->file);
	*v = (struct inventory){0};
}
