/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/carry_local.h"
#include "host/carry_network.h"
#include "host/carry_record.h"
#include "host/carry_wire.h"
#include "host/epoll_interest.h"
#include "host/net/sockopts.h"
#include "host/net/unsettled.h"

#define DUMP_TRIES 20 /* a packet under way on another processor when the redirect began may still arrive */
/* What is half done when new connections are turned away ends within a round trip of its peer; one that takes
 * longer than most is not waited for. */
#define CALM_STEP_US 1000
#define CALM_MAX_US 30000

/* A connection of the program, or one it has not accepted yet. */
struct frozen {
	int host_fd;
	bool in_repair;
	int reuse_address;
	uint8_t shut;
	size_t options, options_size; /* in carry_source.socket_options */
	struct tcp_mark mark;
};

struct carry_source {
	struct fdtable *fds;
	struct carry_options options;
	struct network network;
	bool local;    /* a move within one host: sockets are handed over */
	bool prepared; /* network_source_prepare() succeeded */
	bool ended;    /* undone or forgotten: nothing to take back */

	/* from freeze to undo or forget */
	struct inventory inventory;
	struct source_file { /* by file of the inventory */
		enum socket_class class;
		unsigned frozen;
	} *file;
	struct frozen *frozen;
	unsigned frozen_count, frozen_capacity;
	struct bytes socket_options;
	struct unlocked {
		int host_fd;
		struct fdinfo locks;
	} *unlocked;
	unsigned unlocked_count;
};

int carry_source_open(struct fdtable *fds, const struct carry_options *options, struct carry_source **out,
		      struct failure *why)
{
	struct carry_source *s = calloc(1, sizeof(*s));
	if (!s)
		return fail(why, -ENOMEM, "out of memory");
	s->fds = fds;
	s->options = *options;
	s->local = local_stream(&options->stream_local, &options->stream_peer);
	network_init(&s->network);
	*out = s;
	return 0;
}

static uint32_t stream_address(const struct carry_source *s)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&s->options.stream_local;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&s->options.stream_local;
	uint32_t address = 0;
	if (four->sin_family == AF_INET)
		address = four->sin_addr.s_addr;
	else if (six->sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		memcpy(&address, &six->sin6_addr.s6_addr[12], sizeof(address));
	return address;
}

static bool is_loopback(uint32_t address)
{
	return (ntohl(address) >> 24) == 127;
}

/* ---- preflight ---- */

static int check_connection(struct carry_source *s, const struct inventory_file *f, struct failure *why)
{
	char name[200];
	sockets_describe(f->host_fd, name, sizeof(name));
	if (!s->options.tcp_established)
		return fail(
		    why, -EISCONN,
		    "the program has an established TCP connection (%s); use --tcp-established to move "
		    "connections along, or close them first",
		    name);
	if (s->local)
		return 0;
	uint32_t own = sockets_address(f->host_fd, false), peer = sockets_address(f->host_fd, true);
	if (!own)
		return fail(why, -EAFNOSUPPORT,
			    "the connection %s cannot move: IPv6 connections are not supported yet", name);
	struct place place;
	bool stays = is_loopback(own);
	int r = stays ? 0 : network_source_add(&s->network, own, stream_address(s), why);
	if (r)
		return r;
	if (stays || address_find(s->network.route, peer, &place) == 0)
		return fail(why, -EHOSTUNREACH,
			    "the connection %s has both ends on this host: it cannot follow the program",
			    name);
	network_source_peer(&s->network, peer);
	return 0;
}

static int check_socket(struct carry_source *s, const struct inventory_file *f, struct bytes *bound,
			struct carry_counts *counts, struct failure *why)
{
	enum socket_class class;
	int r = sockets_classify(f->host_fd, &class);
	if (r)
		return fail(why, r, "descriptor %d: %s", f->fd, strerror(-r));
	if (class == SOCKET_CONNECTION) {
		counts->connections++;
		return check_connection(s, f, why);
	}
	if (class == SOCKET_LISTENER)
		counts->listeners++;
	if (s->local || class == SOCKET_ENDED || class == SOCKET_CONNECTING)
		return 0;
	if (class == SOCKET_LISTENER) {
		uint32_t own = sockets_address(f->host_fd, false);
		if (s->options.tcp_established && own && !is_loopback(own)) {
			r = network_source_add(&s->network, own, stream_address(s), why);
			if (r)
				return r;
		}
	}
	size_t before = bound->size;
	r = sockets_check(f, class, bound, why);
	if (bound->size != before)
		counts->bound++;
	return r;
}

