/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/carry/wire.h"

#define DUMP_TRIES 20 /* a packet under way on another processor when the redirect began may still arrive */

static struct frozen *new_frozen(struct carry_source *s, int host_fd)
{
	if (s->frozen_count == s->frozen_capacity) {
		unsigned capacity = s->frozen_capacity ? s->frozen_capacity * 2 : 64;
		struct frozen *all = realloc(s->frozen, capacity * sizeof(*all));
		if (!all)
			return NULL;
		s->frozen = all;
		s->frozen_capacity = capacity;
	}
	struct frozen *f = &s->frozen[s->frozen_count++];
	*f = (struct frozen){.host_fd = host_fd};
	return f;
}

/* What ahead_read() would have read, of a connection that is new or was touched since. */
static int read_now(struct carry_source *s, int host_fd, const struct file *file, struct frozen *f,
		    struct failure *why)
{
	struct in6_addr own;
	bool known = sockets_address(host_fd, false, &own), here = known && ip_is_loopback(&own);
	if (!s->options.tcp_established || !known ||
	    !(network_has(&s->network, &own) || (here && inventory_has_other_end(&s->inventory, host_fd)))) {
		const char *hint = here ? "its other end has not been accepted yet: try again"
					: "its address is new: try again";
		char name[200];
		sockets_describe(host_fd, name, sizeof(name));
		return fail(why, s->options.tcp_established ? -EAGAIN : -EISCONN,
			    "a TCP connection (%s) was made meanwhile; %s", name,
			    s->options.tcp_established ? hint : "use --tcp-established to move connections along");
	}
	socklen_t size = sizeof(f->reuse_address);
	getsockopt(host_fd, SOL_SOCKET, SO_REUSEADDR, &f->reuse_address, &size);
	f->fixed = s->fixed.size;
	int r = sockets_dump_fixed(host_fd, file->options, &s->fixed);
	f->fixed_size = s->fixed.size - f->fixed;
	return r ? fail(why, r, "a connection cannot be read: %s", strerror(-r)) : 0;
}

static int freeze_connection(struct carry_source *s, int host_fd, const struct file *file,
			     const struct ahead *ahead, struct failure *why)
{
	struct frozen *f = new_frozen(s, host_fd);
	if (!f)
		return fail(why, -ENOMEM, "out of memory");
	f->shut = file->shut;
	f->urgent = file->urgent;
	if (ahead) {
		f->fixed = ahead->fixed;
		f->fixed_size = ahead->fixed_size;
		f->reuse_address = ahead->reuse_address;
	} else {
		int r = read_now(s, host_fd, file, f, why);
		if (r)
			return r;
	}
	f->peeks = sockets_peeks(file);
	if (f->peeks)
		sockets_peek_from(host_fd, -1, &f->peek_from);
	int r = tcp_freeze(host_fd);
	f->in_repair = r == 0;
	return r ? fail(why, r, "a connection cannot be frozen: %s", strerror(-r)) : 0;
}

