/* SPDX-License-Identifier: Apache-2.0
 *
 * The interests of epoll descriptors, by what the program calls them: its
 * numbers, not the host's. The kernel keeps an interest by the open file and the
 * number it was added by, so one whose number is closed while a dup of it lives
 * on is still there; it moves as an interest without a number.
 */
#include "host/carry_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "host/epoll_interest.h"

struct interests {
	const struct inventory *inventory;
	const struct inventory_descriptor **by_host_fd; /* NULL: none of the program's */
	int host_fd_count;
	bool outlived; /* some file is */
	/* of the set that is looked at */
	uint32_t epoll; /* index of its file */
	int epoll_fd;
	struct bytes *out;
	uint32_t count;
};

static int interests_open(const struct inventory *v, struct interests *out)
{
	*out = (struct interests){.inventory = v};
	for (unsigned i = 0; i < v->descriptor_count; i++) {
		const struct descriptor *d = v->descriptor[i].descriptor;
		if (d->host_fd >= out->host_fd_count)
			out->host_fd_count = d->host_fd + 1;
		/* Files cannot be waited for. */
		out->outlived |= d->file->outlived && d->file->kind != FILE_OPENED;
	}
	out->by_host_fd = calloc((size_t)out->host_fd_count + 1, sizeof(*out->by_host_fd));
	for (unsigned i = 0; out->by_host_fd && i < v->descriptor_count; i++)
		out->by_host_fd[v->descriptor[i].descriptor->host_fd] = &v->descriptor[i];
	return out->by_host_fd ? 0 : -ENOMEM;
}

static bool is_file(int host_fd, uint64_t inode)
{
	struct stat st;
	return fstat(host_fd, &st) == 0 && st.st_ino == inode;
}

/* The descriptor an interest is in, or, if its own number is closed, another of the same file. NULL: it is
 * none of the program's (a bell). */
static const struct inventory_descriptor *find(const struct interests *in, const struct epoll_interest *i,
					       bool *has_number)
{
	const struct inventory_descriptor *d =
	    i->host_fd < in->host_fd_count ? in->by_host_fd[i->host_fd] : NULL;
	*has_number = true;
	if (!in->outlived || (d && is_file(i->host_fd, i->inode)))
		return d;
	*has_number = false;
	for (unsigned n = 0; n < in->inventory->file_count; n++)
		if (in->inventory->file[n].file->bell == i->host_fd)
			return NULL;
	for (unsigned n = 0; n < in->inventory->descriptor_count; n++) {
		d = &in->inventory->descriptor[n];
		if (d->descriptor->file->outlived && is_file(d->descriptor->host_fd, i->inode))
			return d;
	}
	return NULL;
}

static int each(struct interests *in, int (*visit)(void *context, const struct epoll_interest *interest))
{
	int r = 0;
	for (unsigned i = 0; !r && i < in->inventory->file_count; i++) {
		if (in->inventory->file[i].file->kind != FILE_EPOLL)
			continue;
		in->epoll = i;
		in->epoll_fd = in->inventory->file[i].host_fd;
		r = epoll_interest_each(in->epoll_fd, visit, in);
	}
	return r;
}

static int dump(void *context, const struct epoll_interest *interest)
{
	struct interests *in = context;
	bool has_number;
	const struct inventory_descriptor *d = find(in, interest, &has_number);
	if (!d)
		return 0;
	bytes_put_u32(in->out, in->epoll);
	bytes_put_u32(in->out, (uint32_t)d->fd);
	bytes_put_u8(in->out, has_number);
	bytes_put_u32(in->out, interest->event.events);
	bytes_put_u64(in->out, interest->event.data.u64);
	in->count++;
	return 0;
}

int interests_dump(const struct carry_source *s, struct bytes *out, struct failure *why)
{
	struct interests in;
	size_t count_at = out->size;
	int r = interests_open(&s->inventory, &in);
	in.out = out;
	bytes_put_u32(out, 0);
	if (!r)
		r = each(&in, dump);
	free(in.by_host_fd);
	if (!out->error)
		memcpy(out->data + count_at, &in.count, sizeof(in.count));
	return r ? fail(why, r, "what an epoll descriptor waits for cannot be read: %s", strerror(-r)) : 0;
}

static int ring(void *context, const struct epoll_interest *interest)
{
	struct interests *in = context;
	bool has_number;
	const struct inventory_descriptor *d = find(in, interest, &has_number);
	if (d && d->descriptor->file->pending_count)
		fdtable_pending_watch(in->inventory->fds, d->descriptor->file, in->epoll_fd, EPOLL_CTL_ADD,
				      &interest->event);
	return 0;
}

void interests_ring(const struct carry_source *s)
{
	struct interests in;
	if (!fdtable_pending_any(s->fds) || interests_open(&s->inventory, &in))
		return;
	each(&in, ring);
	free(in.by_host_fd);
}
