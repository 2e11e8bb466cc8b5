/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/source.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/carry/local.h"
#include "host/carry/strangers.h"
#include "host/carry/wire.h"
#include "host/fdtable.h"

#define SORTS_MAX 32 /* of connections; others are made in the stop */

/* out, or NULL if the migration runs over no address of this host. */
static const struct in6_addr *stream_address(const struct carry_source *s, struct in6_addr *out)
{
	return ip_of(&s->options.stream_local, out) ? out : NULL;
}

/* How many connections of which sort there are, for the destination to make sockets ahead. */
struct sorts {
	struct sort {
		struct bytes fixed;
		uint32_t count;
	} sort[SORTS_MAX];
	unsigned count;
};

/* Of unix sockets. */
struct names {
	struct bytes data;
	unsigned count;
};

static void count_sort(struct sorts *sorts, const struct inventory_file *f)
{
	struct bytes fixed = {0};
	if (sockets_dump_fixed(f->host_fd, f->file->options, &fixed) == 0) {
		unsigned i = 0;
		while (i < sorts->count && (sorts->sort[i].fixed.size != fixed.size ||
					    memcmp(sorts->sort[i].fixed.data, fixed.data, fixed.size) != 0))
			i++;
		if (i < SORTS_MAX)
			sorts->sort[i].count++;
		if (i == sorts->count && i < SORTS_MAX) {
			sorts->sort[sorts->count++].fixed = fixed;
			return;
		}
	}
	bytes_free(&fixed);
}

static void put_sorts(const struct sorts *sorts, struct bytes *out)
{
	bytes_put_u32(out, sorts->count);
	for (unsigned i = 0; i < sorts->count; i++) {
		const struct sort *s = &sorts->sort[i];
		bytes_put_block(out, s->fixed.data, s->fixed.size);
		/* Some more, for those that come until the stop. */
		bytes_put_u32(out, s->count + s->count / 16 + 1);
	}
}

static int check_connection(struct carry_source *s, const struct inventory *v, const struct inventory_file *f,
			    struct sorts *sorts, struct failure *why)
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
	struct in6_addr own, peer, stream;
	if (!sockets_address(f->host_fd, false, &own) || !sockets_address(f->host_fd, true, &peer))
		return fail(why, -ENOTCONN, "the addresses of the connection %s cannot be read", name);
	if (IN6_IS_ADDR_LINKLOCAL(&own) || IN6_IS_ADDR_LINKLOCAL(&peer))
		return fail(why, -EHOSTUNREACH,
			    "the connection %s cannot move: a link-local address means something on its own "
			    "interface only",
			    name);
	bool stays = ip_is_loopback(&own);
	int r = stays ? 0 : network_source_add(&s->network, &own, stream_address(s, &stream), why);
	if (r)
		return r;
	if (stays || network_is_here(&s->network, &peer)) {
		if (!inventory_has_other_end(v, f->host_fd))
			return fail(
			    why, -EHOSTUNREACH,
			    "the other end of the connection %s is another program's on this host: it cannot "
			    "follow",
			    name);
		count_sort(sorts, f);
		r = tcp_repair_allowed();
		return r ? fail(why, r, "moving connections needs CAP_NET_ADMIN (TCP_REPAIR): %s",
				strerror(-r))
			 : 0;
	}
	if (network_source_peer(&s->network, &own, &peer))
		return fail(why, -EXDEV,
			    "the connection %s cannot move: its packets take another interface than the one its address is on, "
			    "and could not be sent on from there",
			    name);
	count_sort(sorts, f);
	return 0;
}

static int check_socket(struct carry_source *s, const struct inventory *v, const struct inventory_file *f,
			struct bytes *bound, struct names *names, struct sorts *sorts,
			struct carry_counts *counts, struct failure *why)
{
	enum socket_class class;
	int r = sockets_classify(f->host_fd, &class);
	if (r)
		return fail(why, r, "descriptor %d: %s", f->fd, strerror(-r));
	if (class == SOCKET_CONNECTION) {
		counts->connections++;
		if (!s->local) /* there, sockets go as they are */
			counts->queued += sockets_queued(f->host_fd);
		return check_connection(s, v, f, sorts, why);
	}
	if (class == SOCKET_LISTENER)
		counts->listeners++;
	if (!s->local && unix_is(f->host_fd))
		return unix_check(v, f, &names->data, &names->count, why);
	if (s->local || class == SOCKET_ENDED || class == SOCKET_CONNECTING)
		return 0;
	/* Where others reach the program. A socket with a peer of its own is not reached by others, and
	 * datagrams also come by addresses of a group or of all. */
	struct in6_addr own, stream;
	bool listens = class == SOCKET_LISTENER;
	if (s->options.tcp_established && (listens || sockets_is_open(f->host_fd)) &&
	    sockets_address(f->host_fd, false, &own) && !ip_is_loopback(&own) &&
	    (listens || network_is_here(&s->network, &own))) {
		if (IN6_IS_ADDR_LINKLOCAL(&own))
			return fail(why, -EHOSTUNREACH,
				    "descriptor %d cannot move: a link-local address means something on its own interface "
				    "only",
				    f->fd);
		r = network_source_add(&s->network, &own, stream_address(s, &stream), why);
		if (r)
			return r;
	}
	size_t before = bound->size;
	r = sockets_check(f, class, bound, why);
	if (bound->size != before)
		counts->bound++;
	return r;
}

