/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/sockopts.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SOCK_SNDBUF_LOCK
#define SOCK_SNDBUF_LOCK 1
#define SOCK_RCVBUF_LOCK 2
#endif
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif
#define OPTION_SIZE_MAX 16

/* A bit each, the same on both hosts: append only. */
enum { BIT_REUSEADDR, BIT_REUSEPORT, BIT_RCVBUF, BIT_SNDBUF, BIT_PRIORITY = 8 };
static const struct option {
	int level, name, size;
} options[] = {
    [BIT_REUSEADDR] = {SOL_SOCKET, SO_REUSEADDR, 4},
    [BIT_REUSEPORT] = {SOL_SOCKET, SO_REUSEPORT, 4},
    [BIT_RCVBUF] = {SOL_SOCKET, SO_RCVBUF, 4},
    [BIT_SNDBUF] = {SOL_SOCKET, SO_SNDBUF, 4},
    {SOL_SOCKET, SO_KEEPALIVE, 4},
    {SOL_SOCKET, SO_LINGER, sizeof(struct linger)},
    {SOL_SOCKET, SO_BROADCAST, 4},
    {SOL_SOCKET, SO_OOBINLINE, 4},
    [BIT_PRIORITY] = {SOL_SOCKET, SO_PRIORITY, 4},
    {SOL_SOCKET, SO_RCVLOWAT, 4},
    {SOL_SOCKET, SO_RCVTIMEO, sizeof(struct timeval)},
    {SOL_SOCKET, SO_SNDTIMEO, sizeof(struct timeval)},
    {SOL_SOCKET, SO_TIMESTAMP, 4},
    {SOL_SOCKET, SO_MARK, 4},
    {SOL_SOCKET, SO_BUSY_POLL, 4},
    {IPPROTO_IP, IP_TOS, 4},
    {IPPROTO_IP, IP_TTL, 4},
    {IPPROTO_IP, IP_PKTINFO, 4},
    {IPPROTO_IPV6, IPV6_V6ONLY, 4},
    {IPPROTO_IPV6, IPV6_TCLASS, 4},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 4},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 4},
    {IPPROTO_TCP, TCP_NODELAY, 4},
    {IPPROTO_TCP, TCP_CORK, 4},
    {IPPROTO_TCP, TCP_KEEPIDLE, 4},
    {IPPROTO_TCP, TCP_KEEPINTVL, 4},
    {IPPROTO_TCP, TCP_KEEPCNT, 4},
    {IPPROTO_TCP, TCP_SYNCNT, 4},
    {IPPROTO_TCP, TCP_LINGER2, 4},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 4},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 4},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4},
    {IPPROTO_TCP, TCP_FASTOPEN, 4},
    {IPPROTO_TCP, TCP_CONGESTION, 16},
    {SOL_SOCKET, SO_TIMESTAMPNS, 4},
    {IPPROTO_IP, IP_RECVTTL, 4},
    {IPPROTO_IP, IP_RECVTOS, 4},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 4},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, 4},
    {SOL_SOCKET, SO_PEEK_OFF, 4},
    {SOL_SOCKET, SO_DONTROUTE, 4},
    {SOL_SOCKET, SO_MAX_PACING_RATE, 8},
    {IPPROTO_IP, IP_MTU_DISCOVER, 4},
    {IPPROTO_IP, IP_RECVERR, 4},
    {IPPROTO_IP, IP_MULTICAST_TTL, 4},
    {IPPROTO_IP, IP_MULTICAST_LOOP, 4},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, 4},
    {IPPROTO_IPV6, IPV6_RECVERR, 4},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 4},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 4},
    {IPPROTO_IPV6, IPV6_DONTFRAG, 4},
    {SOL_SOCKET, SO_BINDTODEVICE, IFNAMSIZ},
    {IPPROTO_IP, IP_MINTTL, 4},
    {IPPROTO_IP, IP_MULTICAST_ALL, 4},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 4},
    {IPPROTO_IPV6, IPV6_MINHOPCOUNT, 4},
    {IPPROTO_UDP, UDP_SEGMENT, 4},
};
enum { OPTION_COUNT = sizeof(options) / sizeof(options[0]) };
_Static_assert(OPTION_COUNT <= 64, "one bit each");

