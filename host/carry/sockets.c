/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets: bound ones are bound again, connections go through TCP_REPAIR
 * (net/tcp_repair.h), what is over stays over.
 */
#include "host/carry/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/carry.h"
#include "host/carry/local.h"
#include "host/net/sockopts.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#define UNREAD_MAX (64u << 20)
#define STOCK_MAX (1u << 20)
#define QUEUED_MAX (CARRY_SIZE_MAX - (4u << 20)) /* beside what else is in a state */

static int socket_number(int fd, int name)
{
	int value = 0;
	socklen_t size = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? -errno : value;
}

int sockets_classify_connection(int host_fd, enum socket_class *out)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	if (getsockopt(host_fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return -errno;
	struct pollfd p = {.fd = host_fd, .events = POLLRDHUP};
	switch (info.tcpi_state) {
	case TCP_SYN_SENT:
		*out = SOCKET_CONNECTING;
		break;
	case TCP_CLOSE:
		/* Told from a socket that never was connected by its being shut. */
		*out = poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP) ? SOCKET_ENDED : SOCKET_PLAIN;
		break;
	default:
		*out = SOCKET_CONNECTION;
	}
	return 0;
}

int sockets_classify(int host_fd, enum socket_class *out)
{
	int protocol = socket_number(host_fd, SO_PROTOCOL), domain = socket_number(host_fd, SO_DOMAIN);
	*out = SOCKET_PLAIN;
	if (protocol < 0)
		return protocol;
	if (socket_number(host_fd, SO_ACCEPTCONN) == 1) {
		*out = SOCKET_LISTENER;
		return 0;
	}
	if ((domain != AF_INET && domain != AF_INET6) || protocol != IPPROTO_TCP)
		return 0;
	return sockets_classify_connection(host_fd, out);
}

static socklen_t own_name(int fd, struct sockaddr_storage *out)
{
	socklen_t size = sizeof(*out);
	memset(out, 0, sizeof(*out));
	return getsockname(fd, (struct sockaddr *)out, &size) < 0 ? 0 : size;
}

static socklen_t peer_name(int fd, struct sockaddr_storage *out)
{
	socklen_t size = sizeof(*out);
	memset(out, 0, sizeof(*out));
	if (getpeername(fd, (struct sockaddr *)out, &size) == 0)
		return size;
	/* The peer of a connection that is still being made. It wants the exact size. */
	size = socket_number(fd, SO_DOMAIN) == AF_INET ? sizeof(struct sockaddr_in)
						       : sizeof(struct sockaddr_in6);
	return getsockopt(fd, SOL_SOCKET, SO_PEERNAME, out, &size) < 0 ? 0 : size;
}

bool sockets_address(int host_fd, bool peer, struct in6_addr *out)
{
	struct sockaddr_storage name;
	if (peer ? !peer_name(host_fd, &name) : !own_name(host_fd, &name))
		return false;
	return ip_of(&name, out) && !ip_is_any(out);
}

bool sockets_is_open(int host_fd)
{
	struct sockaddr_storage name;
	return socket_number(host_fd, SO_TYPE) == SOCK_DGRAM && own_name(host_fd, &name) && ip_port(&name) &&
	       !peer_name(host_fd, &name);
}

bool sockets_peeks(const struct file *file)
{
	return file->options & sockopts_bit(SOL_SOCKET, SO_PEEK_OFF);
}

int sockets_peek_from(int host_fd, int from, int *before)
{
	if (before)
		getsockopt(host_fd, SOL_SOCKET, SO_PEEK_OFF, before, &(socklen_t){sizeof(*before)});
	return setsockopt(host_fd, SOL_SOCKET, SO_PEEK_OFF, &from, sizeof(from)) < 0 ? -errno : 0;
}

static void describe_name(const struct sockaddr_storage *s, char *out, size_t size)
{
	struct in6_addr address;
	char text[INET6_ADDRSTRLEN];
	if (!ip_of(s, &address)) {
		snprintf(out, size, "?");
		return;
	}
	ip_text(&address, text);
	snprintf(out, size, strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, ntohs(ip_port(s)));
}

size_t sockets_queued(int host_fd)
{
	int unread = 0, unacknowledged = 0;
	ioctl(host_fd, SIOCINQ, &unread);
	ioctl(host_fd, SIOCOUTQ, &unacknowledged);
	return (size_t)unread + (size_t)unacknowledged;
}

