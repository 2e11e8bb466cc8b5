/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/inject.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HOPS 255 /* as many as a socket may insist on (IP_MINTTL) */

void inject_close(struct inject *i)
{
	if (i->ipv4 >= 0)
		close(i->ipv4);
	if (i->ipv6 >= 0)
		close(i->ipv6);
	*i = INJECT_UNOPENED;
}

static int send_parts(int *fd, int family, void *name, socklen_t name_size, struct iovec part[2])
{
	struct msghdr message = {
	    .msg_name = name, .msg_namelen = name_size, .msg_iov = part, .msg_iovlen = 2};
	/* A socket of this protocol is given whole packets. */
	if (*fd < 0)
		*fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	return *fd < 0 || sendmsg(*fd, &message, 0) < 0 ? -errno : 0;
}

int inject(struct inject *i, const struct in6_addr *from, const struct in6_addr *to, uint8_t protocol,
	   const void *data, size_t size)
{
	struct iovec part[2] = {[1] = {(void *)data, size}};
	if (ip_is_ipv4(from) != ip_is_ipv4(to))
		return -EAFNOSUPPORT;
	if (ip_is_ipv4(to)) {
		struct iphdr ip = {.ihl = 5, .version = 4, .ttl = HOPS, .protocol = protocol};
		struct sockaddr_in name = {.sin_family = AF_INET};
		ip.tot_len = htons((uint16_t)(sizeof(ip) + size));
		memcpy(&ip.saddr, ip_wire(from).data, sizeof(ip.saddr));
		memcpy(&ip.daddr, ip_wire(to).data, sizeof(ip.daddr));
		name.sin_addr.s_addr = ip.daddr;
		part[0] = (struct iovec){&ip, sizeof(ip)};
		return send_parts(&i->ipv4, AF_INET, &name, sizeof(name), part);
	}
	struct ip6_hdr ip = {.ip6_src = *from, .ip6_dst = *to};
	struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = *to};
	ip.ip6_vfc = 6 << 4;
	ip.ip6_plen = htons((uint16_t)size);
	ip.ip6_nxt = protocol;
	ip.ip6_hlim = HOPS;
	part[0] = (struct iovec){&ip, sizeof(ip)};
	return send_parts(&i->ipv6, AF_INET6, &name, sizeof(name), part);
}
