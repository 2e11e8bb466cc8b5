/* SPDX-License-Identifier: Apache-2.0
 *
 * What the program made for itself: pipes and socketpairs with what is in them,
 * eventfds, timerfds, signalfds. Contents are copied, not taken out: an undone move leaves
 * them as they were.
 */
#include "host/carry/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "host/fdinfo.h"
#include "host/net/sockopts.h"

#define CONTENT_MAX (64u << 20)
#define TIMERFD_SET_TICKS _IOW('T', 0, uint64_t) /* linux/timerfd.h clashes with sys/timerfd.h */
#define CALENDAR_FLAGS (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)
#define STATUS_FLAGS (O_NONBLOCK | O_APPEND)

int channels_check(const struct inventory_file *f, struct failure *why)
{
	int flags = fcntl(f->host_fd, F_GETFL);
	if (f->file->kind == FILE_PIPE && flags >= 0 && (flags & O_DIRECT))
		return fail(why, -ENOTSUP, "descriptor %d: a pipe in packet mode (O_DIRECT) cannot move",
			    f->fd);
	return flags < 0 ? fail(why, -errno, "descriptor %d: %s", f->fd, strerror(errno)) : 0;
}

/* ---- pipes ---- */

static int copy_pipe(int host_fd, struct bytes *out)
{
	int size = 0, scratch[2];
	if (ioctl(host_fd, FIONREAD, &size) < 0)
		return -errno;
	if (size == 0 || pipe2(scratch, O_CLOEXEC | O_NONBLOCK) < 0) {
		bytes_put_u32(out, 0);
		return size ? -errno : out->error;
	}
	/* As many slots as the original: tee copies slot by slot. */
	fcntl(scratch[1], F_SETPIPE_SZ, fcntl(host_fd, F_GETPIPE_SZ));
	int r = 0;
	ssize_t copied = tee(host_fd, scratch[1], (size_t)size, SPLICE_F_NONBLOCK);
	bytes_put_u32(out, (uint32_t)size);
	uint8_t *data = bytes_extend(out, (size_t)size);
	if (!data)
		r = out->error;
	else if (copied != size || read(scratch[0], data, (size_t)size) != size)
		r = -EIO;
	close(scratch[0]);
	close(scratch[1]);
	return r;
}

static int dump_pipe(const struct inventory_file *f, struct bytes *out)
{
	struct stat st;
	int flags = fcntl(f->host_fd, F_GETFL), capacity = fcntl(f->host_fd, F_GETPIPE_SZ);
	if (fstat(f->host_fd, &st) < 0 || flags < 0 || capacity < 0)
		return -errno;
	bool reads = (flags & O_ACCMODE) == O_RDONLY;
	bytes_put_u8(out, RECORD_PIPE);
	bytes_put_u64(out, st.st_ino); /* both ends have it */
	bytes_put_u8(out, reads);
	bytes_put_u32(out, (uint32_t)(flags & STATUS_FLAGS));
	bytes_put_u32(out, (uint32_t)capacity);
	if (reads)
		return copy_pipe(f->host_fd, out);
	bytes_put_u32(out, 0);
	return out->error;
}

/* The end of pair `id` that an earlier record's counterpart left, or -1. */
static int take_end(struct restore *r, uint64_t id)
{
	for (unsigned i = 0; i < r->pair_count; i++) {
		if (r->pair[i].id != id)
			continue;
		int fd = r->pair[i].fd;
		r->pair[i] = r->pair[--r->pair_count];
		return fd;
	}
	return -1;
}

static int leave_end(struct restore *r, uint64_t id, int fd)
{
	struct restore_pair *pair = realloc(r->pair, (r->pair_count + 1) * sizeof(*pair));
	if (!pair) {
		close(fd);
		return -ENOMEM;
	}
	r->pair = pair;
	pair[r->pair_count++] = (struct restore_pair){id, fd};
	return 0;
}

static int other_end(const struct restore *r, uint64_t id)
{
	for (unsigned i = 0; i < r->pair_count; i++)
		if (r->pair[i].id == id)
			return r->pair[i].fd;
	return -1;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t put = write(fd, data, size);
		if (put < 0)
			return -errno;
		data += put;
		size -= (size_t)put;
	}
	return 0;
}