int sockets_fit(size_t queued, struct failure *why)
{
	if (queued <= QUEUED_MAX)
		return 0;
	return fail(why, -EMSGSIZE,
		    "the program's connections have %zu MB queued, more than can go along while it stands still (%u MB): try again "
		    "when slow peers have taken theirs",
		    queued >> 20, QUEUED_MAX >> 20);
}

void sockets_describe(int host_fd, char *out, size_t size)
{
	struct sockaddr_storage name;
	char own[80] = "?", peer[80] = "";
	if (own_name(host_fd, &name))
		describe_name(&name, own, sizeof(own));
	if (peer_name(host_fd, &name))
		describe_name(&name, peer, sizeof(peer));
	snprintf(out, size, "%s%s%s", own, *peer ? " - " : "", peer);
}

/* A datagram socket with a peer, or a connection under way, mostly has its own address because the kernel chose
 * it; one that stays behind is chosen anew. A connection's port means nothing without it. */
static void forget_address(struct sockaddr_storage *name, int type)
{
	if (type == SOCK_STREAM)
		memset(name, 0, sizeof(*name));
	else if (name->ss_family == AF_INET)
		((struct sockaddr_in *)name)->sin_addr.s_addr = INADDR_ANY;
	else
		((struct sockaddr_in6 *)name)->sin6_addr = in6addr_any;
}

/* Those the program has set, and whether it is for both families: what it is by itself is each host's own choice
 * (net.ipv6.bindv6only). */
static uint64_t options_of(int domain, uint64_t set)
{
	return domain == AF_INET6 ? set | sockopts_bit(IPPROTO_IPV6, IPV6_V6ONLY) : set;
}

/* What makes and binds a socket: domain, type, protocol, flags, options, own name, datagrams' peer, backlog.
 * network: which addresses come along; NULL: none is known yet. */
static int put_socket(int fd, const struct file *file, const struct network *network, struct bytes *out)
{
	struct sockaddr_storage name;
	struct tcp_info info = {0};
	socklen_t info_size = sizeof(info), size;
	int flags = fcntl(fd, F_GETFL), type = socket_number(fd, SO_TYPE), protocol = socket_number(fd, SO_PROTOCOL);
	if (flags < 0 || type < 0)
		return -EBADF;
	if (type == SOCK_STREAM && protocol != IPPROTO_TCP)
		return -EPROTONOSUPPORT;
	int domain = socket_number(fd, SO_DOMAIN);
	bytes_put_u32(out, (uint32_t)domain);
	bytes_put_u32(out, (uint32_t)type);
	bytes_put_u32(out, (uint32_t)protocol);
	bytes_put_u32(out, (uint32_t)(flags & O_NONBLOCK));
	bytes_put_u8(out, file->shut);
	sockopts_dump(fd, options_of(domain, file->options), out);
	struct sockaddr_storage peer;
	struct in6_addr own;
	socklen_t peer_size = peer_name(fd, &peer);
	size = own_name(fd, &name);
	if (peer_size && ip_of(&name, &own) && !ip_is_loopback(&own) &&
	    !(network && network_has(network, &own)))
		forget_address(&name, type);
	bytes_put_block(out, &name, ip_port(&name) ? size : 0);
	bytes_put_block(out, &peer, type == SOCK_DGRAM ? peer_size : 0);
	/* Of a listening socket, this is the backlog it was given. */
	if (socket_number(fd, SO_ACCEPTCONN) == 1 && type == SOCK_STREAM)
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &info_size);
	bytes_put_u32(out, info.tcpi_sacked);
	return out->error;
}

int sockets_check(const struct inventory_file *f, enum socket_class class, struct bytes *bound,
		  struct failure *why)
{
	struct sockaddr_storage name;
	int domain = socket_number(f->host_fd, SO_DOMAIN), type = socket_number(f->host_fd, SO_TYPE),
	    protocol = socket_number(f->host_fd, SO_PROTOCOL);
	own_name(f->host_fd, &name);
	if ((domain != AF_INET && domain != AF_INET6) || (type != SOCK_STREAM && type != SOCK_DGRAM) ||
	    (type == SOCK_STREAM && protocol != IPPROTO_TCP)) /* its connections are not TCP's */
		return fail(why, -ENOTSUP, "descriptor %d: a socket of family %d, type %d, protocol %d cannot move",
			    f->fd, domain, type, protocol);
	/* A datagram socket with a peer is content with another port. */
	if (ip_port(&name) && !(type == SOCK_DGRAM && peer_name(f->host_fd, &name)))
		return put_socket(f->host_fd, f->file, NULL, bound);
	return 0;
}