int carry_source_preflight(struct carry_source *s, struct bytes *manifest, struct carry_counts *counts,
			   struct failure *why)
{
	struct carry_counts none = {0};
	counts = counts ? counts : &none;
	*counts = none;
	struct inventory v;
	int r = inventory_take(s->fds, &v);
	if (r)
		return fail(why, r, "out of memory");
	counts->descriptors = v.descriptor_count;
	counts->files = v.file_count;
	network_close(&s->network);

	struct bytes paths = {0}, bound = {0};
	unsigned path_count = 0;
	for (unsigned i = 0; !r && i < v.file_count; i++) {
		const struct inventory_file *f = &v.file[i];
		switch (f->file->kind) {
		case FILE_STDIO:
			break;
		case FILE_OPENED:
			path_count++;
			r = files_check(f, &paths, why);
			break;
		case FILE_SOCKET:
			r = check_socket(s, f, &bound, counts, why);
			break;
		default:
			r = channels_check(f, why);
		}
	}
	inventory_free(&v);
	if (!r)
		r = network_source_check(&s->network, why);
	counts->addresses = s->network.service_count;
	if (!r) {
		bytes_put_u32(manifest, CARRY_MANIFEST);
		bytes_put_u8(manifest, s->local);
		if (s->local)
			local_put(manifest);
		bytes_put_u32(manifest, path_count);
		bytes_put(manifest, paths.data, paths.size);
		bytes_put_u32(manifest, counts->bound);
		bytes_put(manifest, bound.data, bound.size);
		network_put(&s->network, manifest);
		if (paths.error || bound.error || manifest->error)
			r = fail(why, -ENOMEM, "out of memory");
	}
	bytes_free(&paths);
	bytes_free(&bound);
	return r;
}

int carry_source_prepare(struct carry_source *s, const void *answer, size_t size, struct failure *why)
{
	struct reader in = reader_of(answer, size);
	if (reader_u32(&in) != CARRY_ANSWER)
		return fail(why, -EBADMSG, "the destination's answer is damaged");
	int r = network_source_prepare(&s->network, &in, why);
	s->prepared = r == 0;
	return r;
}

static bool is_service(const void *network, uint32_t address)
{
	return network_has(network, address);
}

int carry_source_calm(struct carry_source *s, struct failure *why)
{
	if (s->network.service_count == 0)
		return 0;
	int r = network_steer(&s->network, STEER_REDIRECT | STEER_NEW_ONLY);
	if (r)
		return fail(why, r, "packets cannot be redirected: %s", strerror(-r));
	int diag = unsettled_open();
	struct timespec step = {.tv_nsec = CALM_STEP_US * 1000};
	for (unsigned us = 0; us < CALM_MAX_US; us += CALM_STEP_US) {
		nanosleep(&step, NULL);
		if (diag < 0 || unsettled_count(diag, is_service, &s->network) <= 0)
			break;
	}
	if (diag >= 0)
		close(diag);
	return 0;
}

/* ---- freeze ---- */

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

static int freeze_connection(struct carry_source *s, int host_fd, const struct file *file,
			     struct failure *why)
{
	bool known = network_has(&s->network, sockets_address(host_fd, false));
	if (!s->options.tcp_established || !known) {
		char name[200];
		sockets_describe(host_fd, name, sizeof(name));
		return fail(why, s->options.tcp_established ? -EAGAIN : -EISCONN,
			    "a TCP connection (%s) was made meanwhile; %s", name,
			    s->options.tcp_established ? "its address is new: try again"
						       : "use --tcp-established to move connections along");
	}
	struct frozen *f = new_frozen(s, host_fd);
	if (!f)
		return fail(why, -ENOMEM, "out of memory");
	socklen_t size = sizeof(f->reuse_address);
	getsockopt(host_fd, SOL_SOCKET, SO_REUSEADDR, &f->reuse_address, &size);
	f->shut = file->shut;
	f->options = s->socket_options.size;
	sockopts_dump(host_fd, file->options, &s->socket_options);
	f->options_size = s->socket_options.size - f->options;
	int r = s->socket_options.error ? s->socket_options.error : tcp_freeze(host_fd);
	f->in_repair = r == 0;
	return r ? fail(why, r, "a connection cannot be frozen: %s", strerror(-r)) : 0;
}

