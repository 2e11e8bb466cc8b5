/* SPDX-License-Identifier: Apache-2.0
 *
 * poll and epoll. After a move a listening socket may have connections that
 * only the table knows of (struct file, pending); until the program has
 * accepted them, waits report them as the kernel would.
 */
#include "host/ocall_request.h"

#include "host/epoll_interest.h"

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

/* Listening sockets with pending connections in this set, as events. A one-shot or edge-triggered interest
 * is satisfied by it: the kernel's copy is disarmed or the program goes on until EAGAIN. */
struct pending_search {
	struct request *r;
	int epoll_fd;
	struct epoll_event *out;
	unsigned count, max;
};

static int pending_visit(void *context, int host_fd, const struct epoll_event *interest)
{
	struct pending_search *s = context;
	struct descriptor *d;
	for (int fd = 0; s->count < s->max && (fd = fdtable_next(s->r->fds, fd, &d)) >= 0; fd++) {
		d = fdtable_borrow(s->r->fds, fd);
		if (!d)
			continue;
		bool found = d->host_fd == host_fd;
		if (found && d->file->pending_count && (interest->events & EPOLLIN)) {
			s->out[s->count++] = (struct epoll_event){.events = EPOLLIN, .data = interest->data};
			if (interest->events & EPOLLONESHOT) {
				struct epoll_event off = {.events = EPOLLONESHOT, .data = interest->data};
				epoll_ctl(s->epoll_fd, EPOLL_CTL_MOD, host_fd, &off);
			}
		}
		fdtable_return(s->r->fds, d);
		if (found)
			break;
	}
	return 0;
}

long call_epoll_wait(struct request *r)
{
	long epoll_fd = r->arg[0], max = r->arg[2], timeout = r->arg[3];
	struct epoll_event *events = (struct epoll_event *)r->arg[1];
	if (max <= 0 || max > (long)(CALL_DATA_SIZE / sizeof(*events)))
		return -EINVAL;
	if (fdtable_pending_any(r->fds)) {
		struct pending_search s = {r, (int)epoll_fd, events, 0, (unsigned)max};
		epoll_interest_each((int)epoll_fd, pending_visit, &s);
		if (s.count == s.max)
			return (long)s.count;
		if (s.count) {
			long more = request_direct(SYS_epoll_wait, epoll_fd, (long)(events + s.count),
						   max - (long)s.count, 0, 0, 0);
			return (long)s.count + (more > 0 ? more : 0);
		}
	}
	/* Without the signal mask: signals are the enclave's. */
	if (r->nr == SYS_epoll_pwait2)
		return request_blocking(r, SYS_epoll_pwait2, epoll_fd, (long)events, max, timeout, 0, 0);
	return request_blocking(r, SYS_epoll_wait, epoll_fd, (long)events, max, timeout, 0, 0);
}