struct description {
	int domain, type, protocol;
	uint32_t flags;
	uint8_t shut;
	int reuse_address;
	uint64_t options;
	struct sockaddr_storage name, peer;
	socklen_t name_size, peer_size;
	int backlog;
};

static socklen_t get_name(struct reader *in, struct sockaddr_storage *out)
{
	size_t size;
	const uint8_t *p = reader_block(in, &size);
	memset(out, 0, sizeof(*out));
	if (size > sizeof(*out))
		in->error = -EBADMSG;
	else if (p)
		memcpy(out, p, size);
	return in->error ? 0 : (socklen_t)size;
}

/* Bound ahead; the program may have set options since. -1: none. */
static int take_prebound(struct restore *r, const struct description *d)
{
	for (unsigned i = 0; r && i < r->prebound_count; i++) {
		struct prebound *p = &r->prebound[i];
		if (p->fd < 0 || p->type != d->type || memcmp(&p->name, &d->name, sizeof(d->name)) != 0)
			continue;
		int fd = p->fd;
		p->fd = -1;
		return fd;
	}
	return -1;
}

static int bind_to(int fd, const struct description *d)
{
	int on = 1;
	/* The address may come to this host only later. */
	if (d->domain == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&d->name, d->name_size) == 0)
		return 0;
	return errno == EADDRINUSE && d->peer_size ? 0 : -errno; /* the kernel will choose one */
}

/* Reads put_socket()'s record and makes what it says: bound, not yet listening. */
static int make_socket(struct restore *r, struct reader *in, struct description *d, int *out)
{
	d->domain = (int)reader_u32(in);
	d->type = (int)reader_u32(in);
	d->protocol = (int)reader_u32(in);
	d->flags = reader_u32(in);
	d->shut = reader_u8(in);
	struct reader options = *in;
	sockopts_skip(in);
	d->name_size = get_name(in, &d->name);
	d->peer_size = get_name(in, &d->peer);
	d->backlog = (int)reader_u32(in);
	if (in->error)
		return in->error;
	int fd = d->name_size ? take_prebound(r, d) : -1;
	bool bound = fd >= 0;
	if (!bound)
		fd = socket(d->domain, d->type | SOCK_CLOEXEC, d->protocol);
	if (fd < 0)
		return -errno;
	int error = sockopts_restore(fd, &options, &d->options, &d->reuse_address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &d->reuse_address, sizeof(d->reuse_address));
	if (!error && !bound && d->name_size)
		error = bind_to(fd, d);
	if (error)
		close(fd);
	else
		*out = fd;
	return error;
}

int sockets_prebind(struct restore *r, struct reader *in, struct failure *why)
{
	struct description d = {0};
	int fd, error = make_socket(NULL, in, &d, &fd);
	if (error) {
		char name[80];
		describe_name(&d.name, name, sizeof(name));
		return fail(why, error, "%s, which the program uses there, cannot be bound here: %s", name,
			    strerror(-error));
	}
	struct prebound *p = realloc(r->prebound, (r->prebound_count + 1) * sizeof(*p));
	if (!p) {
		close(fd);
		return fail(why, -ENOMEM, "out of memory");
	}
	r->prebound = p;
	p[r->prebound_count++] = (struct prebound){fd, d.type, d.name};
	return 0;
}

/* ---- source ---- */

/* What the program has not read of a connection that is over. */
static int dump_ended(int fd, struct bytes *out)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int unread = 0, flags = fcntl(fd, F_GETFL);
	poll(&p, 1, 0);
	ioctl(fd, FIONREAD, &unread);
	if (flags < 0 || unread < 0 || (unsigned)unread > UNREAD_MAX)
		return -EIO;
	bytes_put_u8(out, RECORD_ENDED);
	bytes_put_u32(out, (uint32_t)(flags & O_NONBLOCK));
	bytes_put_u8(out, (p.revents & POLLERR) != 0);
	bytes_put_u32(out, (uint32_t)unread);
	uint8_t *data = bytes_extend(out, (size_t)unread);
	if (!data)
		return out->error;
	return unread && recv(fd, data, (size_t)unread, MSG_PEEK | MSG_DONTWAIT) != unread ? -EIO : 0;
}

