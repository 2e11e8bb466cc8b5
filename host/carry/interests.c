/* SPDX-License-Identifier: Apache-2.0
 *
 * The interests of epoll descriptors, by what the program calls them: its
 * numbers, not the host's. The kernel keeps an interest by the open file and the
 * number it was added by, so one whose number is closed while a dup of it lives
 * on is still there; it moves as an interest without a number (struct file,
 * ghost).
 */
#include "host/carry/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/epoll_interest.h"

struct interests {
	const struct inventory *inventory;
	struct known {
		const struct inventory_descriptor *descriptor; /* NULL: none of the program's */
		bool is_ghost;				       /* of that descriptor's file */
	} *by_host_fd;
	int host_fd_count;
	/* of the set that is looked at */
	uint32_t epoll; /* index of its file */
	int epoll_fd;
	struct bytes *out;
	uint32_t count;
};

static void include(struct interests *in, int host_fd)
{
	if (host_fd >= in->host_fd_count)
		in->host_fd_count = host_fd + 1;
}

static int interests_open(const struct inventory *v, struct interests *out)
{
	*out = (struct interests){.inventory = v};
	for (unsigned i = 0; i < v->descriptor_count; i++) {
		const struct descriptor *d = v->descriptor[i].descriptor;
		include(out, d->host_fd);
		for (unsigned g = 0; g < d->file->ghost_count; g++)
			include(out, d->file->ghost[g]);
	}
	out->by_host_fd = calloc((size_t)out->host_fd_count + 1, sizeof(*out->by_host_fd));
	for (unsigned i = 0; out->by_host_fd && i < v->descriptor_count; i++) {
		const struct descriptor *d = v->descriptor[i].descriptor;
		out->by_host_fd[d->host_fd] = (struct known){&v->descriptor[i], false};
		for (unsigned g = 0; g < d->file->ghost_count; g++)
			out->by_host_fd[d->file->ghost[g]] = (struct known){&v->descriptor[i], true};
	}
	return out->by_host_fd ? 0 : -ENOMEM;
}

/* Without a descriptor it is none of the program's: a bell. */
static struct known find(const struct interests *in, const struct epoll_interest *i)
{
	return i->host_fd < in->host_fd_count ? in->by_host_fd[i->host_fd] : (struct known){0};
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
	struct known k = find(in, interest);
	if (!k.descriptor)
		return 0;
	bytes_put_u32(in->out, in->epoll);
	bytes_put_u32(in->out, (uint32_t)k.descriptor->fd);
	bytes_put_u8(in->out, !k.is_ghost);
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
	struct known k = find(in, interest);
	struct file *f = k.descriptor ? k.descriptor->descriptor->file : NULL;
	if (f && f->pending_count)
		fdtable_pending_watch(in->inventory->fds, f, in->epoll_fd, EPOLL_CTL_ADD, &interest->event);
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