static int restore_pipe(struct restore *r, struct reader *in, struct made *out)
{
	uint64_t id = reader_u64(in);
	bool reads = reader_u8(in);
	uint32_t flags = reader_u32(in), capacity = reader_u32(in);
	size_t size;
	const uint8_t *content = reader_block(in, &size);
	if (in->error)
		return in->error;
	out->host_fd = take_end(r, id);
	if (out->host_fd < 0) {
		int end[2];
		if (pipe2(end, O_CLOEXEC) < 0)
			return -errno;
		out->host_fd = end[reads ? 0 : 1];
		int error = leave_end(r, id, end[reads ? 1 : 0]);
		if (error)
			return error;
	}
	if (reads)
		fcntl(out->host_fd, F_SETPIPE_SZ, capacity);
	if (fcntl(out->host_fd, F_SETFL, flags & STATUS_FLAGS) < 0)
		return -errno;
	if (!size)
		return 0;
	/* Filled through a descriptor of our own: the writing end may never come, or may be non-blocking. */
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out->host_fd);
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int error = write_all(fd, content, size);
	close(fd);
	return error;
}

/* ---- socketpairs ---- */

int channels_rights(struct msghdr *m)
{
	int r = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
			int fd;
			memcpy(&fd, (char *)c + at, sizeof(fd));
			close(fd);
		}
		r = -EINPROGRESS;
	}
	return r;
}

/* A stream is given in parts where descriptors are. */
static int peek_whole(int host_fd, uint8_t *data, size_t size)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(253 * sizeof(int))];
	do {
		struct iovec part = {data, size};
		struct msghdr m = {
		    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
		ssize_t got = recvmsg(host_fd, &m, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		int r = got < 0 ? -EIO : channels_rights(&m);
		if (r || (got == 0 && size))
			return r ? r : -EIO;
		data += got;
		size -= (size_t)got;
	} while (size);
	return 0;
}

/* One without content, or the end? A packet of that kind is one if there is more behind it. */
static bool is_message(int host_fd, int type, size_t total)
{
	int all = 0;
	if (type == SOCK_SEQPACKET)
		ioctl(host_fd, FIONREAD, &all);
	return type == SOCK_DGRAM || (size_t)all > total;
}

/* Of the next message, -EINPROGRESS: it has descriptors, also if it has nothing else. */
static ssize_t next_size(int host_fd)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(253 * sizeof(int))];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(host_fd, &m, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int r = size < 0 ? -errno : channels_rights(&m);
	return r ? r : size;
}

/* Every message in a socket's receive queue (a stream is one), without taking it out. */
static int copy_messages(int host_fd, int type, struct bytes *out)
{
	int before = -1, r = sockets_peek_from(host_fd, 0, &before);
	size_t count_at = out->size, total = 0;
	uint32_t count = 0;
	bytes_put_u32(out, 0);
	if (r)
		return r;
	for (;;) {
		ssize_t size = next_size(host_fd);
		int unread = 0;
		if (type == SOCK_STREAM) {
			ioctl(host_fd, FIONREAD, &unread);
			size = count ? 0 : unread;
		}
		if (size == -EINPROGRESS)
			r = -EINPROGRESS;
		if (size < 0 || (size == 0 && !is_message(host_fd, type, total)))
			break;
		total += (size_t)size;
		if (total > CONTENT_MAX) {
			r = -EFBIG;
			break;
		}
		bytes_put_u32(out, (uint32_t)size);
		uint8_t *data = bytes_extend(out, (size_t)size);
		if (!data) {
			r = out->error;
			break;
		}
		/* It has been looked at, and so is passed over from here on. */
		r = size ? peek_whole(host_fd, data, (size_t)size) : 0;
		if (r)
			break;
		count++;
	}
	sockets_peek_from(host_fd, before, NULL);
	if (!out->error)
		memcpy(out->data + count_at, &count, sizeof(count));
	return r;
}

