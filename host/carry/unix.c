/* SPDX-License-Identifier: Apache-2.0
 *
 * Unix sockets. What has a name gets it again on the other host, after COMMIT:
 * until then the name, if it lies on storage both hosts see, is the source's.
 * Connections stay within the program, as socketpairs; one to another process
 * of the source's host cannot follow.
 */
#include "host/carry/record.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/net/sockopts.h"
#include "host/net/unix_diag.h"

#define NAME_AT offsetof(struct sockaddr_un, sun_path)
#define MODE_BITS 07777

/* A socket's own end as found, and what it is connected to. */
struct unix_end {
	struct sockaddr_un name, peer;
	socklen_t name_size, peer_size; /* 0: none */
	int type;
	bool listens, connected, ended; /* ended: the other end is closed */
	uint32_t inode;
	struct unix_info info;
};

static bool has_path(const struct sockaddr_un *name, socklen_t size)
{
	return size > NAME_AT && name->sun_path[0];
}

static int look(int fd, struct unix_end *out)
{
	struct stat st;
	int listens = 0;
	socklen_t size = sizeof(int);
	*out = (struct unix_end){.name_size = sizeof(out->name), .peer_size = sizeof(out->peer)};
	if (fstat(fd, &st) < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &out->type, &size) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 ||
	    getsockname(fd, (struct sockaddr *)&out->name, &out->name_size) < 0)
		return -errno;
	if (out->name_size <= NAME_AT)
		out->name_size = 0;
	bool has_peer = getpeername(fd, (struct sockaddr *)&out->peer, &out->peer_size) == 0;
	if (!has_peer || out->peer_size <= NAME_AT)
		out->peer_size = 0;
	out->listens = listens;
	out->inode = (uint32_t)st.st_ino;
	int r = out->type == SOCK_DGRAM ? 0 : unix_ask(out->inode, &out->info);
	out->connected = has_peer && out->type != SOCK_DGRAM && out->info.peer;
	out->ended = has_peer && out->type != SOCK_DGRAM && !out->info.peer;
	return r;
}

static bool is_inside(const struct inventory *v, uint32_t inode)
{
	for (unsigned i = 0; i < v->file_count; i++) {
		struct stat st;
		if (v->file[i].file->kind == FILE_SOCKET && fstat(v->file[i].host_fd, &st) == 0 &&
		    (uint32_t)st.st_ino == inode)
			return true;
	}
	return false;
}

static int refuse_outside(const struct inventory *v, const struct inventory_file *f,
			  const struct unix_end *end, struct failure *why)
{
	if (!end->connected || is_inside(v, end->info.peer))
		return 0;
	return fail(why, -ENOTSUP,
		    "descriptor %d: a unix socket that is connected to another process (%s) cannot move",
		    f->fd,
		    has_path(&end->name, end->name_size)   ? end->name.sun_path
		    : has_path(&end->peer, end->peer_size) ? end->peer.sun_path
							   : "without a path");
}

