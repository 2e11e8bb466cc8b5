/* SPDX-License-Identifier: Apache-2.0
 *
 * poll and epoll. After a move a listening socket may have connections that
 * only the table knows of (struct file, pending); until the program has
 * accepted them, waits report them as the kernel would: poll adds them to the
 * kernel's answer, epoll sets have the socket's bell.
 */
#include "host/ocall_request.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool has_pending(const struct request *r, const struct descriptor *d)
{
	return fdtable_pending_any(r->fds) && d->file->pending_count > 0;
}

struct poll_set {
	struct pollfd *program, *host;
	struct descriptor **borrowed;
	unsigned count;
};

static int poll_set_borrow(struct request *r, struct poll_set *set, bool *ready_now)
{
	set->host = calloc(set->count + 1, sizeof(*set->host));
	set->borrowed = calloc(set->count + 1, sizeof(struct descriptor *));
	if (!set->host || !set->borrowed)
		return -ENOMEM;
	for (unsigned i = 0; i < set->count; i++) {
		struct pollfd *p = &set->program[i];
		set->host[i] = (struct pollfd){.fd = -1, .events = p->events};
		if (p->fd < 0)
			continue;
		set->borrowed[i] = fdtable_borrow(r->fds, p->fd);
		if (set->borrowed[i])
			set->host[i].fd = set->borrowed[i]->host_fd;
		if (!set->borrowed[i] || has_pending(r, set->borrowed[i]))
			*ready_now = true;
	}
	return 0;
}

static void poll_set_return(struct request *r, struct poll_set *set)
{
	for (unsigned i = 0; set->borrowed && i < set->count; i++)
		if (set->borrowed[i])
			fdtable_return(r->fds, set->borrowed[i]);
	free(set->borrowed);
	free(set->host);
}

/* revents to the program, with what the kernel does not know. Returns how many are set. */
static long poll_set_report(struct request *r, struct poll_set *set)
{
	long ready = 0;
	for (unsigned i = 0; i < set->count; i++) {
		struct pollfd *p = &set->program[i];
		p->revents = set->host[i].revents;
		if (p->fd >= 0 && !set->borrowed[i])
			p->revents = POLLNVAL;
		else if (p->fd >= 0 && has_pending(r, set->borrowed[i]))
			p->revents |= p->events & (POLLIN | POLLRDNORM);
		ready += p->revents != 0;
	}
	return ready;
}

long call_poll(struct request *r)
{
	struct poll_set set = {.program = (struct pollfd *)r->arg[0], .count = (unsigned)r->arg[1]};
	if (set.count > CALL_DATA_SIZE / sizeof(struct pollfd))
		return -EINVAL;
	bool ready_now = false;
	long result = poll_set_borrow(r, &set, &ready_now);
	if (!result) {
		struct timespec none = {0};
		if (ready_now)
			result = request_direct(SYS_ppoll, (long)set.host, set.count, (long)&none, 0, 0, 0);
		else if (r->nr == SYS_poll)
			result = request_blocking(r, SYS_poll, (long)set.host, set.count, r->arg[2], 0, 0, 0);
		else /* without the signal mask: signals are the enclave's */
			result =
			    request_blocking(r, SYS_ppoll, (long)set.host, set.count, r->arg[2], 0, 0, 0);
		if (result >= 0)
			result = poll_set_report(r, &set);
	}
	poll_set_return(r, &set);
	return result;
}

long call_epoll_create(struct request *r)
{
	int flags = r->nr == SYS_epoll_create1 ? (int)r->arg[0] : 0;
	if (r->nr == SYS_epoll_create && (int)r->arg[0] <= 0)
		return -EINVAL;
	int fd = epoll_create1(flags | EPOLL_CLOEXEC);
	return fd < 0 ? -errno : fdtable_add(r->fds, fd, FILE_EPOLL, flags & EPOLL_CLOEXEC);
}

long call_epoll_ctl(struct request *r)
{
	const long *a = r->arg;
	long result = request_direct(SYS_epoll_ctl, a[0], a[1], a[2], a[3], 0, 0);
	if (result == 0)
		r->borrowed[2]->watched = true;
	if (result == 0 && has_pending(r, r->borrowed[2]))
		fdtable_pending_watch(r->fds, r->borrowed[2]->file, (int)a[0], (int)a[1],
				      (const struct epoll_event *)a[3]);
	return result;
}

long call_epoll_wait(struct request *r)
{
	long epoll_fd = r->arg[0], max = r->arg[2], timeout = r->arg[3];
	struct epoll_event *events = (struct epoll_event *)r->arg[1];
	if (max <= 0 || max > (long)(CALL_DATA_SIZE / sizeof(*events)))
		return -EINVAL;
	/* Without the signal mask: signals are the enclave's. */
	if (r->nr == SYS_epoll_pwait2)
		return request_blocking(r, SYS_epoll_pwait2, epoll_fd, (long)events, max, timeout, 0, 0);
	return request_blocking(r, SYS_epoll_wait, epoll_fd, (long)events, max, timeout, 0, 0);
}