static int dump_socketpair(const struct inventory_file *f, uint64_t id, struct bytes *out)
{
	int type, flags = fcntl(f->host_fd, F_GETFL);
	socklen_t size = sizeof(type);
	if (flags < 0 || getsockopt(f->host_fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return -errno;
	bytes_put_u8(out, RECORD_SOCKETPAIR);
	bytes_put_u64(out, id);
	bytes_put_u32(out, (uint32_t)type);
	bytes_put_u32(out, (uint32_t)(flags & STATUS_FLAGS));
	bytes_put_u8(out, f->file->shut);
	sockopts_dump(f->host_fd, f->file->options, out);
	return copy_messages(f->host_fd, type, out);
}

int channels_look_for_rights(int host_fd)
{
	struct bytes none = {0};
	int type, r = 0;
	socklen_t size = sizeof(type);
	if (getsockopt(host_fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
		r = copy_messages(host_fd, type, &none);
	bytes_free(&none);
	return r == -EINPROGRESS ? r : 0;
}

int channels_fail(const struct inventory_file *f, int error, struct failure *why)
{
	if (error == -EINPROGRESS)
		return fail(why, -EAGAIN,
			    "descriptor %d: the program has sent a descriptor in a message (SCM_RIGHTS) and not yet "
			    "received it; try again",
			    f->fd);
	return fail(why, error, "descriptor %d: its content cannot be read: %s", f->fd, strerror(-error));
}

int channels_dump_pair(const struct inventory_file *f, uint64_t id, struct bytes *out, struct failure *why)
{
	int r = dump_socketpair(f, id, out);
	return r ? channels_fail(f, r, why) : 0;
}

/* The sender is given room for it, and then its own again: what it could have sent it has. */
static int fill_socket(int from, struct reader *in)
{
	uint32_t count = reader_count(in, 4);
	int own = 0, r = 0;
	size_t held = 0;
	socklen_t own_size = sizeof(own);
	getsockopt(from, SOL_SOCKET, SO_SNDBUF, &own, &own_size);
	for (; !r && count; count--) {
		size_t size;
		const uint8_t *data = reader_block(in, &size);
		if (!data)
			break;
		held += size;
		int space = (int)(held < CONTENT_MAX ? held * 2 + 65536 : 2 * CONTENT_MAX);
		setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof(space));
		if (send(from, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
			r = -EIO;
	}
	own /= 2; /* the kernel tells twice of what it was given */
	setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &own, sizeof(own));
	return r ? r : in->error;
}

/* Of a pair's first end: a duplicate, to fill the second end's queue through. */
#define FIRST_END(id) (~(id))

/* Not before both ends' queues are filled. */
static int shut_later(struct restore *r, int fd, uint8_t how)
{
	struct restore_shut *shut = realloc(r->shut, (r->shut_count + 1) * sizeof(*shut));
	if (!shut)
		return -ENOMEM;
	r->shut = shut;
	shut[r->shut_count++] = (struct restore_shut){fd, how};
	return 0;
}

static int restore_socketpair(struct restore *r, struct reader *in, struct made *out)
{
	uint64_t id = reader_u64(in);
	uint32_t type = reader_u32(in), flags = reader_u32(in);
	uint8_t shut = reader_u8(in);
	uint64_t options;
	int reuse;
	if (in->error)
		return in->error;
	bool first = other_end(r, id) < 0;
	int error = 0;
	if (first) {
		int end[2];
		if (socketpair(AF_UNIX, (int)type | SOCK_CLOEXEC, 0, end) < 0)
			return -errno;
		out->host_fd = end[0];
		error = leave_end(r, id, end[1]);
		if (!error)
			error = leave_end(r, FIRST_END(id), fcntl(end[0], F_DUPFD_CLOEXEC, 3));
	} else {
		out->host_fd = take_end(r, id);
	}
	int filler = first ? other_end(r, id) : other_end(r, FIRST_END(id));
	if (!error)
		error = sockopts_restore(out->host_fd, in, &options, &reuse);
	if (!error)
		error = fill_socket(filler, in);
	if (!error && fcntl(out->host_fd, F_SETFL, flags & STATUS_FLAGS) < 0)
		error = -errno;
	if (!error) {
		out->file->shut = shut;
		out->file->pair = id;
		out->file->options = options;
		if (shut)
			error = shut_later(r, out->host_fd, shut);
	}
	if (!first)
		close(take_end(r, FIRST_END(id)));
	return error;
}

void channels_restored(struct restore *r)
{
	for (unsigned i = 0; i < r->shut_count; i++)
		for (int how = SHUT_RD; how <= SHUT_WR; how++)
			if (r->shut[i].how & 1u << how)
				shutdown(r->shut[i].fd, how);
	free(r->shut);
	r->shut = NULL;
	r->shut_count = 0;
	for (unsigned i = 0; i < r->pair_count; i++)
		close(r->pair[i].fd);
	free(r->pair);
	r->pair = NULL;
	r->pair_count = 0;
}

/* ---- counters and timers ---- */

static int dump_eventfd(const struct inventory_file *f, struct bytes *out)
{
	struct fdinfo info;
	int r = fdinfo_read(f->host_fd, &info);
	bytes_put_u8(out, RECORD_EVENTFD);
	bytes_put_u64(out, info.eventfd_count);
	bytes_put_u32(out, info.flags & STATUS_FLAGS);
	bytes_put_u8(out, (f->file->creation & EFD_SEMAPHORE) != 0);
	return r ? r : out->error;
}

static int restore_eventfd(struct reader *in, struct made *out)
{
	uint64_t count = reader_u64(in);
	uint32_t flags = reader_u32(in);
	bool semaphore = reader_u8(in);
	if (in->error)
		return in->error;
	out->file->creation = semaphore ? EFD_SEMAPHORE : 0;
	out->host_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (semaphore ? EFD_SEMAPHORE : 0));
	if (out->host_fd < 0 || (count && write(out->host_fd, &count, sizeof(count)) != sizeof(count)))
		return -errno;
	return fcntl(out->host_fd, F_SETFL, flags & STATUS_FLAGS) < 0 ? -errno : 0;
}

/* Whether it can be read the enclave tells, there too: host/signals.c. */
static int dump_signalfd(const struct inventory_file *f, struct bytes *out)
{
	int flags = fcntl(f->host_fd, F_GETFL);
	bytes_put_u8(out, RECORD_SIGNALFD);
	bytes_put_u32(out, f->file->creation);
	bytes_put_u32(out, (uint32_t)flags & STATUS_FLAGS);
	return flags < 0 ? -errno : out->error;
}

static int restore_signalfd(struct reader *in, struct made *out)
{
	out->file->creation = reader_u32(in);
	uint32_t flags = reader_u32(in);
	if (in->error)
		return in->error;
	out->host_fd = eventfd(0, EFD_CLOEXEC);
	return out->host_fd < 0 || fcntl(out->host_fd, F_SETFL, flags & STATUS_FLAGS) < 0 ? -errno : 0;
}

static void put_time(struct bytes *out, struct timespec t)
{
	bytes_put_u64(out, (uint64_t)t.tv_sec);
	bytes_put_u64(out, (uint64_t)t.tv_nsec);
}

static struct timespec get_time(struct reader *in)
{
	struct timespec t = {.tv_sec = (time_t)reader_u64(in)};
	t.tv_nsec = (long)reader_u64(in);
	return t;
}

static int dump_timerfd(const struct inventory_file *f, struct bytes *out)
{
	struct fdinfo info;
	struct itimerspec now_running;
	/* An interval timer that has rung stands still until it is looked at. */
	timerfd_gettime(f->host_fd, &now_running);
	int r = fdinfo_read(f->host_fd, &info);
	if (r)
		return r;
	struct timespec first = info.timer.it_value;
	/* It rang between the two looks, which the ticks count: its next time is an interval away. */
	if (!first.tv_sec && !first.tv_nsec)
		first = info.timer.it_interval;
	/* A moment on the calendar is the same on both hosts; anything else travels as what remains of it. */
	bool calendar = (info.timer_flags & TFD_TIMER_ABSTIME) && info.clock == CLOCK_REALTIME &&
			(first.tv_sec || first.tv_nsec);
	if (calendar) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		first.tv_sec += now.tv_sec;
		first.tv_nsec += now.tv_nsec;
		if (first.tv_nsec >= 1000000000) {
			first.tv_nsec -= 1000000000;
			first.tv_sec++;
		}
	}
	bytes_put_u8(out, RECORD_TIMERFD);
	bytes_put_u32(out, (uint32_t)info.clock);
	bytes_put_u32(out, info.flags & STATUS_FLAGS);
	bytes_put_u8(out, calendar ? info.timer_flags & CALENDAR_FLAGS : 0);
	put_time(out, first);
	put_time(out, info.timer.it_interval);
	bytes_put_u64(out, info.timer_ticks);
	return out->error;
}

static int restore_timerfd(struct reader *in, struct made *out)
{
	uint32_t clock = reader_u32(in), flags = reader_u32(in);
	int how = reader_u8(in) & CALENDAR_FLAGS;
	struct itimerspec timer;
	timer.it_value = get_time(in);
	timer.it_interval = get_time(in);
	uint64_t ticks = reader_u64(in);
	if (in->error)
		return in->error;
	out->file->creation = clock;
	out->host_fd = timerfd_create((int)clock, TFD_CLOEXEC);
	if (out->host_fd < 0 || fcntl(out->host_fd, F_SETFL, flags & STATUS_FLAGS) < 0 ||
	    timerfd_settime(out->host_fd, how, &timer, NULL) < 0)
		return -errno;
	if (ticks && ioctl(out->host_fd, TIMERFD_SET_TICKS, &ticks) < 0) {
		/* A kernel without checkpoint support: at least one expiry is seen at once. */
		timer.it_value = (struct timespec){0, 1};
		timerfd_settime(out->host_fd, 0, &timer, NULL);
	}
	return 0;
}

/* ---- all of them ---- */

int channels_dump(const struct inventory_file *f, struct bytes *out, struct failure *why)
{
	int r;
	switch (f->file->kind) {
	case FILE_PIPE:
		r = dump_pipe(f, out);
		break;
	case FILE_SOCKETPAIR:
		r = dump_socketpair(f, f->file->pair, out);
		break;
	case FILE_EVENTFD:
		r = dump_eventfd(f, out);
		break;
	case FILE_TIMERFD:
		r = dump_timerfd(f, out);
		break;
	case FILE_SIGNALFD:
		r = dump_signalfd(f, out);
		break;
	default: /* epoll: its interests are a section of their own, behind all descriptors */
		bytes_put_u8(out, RECORD_EPOLL);
		r = out->error;
	}
	return r ? channels_fail(f, r, why) : 0;
}

int channels_restore(struct restore *restore, enum record record, struct reader *in, struct made *out,
		     struct failure *why)
{
	static const enum file_kind kinds[] = {[RECORD_PIPE] = FILE_PIPE,
					       [RECORD_EVENTFD] = FILE_EVENTFD,
					       [RECORD_TIMERFD] = FILE_TIMERFD,
					       [RECORD_SIGNALFD] = FILE_SIGNALFD,
					       [RECORD_EPOLL] = FILE_EPOLL,
					       [RECORD_SOCKETPAIR] = FILE_SOCKETPAIR};
	out->file = fdtable_file(kinds[record]);
	if (!out->file)
		return fail(why, -ENOMEM, "out of memory");
	int r;
	switch (record) {
	case RECORD_PIPE:
		r = restore_pipe(restore, in, out);
		break;
	case RECORD_SOCKETPAIR:
		r = restore_socketpair(restore, in, out);
		break;
	case RECORD_EVENTFD:
		r = restore_eventfd(in, out);
		break;
	case RECORD_TIMERFD:
		r = restore_timerfd(in, out);
		break;
	case RECORD_SIGNALFD:
		r = restore_signalfd(in, out);
		break;
	default:
		out->host_fd = epoll_create1(EPOLL_CLOEXEC);
		r = out->host_fd < 0 ? -errno : 0;
	}
	return r ? fail(why, r, "a %s cannot be made here: %s",
			record == RECORD_PIPE	      ? "pipe"
			: record == RECORD_SOCKETPAIR ? "socketpair"
			: record == RECORD_EVENTFD    ? "eventfd"
			: record == RECORD_TIMERFD    ? "timerfd"
			: record == RECORD_SIGNALFD   ? "signalfd"
						      : "epoll descriptor",
			strerror(-r))
		 : 0;
}