bool unix_is(int host_fd)
{
	int domain = 0;
	socklen_t size = sizeof(domain);
	return getsockopt(host_fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

int unix_check(const struct inventory *v, const struct inventory_file *f, struct bytes *names,
	       unsigned *name_count, struct failure *why)
{
	struct unix_end end;
	int r = look(f->host_fd, &end);
	if (r)
		return fail(why, r, "descriptor %d: %s", f->fd, strerror(-r));
	r = refuse_outside(v, f, &end, why);
	/* What accept() gives has the name of the socket that listens. */
	if (r || !end.name_size || end.connected || end.ended)
		return r;
	struct stat st;
	bool relative = has_path(&end.name, end.name_size) && end.name.sun_path[0] != '/';
	if (relative && (lstat(end.name.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)))
		return fail(why, -ENOENT,
			    "descriptor %d: the path of the unix socket \"%s\" leads nowhere from the program's working "
			    "directory: it cannot be bound again",
			    f->fd, end.name.sun_path);
	bytes_put_block(names, &end.name, end.name_size);
	++*name_count;
	return 0;
}

static void put_name(struct bytes *out, const struct unix_end *end)
{
	struct stat st = {0};
	if (!has_path(&end->name, end->name_size) || stat(end->name.sun_path, &st) < 0 ||
	    !S_ISSOCK(st.st_mode))
		st.st_mode = 0; /* nobody sees it under its name: as umask makes it */
	bytes_put_block(out, &end->name, end->name_size);
	bytes_put_u32(out, st.st_mode & MODE_BITS);
	bytes_put_u32(out, st.st_uid);
	bytes_put_u32(out, st.st_gid);
}

int unix_dump(const struct inventory *v, const struct inventory_file *f, struct bytes *out,
	      struct failure *why)
{
	struct unix_end end;
	int r = look(f->host_fd, &end), flags = fcntl(f->host_fd, F_GETFL);
	if (r || flags < 0)
		return fail(why, r ? r : -errno, "descriptor %d: %s", f->fd, strerror(r ? -r : errno));
	r = refuse_outside(v, f, &end, why);
	if (r)
		return r;
	if (end.connected) /* the same for both ends */
		return channels_dump_pair(f, end.inode < end.info.peer ? end.inode : end.info.peer, out, why);
	struct pollfd error = {.fd = f->host_fd};
	if (end.ended && poll(&error, 1, 0) >= 0 && !(error.revents & POLLERR)) /* nobody asks for the other end */
		return channels_dump_pair(f, end.inode, out, why);
	if (end.ended && (r = channels_look_for_rights(f->host_fd)) != 0)
		return channels_fail(f, r, why);
	if (end.ended)
		return sockets_dump(f, SOCKET_ENDED, NULL, out, why);
	bytes_put_u8(out, RECORD_UNIX);
	bytes_put_u32(out, (uint32_t)end.type);
	bytes_put_u32(out, (uint32_t)(flags & O_NONBLOCK));
	bytes_put_u8(out, f->file->shut);
	sockopts_dump(f->host_fd, f->file->options, out);
	put_name(out, &end);
	bytes_put_u8(out, end.listens);
	bytes_put_u32(out, end.info.backlog);
	bytes_put_block(out, &end.peer, end.peer_size);
	if (end.type == SOCK_DGRAM)
		r = datagrams_dump(f->host_fd, AF_UNIX, out);
	else
		bytes_put_u32(out, 0);
	return r ? channels_fail(f, r, why) : 0;
}

/* ---- destination ---- */

static socklen_t get_name(struct reader *in, struct sockaddr_un *out)
{
	size_t size;
	const uint8_t *p = reader_block(in, &size);
	memset(out, 0, sizeof(*out));
	if (p && (size > sizeof(*out) || (size && size <= NAME_AT)))
		in->error = -EBADMSG;
	else if (p)
		memcpy(out, p, size);
	if (!in->error && size)
		out->sun_family = AF_UNIX;
	return in->error ? 0 : (socklen_t)size;
}

/* A path of a sockaddr_un need not end with a zero byte. */
static void path_of(const struct sockaddr_un *name, char out[sizeof(name->sun_path) + 1])
{
	memcpy(out, name->sun_path, sizeof(name->sun_path));
	out[sizeof(name->sun_path)] = '\0';
}

int unix_expect(struct reader *in, struct failure *why)
{
	struct sockaddr_un name;
	socklen_t size = get_name(in, &name);
	char path[sizeof(name.sun_path) + 1];
	struct stat st;
	if (in->error || !size)
		return fail(why, -EBADMSG, "the manifest is damaged");
	path_of(&name, path);
	if (unix_name_taken(&name, size))
		return fail(why, -EADDRINUSE,
			    "the unix socket %s%s, which the program uses there, is in use here",
			    path[0] ? path : "@", path[0] ? "" : path + 1);
	/* One that is relative is so to the program's working directory, which is entered later. */
	if (path[0] != '/')
		return 0;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return fail(why, -EEXIST, "%s, a unix socket of the program there, is something else here",
			    path);
	char *end = strrchr(path, '/');
	end[end == path] = '\0'; /* its directory */
	if (access(path, W_OK | X_OK) < 0)
		return fail(why, -errno, "the program's unix socket cannot be made in %s: %s", path,
			    strerror(errno));
	return 0;
}

int unix_restore(struct restore *r, struct reader *in, struct made *out, struct failure *why)
{
	struct restore_unix u = {0};
	uint64_t options;
	int reuse;
	int type = (int)reader_u32(in);
	uint32_t flags = reader_u32(in);
	uint8_t shut = reader_u8(in);
	out->file = fdtable_file(FILE_SOCKET);
	if (!out->file)
		return fail(why, -ENOMEM, "out of memory");
	if (in->error || (type != SOCK_STREAM && type != SOCK_SEQPACKET && type != SOCK_DGRAM))
		return fail(why, -EBADMSG, "the state is damaged");
	out->host_fd = socket(AF_UNIX, type | SOCK_CLOEXEC | (flags & O_NONBLOCK ? SOCK_NONBLOCK : 0), 0);
	int error = out->host_fd < 0 ? -errno : sockopts_restore(out->host_fd, in, &options, &reuse);
	u.fd = out->host_fd;
	u.name_size = get_name(in, &u.name);
	u.mode = reader_u32(in) & MODE_BITS;
	u.user = reader_u32(in);
	u.group = reader_u32(in);
	u.listens = reader_u8(in);
	u.backlog = reader_u32(in);
	u.peer_size = get_name(in, &u.peer);
	if (!error)
		error = in->error ? in->error : datagrams_expect(r, u.fd, in);
	struct restore_unix *all = error ? NULL : realloc(r->named, (r->named_count + 1) * sizeof(*all));
	if (error || !all)
		return fail(why, error ? error : -ENOMEM, "a unix socket cannot be made here: %s",
			    strerror(error ? -error : ENOMEM));
	out->file->shut = shut;
	out->file->options = options;
	r->named = all;
	all[r->named_count++] = u;
	return 0;
}

/* The name may be there: the source's, on storage both hosts see, or left by an earlier stay. Nobody here has
 * it: unix_expect(). */
static int take_name(const struct restore_unix *u)
{
	char path[sizeof(u->name.sun_path) + 1];
	struct stat st;
	path_of(&u->name, path);
	if (path[0] && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    !unix_name_taken(&u->name, u->name_size))
		unlink(path);
	if (bind(u->fd, (const struct sockaddr *)&u->name, u->name_size) < 0)
		return -errno;
	if (path[0] && u->mode && (chmod(path, u->mode) < 0 || lchown(path, u->user, u->group) < 0) &&
	    geteuid() == 0)
		return -errno;
	return 0;
}

int unix_release(struct restore *r)
{
	int error = 0;
	for (unsigned i = 0; i < r->named_count; i++) {
		const struct restore_unix *u = &r->named[i];
		int e = u->name_size ? take_name(u) : 0;
		if (!e && u->listens && listen(u->fd, (int)u->backlog) < 0)
			e = -errno;
		error = error ? error : e;
	}
	/* A peer may be absent here: the program finds out when it writes, as when its peer restarts. */
	for (unsigned i = 0; i < r->named_count; i++)
		if (r->named[i].peer_size)
			connect(r->named[i].fd, (const struct sockaddr *)&r->named[i].peer,
				r->named[i].peer_size);
	return error;
}
