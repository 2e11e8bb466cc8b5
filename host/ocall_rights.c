/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors in messages (SCM_RIGHTS): the program's numbers go out as host
 * descriptors, and what comes in gets the lowest free numbers.
 */
#include "host/ocall_request.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_rights(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
}

static unsigned count_of(const struct cmsghdr *c)
{
	return (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

static int translate(struct request *r, struct rights *held, int *number)
{
	struct descriptor *d = held->count < RIGHTS_MAX ? fdtable_borrow(r->fds, *number) : NULL;
	if (!d)
		return held->count < RIGHTS_MAX ? -EBADF : -ETOOMANYREFS;
	held->descriptor[held->count++] = d;
	/* What a kernel does not tell of one that arrives. */
	if ((d->file->kind == FILE_EVENTFD && d->file->creation & EFD_SEMAPHORE) || d->file->pending_count)
		return -EOPNOTSUPP;
	fdtable_sent(r->fds, d, *number);
	*number = d->host_fd;
	return 0;
}

int rights_out(struct request *r, const struct msghdr *own, struct rights *held)
{
	struct msghdr *m = &held->message;
	int error = 0;
	held->count = 0;
	*m = *own;
	if (m->msg_controllen > sizeof(held->control))
		return -ENOBUFS;
	if (m->msg_controllen)
		memcpy(held->control, own->msg_control, m->msg_controllen);
	m->msg_control = held->control;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c && !error; c = CMSG_NXTHDR(m, c))
		for (unsigned i = 0; is_rights(c) && i < count_of(c) && !error; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			error = translate(r, held, &fd);
			memcpy(CMSG_DATA(c) + i * sizeof(fd), &fd, sizeof(fd));
		}
	return error;
}

void rights_back(struct request *r, struct rights *held)
{
	while (held->count)
		fdtable_return(r->fds, held->descriptor[--held->count]);
}

void rights_in(struct request *r, struct msghdr *m, bool cloexec)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		unsigned good = 0, count = is_rights(c) ? count_of(c) : 0;
		for (unsigned i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (good < i) { /* as the kernel: none behind one there is no number for */
				close(fd);
				continue;
			}
			int number = fdtable_add_received(r->fds, fd, cloexec);
			if (number < 0)
				continue;
			memcpy(CMSG_DATA(c) + i * sizeof(fd), &number, sizeof(number));
			good++;
		}
		if (good == count)
			continue;
		m->msg_flags |= MSG_CTRUNC;
		c->cmsg_len = CMSG_LEN(good * sizeof(int));
		m->msg_controllen = (size_t)((char *)c - (char *)m->msg_control) + (good ? c->cmsg_len : 0);
		return;
	}
}
