/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/sockopts.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#define OPTION_SIZE_MAX 16
#define ANY 0

/* Both hosts index this table: append only. The families and types an option belongs to save calls in the
 * downtime. Buffer sizes are forced, then the locks that say whether the program had set them. */
static const struct option {
	int level, name, size, family, type;
} options[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 4, ANY, ANY},
    {SOL_SOCKET, SO_LINGER, sizeof(struct linger), ANY, ANY},
    {SOL_SOCKET, SO_BROADCAST, 4, ANY, SOCK_DGRAM},
    {SOL_SOCKET, SO_OOBINLINE, 4, ANY, ANY},
    {SOL_SOCKET, SO_PRIORITY, 4, ANY, ANY},
    {SOL_SOCKET, SO_RCVLOWAT, 4, ANY, ANY},
    {SOL_SOCKET, SO_RCVTIMEO, sizeof(struct timeval), ANY, ANY},
    {SOL_SOCKET, SO_SNDTIMEO, sizeof(struct timeval), ANY, ANY},
    {SOL_SOCKET, SO_TIMESTAMP, 4, ANY, SOCK_DGRAM},
    {SOL_SOCKET, SO_MARK, 4, ANY, ANY},
    {SOL_SOCKET, SO_BUSY_POLL, 4, ANY, ANY},
    {IPPROTO_IP, IP_TOS, 4, AF_INET, ANY},
    {IPPROTO_IP, IP_TTL, 4, AF_INET, ANY},
    {IPPROTO_IP, IP_PKTINFO, 4, AF_INET, SOCK_DGRAM},
    {IPPROTO_IPV6, IPV6_V6ONLY, 4, AF_INET6, ANY},
    {IPPROTO_IPV6, IPV6_TCLASS, 4, AF_INET6, ANY},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 4, AF_INET6, ANY},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 4, AF_INET6, SOCK_DGRAM},
    {IPPROTO_TCP, TCP_NODELAY, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_CORK, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPIDLE, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPINTVL, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_KEEPCNT, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_SYNCNT, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_LINGER2, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_FASTOPEN, 4, ANY, SOCK_STREAM},
    {IPPROTO_TCP, TCP_CONGESTION, 16, ANY, SOCK_STREAM},
};
enum { OPTION_COUNT = sizeof(options) / sizeof(options[0]) };

struct values {
	uint8_t value[OPTION_COUNT][OPTION_SIZE_MAX];
	bool known[OPTION_COUNT];
};

static int socket_number(int fd, int name)
{
	int value = 0;
	socklen_t size = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0 ? 0 : value;
}

static void read_values(int fd, struct values *v)
{
	int family = socket_number(fd, SO_DOMAIN), type = socket_number(fd, SO_TYPE);
	memset(v, 0, sizeof(*v));
	for (int i = 0; i < OPTION_COUNT; i++) {
		const struct option *o = &options[i];
		if ((o->family != ANY && o->family != family) || (o->type != ANY && o->type != type))
			continue;
		socklen_t size = (socklen_t)o->size;
		v->known[i] = getsockopt(fd, o->level, o->name, v->value[i], &size) == 0;
	}
}

/* Of a socket like fd that nobody has touched. fd is one: nothing was set yet. */
static const struct values *fresh_values(int fd)
{
	static _Thread_local struct {
		int family, type;
		struct values values;
	} cache[4];
	static _Thread_local unsigned next;
	int family = socket_number(fd, SO_DOMAIN), type = socket_number(fd, SO_TYPE);
	for (unsigned i = 0; i < 4; i++)
		if (cache[i].family == family && cache[i].type == type)
			return &cache[i].values;
	unsigned i = next++ % 4;
	cache[i].family = family;
	cache[i].type = type;
	read_values(fd, &cache[i].values);
	return &cache[i].values;
}

void sockopts_dump(int fd, struct bytes *out)
{
	struct values now;
	read_values(fd, &now);
	bytes_put_u8(out, (uint8_t)socket_number(fd, SO_REUSEADDR));
	bytes_put_u8(out, (uint8_t)socket_number(fd, SO_REUSEPORT));
	bytes_put_u32(out, (uint32_t)socket_number(fd, SO_RCVBUF));
	bytes_put_u32(out, (uint32_t)socket_number(fd, SO_SNDBUF));
	bytes_put_u32(out, (uint32_t)socket_number(fd, SO_BUF_LOCK));
	size_t count_at = out->size;
	uint8_t count = 0;
	bytes_put_u8(out, 0);
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (!now.known[i])
			continue;
		bytes_put_u8(out, (uint8_t)i);
		bytes_put(out, now.value[i], (size_t)options[i].size);
		count++;
	}
	if (!out->error)
		out->data[count_at] = count;
}

/* The kernel gives twice what was asked for. */
static void force_buffer(int fd, int force, int plain, uint32_t size)
{
	int value = (int)(size / 2);
	if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof(value)) < 0)
		setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value));
}

int sockopts_restore(int fd, struct reader *in, uint8_t *reuse_address)
{
	const struct values *fresh = fresh_values(fd);
	*reuse_address = reader_u8(in);
	int reuse_port = reader_u8(in);
	uint32_t receive = reader_u32(in), send = reader_u32(in), locks = reader_u32(in);
	uint8_t count = reader_u8(in);
	if (in->error)
		return in->error;
	if (reuse_port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuse_port, sizeof(reuse_port));
	force_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, receive);
	force_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, send);
	setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof(locks));
	for (; count; count--) {
		uint8_t i = reader_u8(in);
		if (i >= OPTION_COUNT)
			return -EBADMSG;
		const struct option *o = &options[i];
		const uint8_t *value = reader_take(in, (size_t)o->size);
		if (!value)
			return -EBADMSG;
		if (fresh->known[i] && memcmp(fresh->value[i], value, (size_t)o->size) == 0)
			continue;
		setsockopt(fd, o->level, o->name, value, (socklen_t)o->size);
	}
	return 0;
}