/* What the kernel has accepted and the program has not is kept with the listener, here or there. */
static int drain_listener(struct carry_source *s, const struct inventory_file *listener, struct failure *why)
{
	int flags = fcntl(listener->host_fd, F_GETFL), fd, r = 0;
	if (flags < 0 || fcntl(listener->host_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return fail(why, -errno, "descriptor %d: %s", listener->fd, strerror(errno));
	while (!r && (fd = accept4(listener->host_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
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
			r = freeze_connection(s, v->file[i].host_fd, v->file[i].file, why);
		}
	/* Last: what was on its way through another processor has arrived by now. */
	for (unsigned i = 0; !r && i < v->file_count; i++) {
		if (s->file[i].class != SOCKET_LISTENER)
			continue;
		r = drain_listener(s, &v->file[i], why);
		struct file *listener = v->file[i].file;
		for (unsigned p = 0; !r && p < listener->pending_count; p++) {
			enum socket_class class;
			r = sockets_classify(listener->pending[p], &class);
			if (!r && class == SOCKET_CONNECTION)
				r = freeze_connection(s, listener->pending[p], listener, why);
		}
	}
	return r;
}

static int dump_frozen(struct carry_source *s, struct frozen *f, struct bytes *out)
{
	return sockets_dump_connection(f->host_fd, f->shut, s->socket_options.data + f->options,
				       f->options_size, out, &f->mark);
}

/* The listener's record, then its pending connections. Those that ended unseen are forgotten, as the kernel
 * would. */
static int dump_pending(struct carry_source *s, const struct file *listener, struct bytes *out)
{
	size_t count_at = out->size;
	uint32_t count = 0;
	int r = 0;
	bytes_put_u32(out, 0);
	for (unsigned p = 0; !r && p < listener->pending_count; p++) {
		unsigned i = 0;
		while (i < s->frozen_count && s->frozen[i].host_fd != listener->pending[p])
			i++;
		if (i == s->frozen_count)
			continue;
		r = dump_frozen(s, &s->frozen[i], out);
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
		return files_dump(f, out, why);
	case FILE_SOCKET:
		if (s->local) {
			sockets_dump_shared(f, out);
			return 0;
		}
		if (s->file[i].class != SOCKET_CONNECTION) {
			r = sockets_dump(f, s->file[i].class, out, why);
			if (!r && s->file[i].class == SOCKET_LISTENER)
				r = dump_pending(s, f->file, out);
		} else {
			r = dump_frozen(s, &s->frozen[s->file[i].frozen], out);
		}
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

struct interests {
	struct bytes *out;
	const int *program_fd; /* by host descriptor; -1: none */
	int host_fd_count;
	uint32_t epoll; /* index of the file */
	uint32_t count;
};

/* By what the program calls it: the number, not the host's descriptor. */
static int dump_interest(void *context, int host_fd, const struct epoll_event *interest)
{
	struct interests *in = context;
	if (host_fd >= in->host_fd_count || in->program_fd[host_fd] < 0)
		return 0;
	bytes_put_u32(in->out, in->epoll);
	bytes_put_u32(in->out, (uint32_t)in->program_fd[host_fd]);
	bytes_put_u32(in->out, interest->events);
	bytes_put_u64(in->out, interest->data.u64);
	in->count++;
	return 0;
}

static int *map_host_fds(const struct inventory *v, int *count)
{
	*count = 0;
	for (unsigned i = 0; i < v->descriptor_count; i++)
		if (v->descriptor[i].descriptor->host_fd >= *count)
			*count = v->descriptor[i].descriptor->host_fd + 1;
	int *map = malloc(((size_t)*count + 1) * sizeof(*map));
	for (int i = 0; map && i < *count; i++)
		map[i] = -1;
	for (unsigned i = 0; map && i < v->descriptor_count; i++)
		map[v->descriptor[i].descriptor->host_fd] = v->descriptor[i].fd;
	return map;
}

static int dump_interests(const struct carry_source *s, struct bytes *out, struct failure *why)
{
	struct interests in = {.out = out};
	int *map = map_host_fds(&s->inventory, &in.host_fd_count), r = 0;
	size_t count_at = out->size;
	if (!map)
		return fail(why, -ENOMEM, "out of memory");
	in.program_fd = map;
	bytes_put_u32(out, 0);
	for (unsigned i = 0; !r && i < s->inventory.file_count; i++) {
		if (s->inventory.file[i].file->kind != FILE_EPOLL)
			continue;
		in.epoll = i;
		r = epoll_interest_each(s->inventory.file[i].host_fd, dump_interest, &in);
	}
	free(map);
	if (!out->error)
		memcpy(out->data + count_at, &in.count, sizeof(in.count));
	return r ? fail(why, r, "what an epoll descriptor waits for cannot be read: %s", strerror(-r)) : 0;
}

static void dump_process(const struct carry_source *s, struct bytes *out)
{
	char directory[CARRY_PATH_MAX];
	uint64_t soft, hard;
	mode_t mask = umask(0);
	umask(mask);
	fdtable_limit(s->fds, &soft, &hard);
	bytes_put_string(out, getcwd(directory, sizeof(directory)) ? directory : "/");
	bytes_put_u32(out, mask);
	bytes_put_u64(out, soft);
	bytes_put_u64(out, hard);
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
		int r = sockets_classify(v->file[i].host_fd, &s->file[i].class);
		if (r)
			return fail(why, r, "descriptor %d: %s", v->file[i].fd, strerror(-r));
	}
	return 0;
}

/* The destination takes the locks before COMMIT; nobody runs here meanwhile. */
static int give_up_locks(struct carry_source *s, struct failure *why)
{
	for (unsigned i = 0; i < s->inventory.file_count; i++) {
		if (s->inventory.file[i].file->kind != FILE_OPENED)
			continue;
		struct unlocked *all = realloc(s->unlocked, (s->unlocked_count + 1) * sizeof(*all));
		if (!all)
			return fail(why, -ENOMEM, "out of memory");
		s->unlocked = all;
		struct unlocked *u = &all[s->unlocked_count];
		u->host_fd = s->inventory.file[i].host_fd;
		int r = files_unlock(u->host_fd, &u->locks);
		if (u->locks.lock_count)
			s->unlocked_count++;
		if (r)
			return fail(why, r, "descriptor %d: locks: %s", s->inventory.file[i].fd,
				    strerror(-r));
	}
	return 0;
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
	bytes_put_u32(state, CARRY_STATE);
	dump_process(s, state);
	size_t start = state->size;
	for (unsigned i = 0; !r; i++) {
		state->size = start;
		r = dump_all(s, state, why);
		if (r || !changed(s))
			break;
		if (i == DUMP_TRIES)
			r = fail(why, -EAGAIN,
				 "packets of the program's connections keep arriving past the redirect");
	}
	if (!r)
		r = dump_interests(s, state, why);
	if (!r)
		r = give_up_locks(s, why);
	return !r && state->error ? fail(why, state->error, "out of memory") : r;
}

/* ---- the end, either way ---- */

static void release_frozen(struct carry_source *s)
{
	inventory_free(&s->inventory);
	free(s->file);
	free(s->frozen);
	free(s->unlocked);
	bytes_free(&s->socket_options);
	s->file = NULL;
	s->frozen = NULL;
	s->unlocked = NULL;
	s->frozen_count = s->frozen_capacity = s->unlocked_count = 0;
}

int carry_source_undo(struct carry_source *s, struct failure *why)
{
	int r = 0;
	if (s->ended)
		return 0;
	for (unsigned i = s->unlocked_count; i > 0; i--) {
		int e = files_relock(s->unlocked[i - 1].host_fd, &s->unlocked[i - 1].locks);
		if (e)
			r = fail(why, e, "a file lock was lost to another process while the move was undone");
	}
	for (unsigned i = 0; i < s->frozen_count; i++) {
		struct frozen *f = &s->frozen[i];
		if (!f->in_repair)
			continue;
		int e = tcp_thaw(f->host_fd);
		setsockopt(f->host_fd, SOL_SOCKET, SO_REUSEADDR, &f->reuse_address, sizeof(f->reuse_address));
		if (e)
			r = fail(why, e, "a connection could not be thawed: %s", strerror(-e));
	}
	release_frozen(s);
	if (s->prepared)
		network_steer(&s->network, 0);
	network_close(&s->network);
	s->prepared = false;
	s->ended = true;
	return r;
}

void carry_source_forget(struct carry_source *s)
{
	if (s->ended)
		return;
	/* Connections are in repair: closed silently. */
	release_frozen(s);
	fdtable_reset(s->fds, false);
	network_source_finish(&s->network);
	network_close(&s->network);
	s->ended = true;
}

void carry_source_close(struct carry_source *s)
{
	if (!s)
		return;
	carry_source_undo(s, NULL);
	network_close(&s->network);
	free(s);
}