int sockets_dump(const struct inventory_file *f, enum socket_class class, const struct network *network,
		 struct bytes *out, struct failure *why)
{
	int domain = socket_number(f->host_fd, SO_DOMAIN);
	struct sockaddr_storage peer;
	socklen_t size;
	int r;
	switch (class) {
	case SOCKET_ENDED:
		r = dump_ended(f->host_fd, out);
		break;
	case SOCKET_CONNECTING:
		bytes_put_u8(out, RECORD_CONNECTING);
		r = put_socket(f->host_fd, f->file, network, out);
		size = peer_name(f->host_fd, &peer);
		bytes_put_block(out, &peer, size);
		break;
	case SOCKET_LISTENER:
		bytes_put_u8(out, RECORD_LISTENER);
		r = put_socket(f->host_fd, f->file, network, out);
		break;
	default:
		bytes_put_u8(out, RECORD_SOCKET);
		r = put_socket(f->host_fd, f->file, network, out);
		if (!r && (domain == AF_INET || domain == AF_INET6) &&
		    socket_number(f->host_fd, SO_TYPE) == SOCK_DGRAM)
			r = datagrams_dump(f->host_fd, domain, out);
		else
			bytes_put_u32(out, 0);
	}
	return r ? fail(why, r, "descriptor %d: state of the socket cannot be read: %s", f->fd, strerror(-r))
		 : 0;
}

void sockets_dump_shared(const struct inventory_file *f, struct bytes *out)
{
	bytes_put_u8(out, RECORD_SHARED);
	bytes_put_u32(out, (uint32_t)f->host_fd);
	bytes_put_u8(out, f->file->shut);
	bytes_put_u64(out, f->file->options);
	bytes_put_u32(out, f->file->pending_count);
	for (unsigned i = 0; i < f->file->pending_count; i++)
		bytes_put_u32(out, (uint32_t)f->file->pending[i]);
}

int sockets_dump_fixed(int host_fd, uint64_t options, struct bytes *out)
{
	struct sockaddr_storage name;
	int flags = fcntl(host_fd, F_GETFL);
	socklen_t size = own_name(host_fd, &name);
	if (flags < 0 || !size)
		return -errno;
	bytes_put_u32(out, name.ss_family);
	bytes_put_u32(out, (uint32_t)(flags & O_NONBLOCK));
	bytes_put_block(out, &name, size);
	sockopts_dump_values(host_fd, options_of(name.ss_family, options), out);
	return out->error;
}

int sockets_dump_connection(int host_fd, uint8_t shut, const void *fixed, size_t fixed_size,
			    struct bytes *out, struct tcp_mark *mark)
{
	bytes_put_u8(out, RECORD_CONNECTION);
	bytes_put_block(out, fixed, fixed_size);
	bytes_put_u8(out, shut);
	return tcp_dump(host_fd, out, mark);
}

/* ---- destination ---- */