uint64_t sockopts_bit(int level, int name)
{
	if (level == SOL_SOCKET && name == SO_RCVBUFFORCE)
		name = SO_RCVBUF;
	if (level == SOL_SOCKET && name == SO_SNDBUFFORCE)
		name = SO_SNDBUF;
	if (level == SOL_SOCKET && name == SO_BINDTOIFINDEX)
		name = SO_BINDTODEVICE;
	for (int i = 0; i < OPTION_COUNT; i++)
		if (options[i].level == level && options[i].name == name)
			return 1ull << i;
	return 0;
}

int sockopts_buffers(int fd, struct sockopts_buffers *out, uint32_t *unread)
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	socklen_t size = sizeof(memory);
	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0)
		return -errno;
	*out = (struct sockopts_buffers){memory[SK_MEMINFO_RCVBUF], memory[SK_MEMINFO_SNDBUF]};
	*unread = memory[SK_MEMINFO_RMEM_ALLOC];
	return 0;
}

/* Is there a value of it? */
static bool is_dumped(uint64_t set, int i)
{
	return (set & 1ull << i) && i != BIT_RCVBUF && i != BIT_SNDBUF;
}

void sockopts_dump_values(int fd, uint64_t set, struct bytes *out)
{
	bytes_put_u64(out, set);
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (!is_dumped(set, i))
			continue;
		uint8_t value[OPTION_SIZE_MAX] = {0};
		socklen_t size = (socklen_t)options[i].size;
		getsockopt(fd, options[i].level, options[i].name, value, &size);
		bytes_put(out, value, (size_t)options[i].size);
	}
}

void sockopts_dump(int fd, uint64_t set, struct bytes *out)
{
	struct sockopts_buffers sizes = {0};
	uint32_t unread;
	sockopts_buffers(fd, &sizes, &unread);
	bytes_put_u32(out, sizes.receive);
	bytes_put_u32(out, sizes.send);
	sockopts_dump_values(fd, set, out);
}

bool sockopts_buffers_are_set(uint64_t set)
{
	return set & (1ull << BIT_RCVBUF | 1ull << BIT_SNDBUF);
}

/* The kernel gives twice what was asked for, and would no longer adapt the size by itself: that is its own
 * decision again unless the program had taken it. */
void sockopts_restore_buffers(int fd, struct sockopts_buffers sizes, uint64_t set)
{
	int half[2] = {(int)(sizes.receive / 2), (int)(sizes.send / 2)};
	int locks = (set & 1ull << BIT_SNDBUF ? SOCK_SNDBUF_LOCK : 0) |
		    (set & 1ull << BIT_RCVBUF ? SOCK_RCVBUF_LOCK : 0);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half[0], sizeof(int)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half[0], sizeof(int));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &half[1], sizeof(int)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &half[1], sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof(locks));
}

int sockopts_restore_values(int fd, struct reader *in, uint64_t *set, int *reuse_address)
{
	*set = reader_u64(in);
	const uint8_t *priority = NULL;
	*reuse_address = 0;
	if (in->error || *set >> OPTION_COUNT)
		return -EBADMSG;
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (!is_dumped(*set, i))
			continue;
		const uint8_t *value = reader_take(in, (size_t)options[i].size);
		if (!value)
			return -EBADMSG;
		if (i == BIT_PRIORITY)
			priority = value;
		if (i == BIT_REUSEADDR)
			memcpy(reuse_address, value, sizeof(*reuse_address));
		else if (setsockopt(fd, options[i].level, options[i].name, value, (socklen_t)options[i].size) < 0 &&
			 options[i].level == SOL_SOCKET && options[i].name == SO_BINDTODEVICE)
			return -errno; /* it would be of all interfaces */
	}
	/* Once more: IP_TOS gives one of its own. */
	if (priority)
		setsockopt(fd, SOL_SOCKET, SO_PRIORITY, priority, (socklen_t)options[BIT_PRIORITY].size);
	return 0;
}

void sockopts_skip(struct reader *in)
{
	reader_take(in, 2 * sizeof(uint32_t));
	uint64_t set = reader_u64(in);
	for (int i = 0; i < OPTION_COUNT; i++)
		if (is_dumped(set, i))
			reader_take(in, (size_t)options[i].size);
}

int sockopts_restore(int fd, struct reader *in, uint64_t *set, int *reuse_address)
{
	struct sockopts_buffers sizes = {reader_u32(in), 0};
	sizes.send = reader_u32(in);
	int r = sockopts_restore_values(fd, in, set, reuse_address);
	if (!r)
		sockopts_restore_buffers(fd, sizes, *set);
	return r;
}