/* What the kernel has accepted and the program has not is kept with the listener, here or there. */
static int drain_listener(struct carry_source *s, const struct inventory_file *listener, struct failure *why)
{
	int flags = fcntl(listener->host_fd, F_GETFL), fd, r = 0;
	if (flags < 0 || fcntl(listener->host_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return fail(why, -errno, "descriptor %d: %s", listener->fd, strerror(errno));
	while (!r) {
		fd = accept4(listener->host_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && errno == ECONNABORTED)
			continue;
		if (fd < 0) {
			/* None, or the listener is shut. What is left to the kernel for want of descriptors would
			 * be reset. */
			if (errno != EAGAIN && errno != EINVAL)
				r = fail(why, -errno, "descriptor %d: connections that wait cannot be accepted: %s",
					 listener->fd, strerror(errno));
			break;
		}
		r = fdtable_pending_add(s->fds, listener->file, fd);
		if (r) {
			close(fd);
			fail(why, r, "out of memory");
		}
	}
	fcntl(listener->host_fd, F_SETFL, flags);
	return r;
}

static int freeze_all(struct carry_source *s, struct failure *why)
{
	struct inventory *v = &s->inventory;
	int r = 0;
	if (s->local)
		return 0;
	for (unsigned i = 0; !r && i < v->file_count; i++)
		if (s->file[i].class == SOCKET_CONNECTION) {
			s->file[i].frozen = s->frozen_count;
			r = freeze_connection(s, v->file[i].host_fd, v->file[i].file,
					      ahead_of(s, v->file[i].file), why);
		}
	/* Last: what was on its way through another processor has arrived by now. */
	for (unsigned i = 0; !r && i < v->file_count; i++) {
		if (s->file[i].class != SOCKET_LISTENER)
			continue;
		r = drain_listener(s, &v->file[i], why);
		struct file *listener = v->file[i].file;
		s->file[i].frozen = s->frozen_count;
		for (unsigned p = 0; !r && p < listener->pending_count; p++) {
			enum socket_class class;
			r = sockets_classify(listener->pending[p], &class);
			if (!r && class == SOCKET_CONNECTION)
				r = freeze_connection(s, listener->pending[p], listener, NULL, why);
		}
	}
	return r;
}

static int dump_frozen(struct carry_source *s, struct frozen *f, struct bytes *out)
{
	int r = sockets_dump_connection(f->host_fd, f->shut, s->fixed.data + f->fixed, f->fixed_size, out,
					&f->mark);
	/* Where in the queue it stands, the kernel does not tell. */
	return !r && f->urgent && f->mark.unacknowledged ? -ENOTSUP : r;
}

/* The listener's record, then its pending connections. Those that ended unseen are forgotten, as the kernel
 * would. */
static int dump_pending(struct carry_source *s, const struct file *listener, unsigned first,
			struct bytes *out)
{
	size_t count_at = out->size;
	uint32_t count = 0;
	int r = 0;
	bytes_put_u32(out, 0);
	/* They were frozen in this order. */
	for (unsigned p = 0, i = first; !r && p < listener->pending_count && i < s->frozen_count; p++) {
		if (s->frozen[i].host_fd != listener->pending[p])
			continue;
		r = dump_frozen(s, &s->frozen[i++], out);
		count++;
	}
	if (!out->error)
		memcpy(out->data + count_at, &count, sizeof(count));
	return r;
}

static int dump_file(struct carry_source *s, unsigned i, struct bytes *out, struct failure *why)
{
	const struct inventory_file *f = &s->inventory.file[i];
	int r;
	switch (f->file->kind) {
	case FILE_STDIO:
	case FILE_OPENED:
		return files_dump(f, &s->hand_over, out, why);
	case FILE_SOCKET:
		if (s->local) {
			r = unix_is(f->host_fd) ? channels_look_for_rights(f->host_fd) : 0;
			if (r)
				return channels_fail(f, r, why);
			sockets_dump_shared(f, out);
			return 0;
		}
		if (s->file[i].class != SOCKET_CONNECTION && unix_is(f->host_fd))
			return unix_dump(&s->inventory, f, out, why);
		if (s->file[i].class != SOCKET_CONNECTION) {
			r = sockets_dump(f, s->file[i].class, &s->network, out, why);
			if (!r && s->file[i].class == SOCKET_LISTENER)
				r = dump_pending(s, f->file, s->file[i].frozen, out);
		} else {
			r = dump_frozen(s, &s->frozen[s->file[i].frozen], out);
		}
		if (r == -ENOTSUP)
			return fail(
			    why, r,
			    "descriptor %d: the connection has out-of-band data that has not arrived or was "
			    "not read",
			    f->fd);
		return r ? fail(why, r, "descriptor %d: state of the connection cannot be read: %s", f->fd,
				strerror(-r))
			 : 0;
	default:
		return channels_dump(f, out, why);
	}
}

static int dump_all(struct carry_source *s, struct bytes *out, struct failure *why)
{
	const struct inventory *v = &s->inventory;
	int r = 0;
	bytes_put_u32(out, v->file_count);
	for (unsigned i = 0; !r && i < v->file_count; i++)
		r = dump_file(s, i, out, why);
	bytes_put_u32(out, v->descriptor_count);
	for (unsigned i = 0; i < v->descriptor_count; i++) {
		bytes_put_u32(out, (uint32_t)v->descriptor[i].fd);
		bytes_put_u32(out, v->descriptor[i].descriptor->file->index);
		bytes_put_u8(out, v->descriptor[i].descriptor->cloexec);
	}
	return r;
}

static bool changed(const struct carry_source *s)
{
	for (unsigned i = 0; i < s->frozen_count; i++)
		if (s->frozen[i].in_repair && tcp_changed(s->frozen[i].host_fd, &s->frozen[i].mark))
			return true;
	return false;
}

static int dump_process(const struct carry_source *s, struct bytes *out, struct failure *why)
{
	char directory[CARRY_PATH_MAX];
	int r = carry_working_directory(directory, why);
	uint64_t soft, hard;
	mode_t mask = umask(0);
	umask(mask);
	fdtable_limit(s->fds, &soft, &hard);
	bytes_put_string(out, directory);
	bytes_put_u32(out, mask);
	bytes_put_u64(out, soft);
	bytes_put_u64(out, hard);
	struct rlimit files = {RLIM_INFINITY, RLIM_INFINITY};
	getrlimit(RLIMIT_FSIZE, &files);
	bytes_put_u64(out, files.rlim_cur);
	return r;
}

static int classify_all(struct carry_source *s, struct failure *why)
{
	const struct inventory *v = &s->inventory;
	s->file = calloc(v->file_count + 1, sizeof(*s->file));
	if (!s->file)
		return fail(why, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < v->file_count; i++) {
		if (v->file[i].file->kind != FILE_SOCKET)
			continue;
		int r = ahead_of(s, v->file[i].file)
			    ? sockets_classify_connection(v->file[i].host_fd, &s->file[i].class)
			    : sockets_classify(v->file[i].host_fd, &s->file[i].class);
		if (r)
			return fail(why, r, "descriptor %d: %s", v->file[i].fd, strerror(-r));
	}
	return 0;
}

static int hand_all(struct carry_source *s, struct failure *why)
{
	const struct hand_over *h = &s->hand_over;
	int r = 0;
	for (unsigned i = 0; !r && i < h->count; i++)
		r = meeting_hand(h->meeting, h->fd[i]);
	return r ? fail(why, r, "%u files cannot be handed over: %s", h->count, strerror(-r)) : 0;
}

int carry_source_freeze(struct carry_source *s, struct bytes *state, struct failure *why)
{
	int r = s->network.service_count ? network_steer(&s->network, STEER_REDIRECT) : 0;
	if (r)
		return fail(why, r, "packets cannot be redirected: %s", strerror(-r));
	r = inventory_take(s->fds, &s->inventory);
	if (r)
		return fail(why, r, "out of memory");
	r = classify_all(s, why);
	if (!r)
		r = freeze_all(s, why);
	if (r)
		return r;
	if (!state->data) {
		*state = s->room;
		s->room = (struct bytes){0};
	}
	bytes_put_u32(state, CARRY_STATE);
	r = dump_process(s, state, why);
	s->hand_over.file_locks = s->options.file_locks;
	s->hand_over.compare = !s->options.files_ignore;
	s->hand_over.meeting = s->meeting.fd;
	size_t start = state->size;
	for (unsigned i = 0; !r; i++) {
		state->size = start;
		s->hand_over.count = s->hand_over.unnamed_count = 0;
		s->hand_over.shipped = 0;
		r = dump_all(s, state, why);
		bool again = r == -ESTALE || (!r && changed(s));
		if (!again)
			break;
		r = i == DUMP_TRIES ? fail(why, -EAGAIN,
					   "packets of the program's connections keep arriving past the redirect")
				    : 0;
	}
	if (!r) /* more may have come since it was asked */
		r = sockets_fit(state->size, why);
	if (!r)
		r = interests_dump(s, state, why);
	if (!r)
		r = locks_dump(fdtable_posix_locks(s->fds), &s->inventory, &s->hand_over, state, why);
	if (!r)
		r = hand_all(s, why);
	return !r && state->error ? fail(why, state->error, "out of memory") : r;
}