static int restore_ended(struct reader *in, struct made *out)
{
	uint32_t flags = reader_u32(in);
	bool failed = reader_u8(in);
	size_t size;
	const uint8_t *unread = reader_block(in, &size);
	int end[2];
	if (in->error)
		return in->error;
	/* A unix socket whose other end is closed reads, writes and polls just so; closed over unread data,
	 * as one that was reset. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end) < 0)
		return -errno;
	int space = (int)(size * 2 + 65536);
	setsockopt(end[1], SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof(space));
	out->host_fd = end[0];
	int error = 0;
	if ((size && send(end[1], unread, size, MSG_DONTWAIT) != (ssize_t)size) ||
	    (failed && send(end[0], "", 1, MSG_DONTWAIT) != 1))
		error = -EIO;
	close(end[1]);
	if (!error && fcntl(out->host_fd, F_SETFL, flags & O_NONBLOCK) < 0)
		error = -errno;
	return error;
}

static void set_transparent(int fd, int domain, int on)
{
	if (domain == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
}

/* A socket as sockets_dump_fixed() says, ready for tcp_restore(). Its descriptor or -errno. */
static int make_connection(const void *fixed, size_t size, uint64_t *options, int *reuse_address)
{
	struct reader in = reader_of(fixed, size);
	struct sockaddr_storage name;
	int domain = (int)reader_u32(&in);
	uint32_t flags = reader_u32(&in);
	socklen_t name_size = get_name(&in, &name);
	if (in.error || (domain != AF_INET && domain != AF_INET6))
		return -EBADMSG;
	int type = SOCK_STREAM | SOCK_CLOEXEC | (flags & O_NONBLOCK ? SOCK_NONBLOCK : 0);
	int fd = socket(domain, type, 0);
	if (fd < 0)
		return -errno;
	int error = sockopts_restore_values(fd, &in, options, reuse_address);
	/* Its address comes to this host only after COMMIT: until then nothing here may answer for it. */
	set_transparent(fd, domain, 1);
	if (!error)
		error = tcp_prepare(fd, &name, name_size);
	if (error)
		close(fd);
	return error ? error : fd;
}

int sockets_stock(struct restore *r, struct reader *in, struct failure *why)
{
	size_t size;
	const uint8_t *fixed = reader_block(in, &size);
	uint32_t wanted = reader_u32(in);
	if (in->error || wanted > STOCK_MAX)
		return fail(why, -EBADMSG, "the manifest is damaged");
	struct stock *all = realloc(r->stock, (r->stock_count + 1) * sizeof(*all));
	if (all)
		r->stock = all;
	struct stock s = {
	    .fixed = malloc(size + 1), .fixed_size = size, .fd = calloc(wanted + 1, sizeof(int))};
	if (!all || !s.fixed || !s.fd) {
		free(s.fixed);
		free(s.fd);
		return fail(why, -ENOMEM, "out of memory");
	}
	memcpy(s.fixed, fixed, size);
	/* What cannot be made now is tried again when the connection comes, and then fails the move. */
	while (s.count < wanted &&
	       (s.fd[s.count] = make_connection(fixed, size, &s.options, &s.reuse_address)) >= 0)
		s.count++;
	all[r->stock_count++] = s;
	return 0;
}

void sockets_stock_free(struct restore *r)
{
	for (unsigned i = 0; i < r->stock_count; i++) {
		struct stock *s = &r->stock[i];
		while (s->count)
			close(s->fd[--s->count]);
		free(s->fd);
		free(s->fixed);
	}
	free(r->stock);
	r->stock = NULL;
	r->stock_count = 0;
}

/* One made ahead if there is one. */
static int take_connection(struct restore *r, const void *fixed, size_t size, uint64_t *options,
			   int *reuse_address)
{
	for (unsigned i = 0; i < r->stock_count; i++) {
		struct stock *s = &r->stock[i];
		if (!s->count || s->fixed_size != size || memcmp(s->fixed, fixed, size) != 0)
			continue;
		*options = s->options;
		*reuse_address = s->reuse_address;
		return s->fd[--s->count];
	}
	return make_connection(fixed, size, options, reuse_address);
}

int sockets_restore_connection(struct restore *r, struct reader *in, struct made *out)
{
	if (r->connection_count == r->connection_capacity) {
		unsigned capacity = r->connection_capacity ? r->connection_capacity * 2 : 64;
		struct tcp_restored *all = realloc(r->connection, capacity * sizeof(*all));
		if (!all)
			return -ENOMEM;
		r->connection = all;
		r->connection_capacity = capacity;
	}
	struct tcp_restored *t = &r->connection[r->connection_count];
	*t = (struct tcp_restored){.fd = -1};
	size_t size;
	uint64_t options;
	const uint8_t *fixed = reader_block(in, &size);
	out->file->shut = reader_u8(in);
	if (in->error)
		return in->error;
	t->fd = take_connection(r, fixed, size, &options, &t->reuse_address);
	if (t->fd < 0)
		return t->fd;
	r->connection_count++;
	out->host_fd = t->fd;
	out->file->options = options;
	int error = tcp_restore(in, options, t);
	/* Its way out is found. */
	uint32_t domain;
	memcpy(&domain, fixed, sizeof(domain));
	set_transparent(t->fd, (int)domain, 0);
	return error;
}

static int remember_connecting(struct restore *r, int fd, const struct sockaddr_storage *peer, socklen_t size)
{
	struct connecting *c = realloc(r->connecting, (r->connecting_count + 1) * sizeof(*c));
	if (!c)
		return -ENOMEM;
	r->connecting = c;
	c[r->connecting_count++] = (struct connecting){fd, *peer, size};
	return 0;
}

/* Sockets for its connections are bound to its port already: without SO_REUSEADDR they would stand in the
 * way. */
static int listen_beside(int fd, const struct description *d)
{
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	int error = listen(fd, d->backlog) < 0 ? -errno : 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &d->reuse_address, sizeof(d->reuse_address));
	return error;
}