static int check_file(struct carry_source *s, const struct inventory *v, const struct inventory_file *f,
		      const struct hand_over *h, struct bytes *bound, struct names *names,
		      struct sorts *sorts, struct carry_counts *counts, struct failure *why)
{
	switch (f->file->kind) {
	case FILE_STDIO:
		return 0;
	case FILE_OPENED:
		return files_check(f, h, &s->need, why);
	case FILE_SOCKET:
		return check_socket(s, v, f, bound, names, sorts, counts, why);
	default:
		return channels_check(f, why);
	}
}

static uint64_t file_size_limit(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	getrlimit(RLIMIT_FSIZE, &limit);
	return limit.rlim_cur;
}

int carry_working_directory(char path[static CARRY_PATH_MAX], struct failure *why)
{
	path[0] = '\0';
	if (!getcwd(path, CARRY_PATH_MAX) || path[0] != '/')
		return fail(why, -ENOENT,
			    "the program's working directory has been removed, or is outside its file system: it cannot be "
			    "entered elsewhere");
	return 0;
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

	struct bytes bound = {0};
	struct names names = {0};
	struct sorts sorts = {0};
	struct hand_over h = {.file_locks = s->options.file_locks,
			      .compare = !s->options.files_ignore,
			      .offered = &s->meeting,
			      .meeting = -1};
	bytes_free(&s->need.paths);
	bytes_free(&s->need.locks);
	s->need = (struct files_need){0};
	for (unsigned i = 0; (!r || s->options.tell) && i < v.file_count; i++) {
		struct failure own = {0};
		int e = check_file(s, &v, &v.file[i], &h, &bound, &names, &sorts, counts, &own);
		if (s->options.tell)
			list_tell(s, &v, i, &h, e ? own.message : NULL);
		if (e && !r) {
			r = e;
			if (why)
				*why = own;
		}
	}
	inventory_free(&v);
	struct failure locks = {0};
	int e = locks_check(fdtable_posix_locks(s->fds), &h, &s->need, &locks);
	if (!e && s->meeting.listener < 0)
		e = files_check_alone(&s->need, &locks);
	if (s->options.tell)
		list_rest(s, e ? locks.message : NULL);
	if (!r && e) {
		r = e;
		if (why)
			*why = locks;
	}
	char directory[CARRY_PATH_MAX];
	if (!r)
		r = carry_working_directory(directory, why);
	if (!r)
		r = sockets_fit(counts->queued, why);
	ahead_expect(s, counts->queued);
	if (!r)
		r = network_source_check(&s->network, why);
	if (!r && !s->local)
		r = strangers_check(s->fds, &s->network, why);
	counts->addresses = s->network.service_count;
	if (!r) {
		bytes_put_u32(manifest, CARRY_MANIFEST);
		bytes_put_u8(manifest, s->local);
		if (s->local)
			local_put(manifest);
		bytes_put_u32(manifest, geteuid());
		bytes_put_u32(manifest, getegid());
		names_put(s->fds, h.compare, manifest);
		meeting_put(&s->meeting, manifest);
		bytes_put_u32(manifest, counts->descriptors);
		bytes_put_u64(manifest, file_size_limit());
		bytes_put_string(manifest, directory);
		bytes_put_u32(manifest, s->need.path_count);
		bytes_put(manifest, s->need.paths.data, s->need.paths.size);
		bytes_put_u32(manifest, s->need.lock_files);
		bytes_put(manifest, s->need.locks.data, s->need.locks.size);
		bytes_put_u32(manifest, counts->bound);
		bytes_put(manifest, bound.data, bound.size);
		bytes_put_u32(manifest, names.count);
		bytes_put(manifest, names.data.data, names.data.size);
		put_sorts(&sorts, manifest);
		network_put(&s->network, manifest);
		if (s->need.paths.error || s->need.locks.error || bound.error || names.data.error || manifest->error)
			r = fail(why, -ENOMEM, "out of memory");
	}
	bytes_free(&bound);
	bytes_free(&names.data);
	for (unsigned i = 0; i < sorts.count; i++)
		bytes_free(&sorts.sort[i].fixed);
	return r;
}
