/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams the program has not read yet. They are copied with their senders
 * and delivered at the destination as packets of those senders, before the ones
 * that were held: so every way of reading and waiting finds them.
 */
#include "host/carry/record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/checksum.h"

#define DATAGRAM_MAX 65535
#define UNIX_DATAGRAM_MAX (4u << 20) /* the kernel sets none but the sender's buffer */
#define IN_ALL_MAX (64u << 20)

/* The kernel tells where a packet was sent to also of those that came before it was asked to. */
struct asked {
	int level, name, before;
};

static struct asked ask_targets(int fd, int domain)
{
	struct asked a = {domain == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			  domain == AF_INET ? IP_PKTINFO : IPV6_RECVPKTINFO, 0};
	socklen_t size = sizeof(a.before);
	int on = 1;
	getsockopt(fd, a.level, a.name, &a.before, &size);
	setsockopt(fd, a.level, a.name, &on, sizeof(on));
	return a;
}

static struct in6_addr target_of(struct msghdr *m)
{
	struct in6_addr none = IN6ADDR_ANY_INIT;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			return ip_read(AF_INET, &((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr);
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			return ((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr;
	}
	return none;
}

int datagrams_dump(int host_fd, int domain, struct bytes *out)
{
	static uint8_t data[UNIX_DATAGRAM_MAX];
	_Alignas(struct cmsghdr) uint8_t control[1024];
	int before = -1, r = sockets_peek_from(host_fd, 0, &before);
	size_t count_at = out->size;
	uint32_t count = 0;
	bytes_put_u32(out, 0);
	if (r)
		return r;
	struct asked asked = {0};
	if (domain != AF_UNIX)
		asked = ask_targets(host_fd, domain);
	for (;;) {
		struct sockaddr_storage from = {0};
		struct iovec part = {data, sizeof(data)};
		struct msghdr m = {.msg_name = &from,
				   .msg_namelen = sizeof(from),
				   .msg_iov = &part,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		/* One without content is seen once only: after an undone move it is left out, as if it were
		 * lost. */
		ssize_t size = recvmsg(host_fd, &m, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (size < 0)
			break;
		r = channels_rights(&m);
		if (!r && size > (ssize_t)sizeof(data))
			r = -EMSGSIZE;
		if (r)
			break;
		struct in6_addr to = target_of(&m);
		bytes_put_block(out, &from, m.msg_namelen);
		bytes_put(out, &to, sizeof(to));
		bytes_put_block(out, data, (size_t)size);
		count++;
	}
	if (domain != AF_UNIX)
		setsockopt(host_fd, asked.level, asked.name, &asked.before, sizeof(asked.before));
	sockets_peek_from(host_fd, before, NULL);
	if (!out->error)
		memcpy(out->data + count_at, &count, sizeof(count));
	return r ? r : out->error;
}

int datagrams_expect(struct restore *r, int fd, struct reader *in)
{
	uint32_t count = reader_count(in, 24);
	if (!count)
		return in->error;
	struct bytes *b = &r->datagrams;
	bytes_put_u32(b, (uint32_t)fd);
	bytes_put_u32(b, count);
	for (; count && !in->error; count--) {
		size_t name_size, size;
		const uint8_t *name = reader_block(in, &name_size);
		const uint8_t *to = reader_take(in, sizeof(struct in6_addr));
		const uint8_t *data = reader_block(in, &size);
		if (in->error || name_size > sizeof(struct sockaddr_storage) || size > UNIX_DATAGRAM_MAX ||
		    b->size > IN_ALL_MAX)
			return -EBADMSG;
		bytes_put_block(b, name, name_size);
		bytes_put(b, to, sizeof(struct in6_addr));
		bytes_put_block(b, data, size);
	}
	return in->error ? in->error : b->error;
}

/* Where the socket can be reached with it now: where it was sent, unless that address has not come along. */
static struct in6_addr reachable(const struct in6_addr *to, const struct sockaddr_storage *own,
				 bool (*is_here)(const void *context, const struct in6_addr *address),
				 const void *context)
{
	struct in6_addr bound;
	if (ip_of(own, &bound) && !ip_is_any(&bound))
		return bound;
	if (is_here(context, to))
		return *to;
	if (ip_is_ipv4(to) || own->ss_family == AF_INET)
		return ip_read(AF_INET, &(struct in_addr){htonl(INADDR_LOOPBACK)});
	return (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
}

static void deliver(struct inject *i, const struct sockaddr_storage *from, const struct in6_addr *to,
		    uint16_t port, const uint8_t *data, size_t size)
{
	static struct {
		struct udphdr udp;
		uint8_t data[DATAGRAM_MAX];
	} packet;
	struct in6_addr sender;
	size_t whole = sizeof(packet.udp) + size;
	if (!ip_of(from, &sender) || whole > DATAGRAM_MAX)
		return;
	packet.udp = (struct udphdr){.source = ip_port(from), .dest = port, .len = htons((uint16_t)whole)};
	memcpy(packet.data, data, size);
	packet.udp.check = checksum_with_pseudo(&sender, to, IPPROTO_UDP, &packet, whole);
	if (!packet.udp.check)
		packet.udp.check = 0xffff; /* zero means none */
	inject(i, &sender, to, IPPROTO_UDP, &packet, whole);
}

/* The sender stayed on the other host: from nobody. */
static void deliver_unix(const struct sockaddr_storage *to, socklen_t to_size, const uint8_t *data,
			 size_t size)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	int room = (int)(size * 2 + 65536);
	if (size > DATAGRAM_MAX)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	sendto(fd, data, size, MSG_DONTWAIT, (const struct sockaddr *)to, to_size);
	close(fd);
}

void datagrams_deliver(struct restore *r, struct inject *i,
		       bool (*is_here)(const void *context, const struct in6_addr *address),
		       const void *context)
{
	struct reader in = reader_of(r->datagrams.data, r->datagrams.size);
	while (in.left && !in.error) {
		int fd = (int)reader_u32(&in);
		struct sockaddr_storage own = {0};
		socklen_t own_size = sizeof(own);
		getsockname(fd, (struct sockaddr *)&own, &own_size);
		for (uint32_t count = reader_u32(&in); count; count--) {
			struct sockaddr_storage from = {0};
			struct in6_addr to;
			size_t name_size, size;
			const uint8_t *name = reader_block(&in, &name_size);
			memcpy(&from, name, name_size);
			reader_get(&in, &to, sizeof(to));
			const uint8_t *data = reader_block(&in, &size);
			if (own.ss_family == AF_UNIX) {
				deliver_unix(&own, own_size, data, size);
			} else {
				to = reachable(&to, &own, is_here, context);
				deliver(i, &from, &to, ip_port(&own), data, size);
			}
		}
	}
}