static int restore_described(struct restore *r, enum record record, struct reader *in, struct made *out)
{
	struct description d = {0};
	int error = make_socket(r, in, &d, &out->host_fd);
	if (error)
		return error;
	out->file->shut = d.shut;
	out->file->options = d.options;
	if (record == RECORD_LISTENER && (error = listen_beside(out->host_fd, &d)) != 0)
		return error;
	if (record == RECORD_SOCKET && d.peer_size) {
		set_transparent(out->host_fd, d.domain, 1); /* its own address may come later */
		error = connect(out->host_fd, (struct sockaddr *)&d.peer, d.peer_size) < 0 ? -errno : 0;
		set_transparent(out->host_fd, d.domain, 0);
	}
	if (!error && record == RECORD_SOCKET)
		error = datagrams_expect(r, out->host_fd, in);
	if (!error && record == RECORD_CONNECTING) {
		d.peer_size = get_name(in, &d.peer);
		error = in->error ? in->error : remember_connecting(r, out->host_fd, &d.peer, d.peer_size);
	}
	if (!error && fcntl(out->host_fd, F_SETFL, d.flags & O_NONBLOCK) < 0)
		error = -errno;
	return error;
}

static int restore_shared(struct restore *r, struct reader *in, struct made *out)
{
	uint32_t fd = reader_u32(in);
	out->file->shut = reader_u8(in);
	out->file->options = reader_u64(in);
	if (in->error || r->source < 0)
		return -EBADMSG;
	out->host_fd = local_take(r->source, (int)fd);
	if (out->host_fd < 0)
		return out->host_fd;
	for (uint32_t count = reader_count(in, 4); count; count--) {
		int pending = local_take(r->source, (int)reader_u32(in));
		int error = pending < 0 ? pending : fdtable_pending_add(r->fds, out->file, pending);
		if (error && pending >= 0)
			close(pending);
		if (error)
			return error;
	}
	return in->error;
}

int sockets_restore(struct restore *r, enum record record, struct reader *in, struct made *out,
		    struct failure *why)
{
	out->file = fdtable_file(FILE_SOCKET);
	if (!out->file)
		return fail(why, -ENOMEM, "out of memory");
	int error;
	if (record == RECORD_CONNECTION)
		error = sockets_restore_connection(r, in, out);
	else if (record == RECORD_ENDED)
		error = restore_ended(in, out);
	else if (record == RECORD_SHARED)
		error = restore_shared(r, in, out);
	else
		error = restore_described(r, record, in, out);
	return error ? fail(why, error, "a %s cannot be made here: %s",
			    record == RECORD_CONNECTION ? "TCP connection"
			    : record == RECORD_LISTENER ? "listening socket"
							: "socket",
			    strerror(-error))
		     : 0;
}

int sockets_release(struct restore *r, bool (*is_here)(const void *context, const struct in6_addr *address),
		    const void *context)
{
	struct inject raw = INJECT_UNOPENED;
	int error = unix_release(r);
	datagrams_deliver(r, &raw, is_here, context);
	for (unsigned i = 0; i < r->connection_count; i++) {
		int e = tcp_release(&r->connection[i], r->tracked, &raw);
		error = error ? error : e;
	}
	for (unsigned i = 0; i < r->connecting_count; i++) {
		struct connecting *c = &r->connecting[i];
		int flags = fcntl(c->fd, F_GETFL);
		fcntl(c->fd, F_SETFL, flags | O_NONBLOCK);
		if (connect(c->fd, (struct sockaddr *)&c->peer, c->peer_size) < 0 && errno != EINPROGRESS)
			error = error ? error : -errno;
		fcntl(c->fd, F_SETFL, flags);
	}
	inject_close(&raw);
	return error;
}
