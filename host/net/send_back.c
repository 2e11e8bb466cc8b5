/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/send_back.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "host/net/checksum.h"

/* The smallest MTU in use on Ethernet; larger packets are cut to fit it. */
#define FRAME_PAYLOAD ETH_DATA_LEN
#define IP_HEADER_MAX 60 /* IPv4 with all its options; more than IPv6 */

int send_back_open(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0)
		return -errno;
	/* Checksums and cutting are left to the kernel: a packet held on its way in may lack both. */
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* What of a packet is needed to send it: its addresses, and where TCP begins in it, if it does. */
struct shape {
	struct in6_addr from, to;
	uint16_t ethertype;
	uint8_t gso_type;
	size_t ip_size; /* 0: not TCP */
};

static int shape_of(const uint8_t *packet, size_t size, struct shape *out)
{
	if (size >= sizeof(struct ip6_hdr) && packet[0] >> 4 == 6) {
		const struct ip6_hdr *ip = (const struct ip6_hdr *)packet;
		*out = (struct shape){ip->ip6_src, ip->ip6_dst, htons(ETH_P_IPV6), VIRTIO_NET_HDR_GSO_TCPV6,
				      ip->ip6_nxt == IPPROTO_TCP ? sizeof(*ip) : 0};
	} else if (size >= sizeof(struct iphdr) && packet[0] >> 4 == 4) {
		struct iphdr ip;
		memcpy(&ip, packet, sizeof(ip));
		*out = (struct shape){ip_read(AF_INET, &ip.saddr), ip_read(AF_INET, &ip.daddr),
				      htons(ETH_P_IP), VIRTIO_NET_HDR_GSO_TCPV4,
				      ip.protocol == IPPROTO_TCP && ip.ihl >= 5 ? ip.ihl * 4u : 0};
	} else {
		return -EBADMSG;
	}
	if (size < out->ip_size + sizeof(struct tcphdr))
		out->ip_size = 0;
	return 0;
}

int send_back(int fd, const struct place *place, const uint8_t to_mac[6], const uint8_t *packet, size_t size)
{
	struct virtio_net_hdr offload = {0};
	struct shape shape;
	uint8_t head[IP_HEADER_MAX + sizeof(struct tcphdr)];
	size_t head_size = 0;
	int r = shape_of(packet, size, &shape);
	if (r)
		return r;
	struct ethhdr ethernet = {.h_proto = shape.ethertype};
	memcpy(ethernet.h_dest, to_mac, ETH_ALEN);
	memcpy(ethernet.h_source, place->mac, ETH_ALEN);
	if (shape.ip_size) {
		struct tcphdr tcp;
		head_size = shape.ip_size + sizeof(tcp);
		memcpy(head, packet, head_size);
		memcpy(&tcp, head + shape.ip_size, sizeof(tcp));
		tcp.check = checksum_pseudo(&shape.from, &shape.to, IPPROTO_TCP, size - shape.ip_size);
		memcpy(head + shape.ip_size, &tcp, sizeof(tcp));
		offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		offload.csum_start = (uint16_t)(ETH_HLEN + shape.ip_size);
		offload.csum_offset = offsetof(struct tcphdr, check);
		size_t headers = shape.ip_size + tcp.doff * 4u;
		if (size > FRAME_PAYLOAD && headers < FRAME_PAYLOAD) {
			offload.gso_type = shape.gso_type;
			offload.gso_size = (uint16_t)(FRAME_PAYLOAD - headers);
			offload.hdr_len = (uint16_t)(ETH_HLEN + headers);
		}
	}
	struct iovec part[] = {{&offload, sizeof(offload)},
			       {&ethernet, sizeof(ethernet)},
			       {head, head_size},
			       {(void *)(packet + head_size), size - head_size}};
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = shape.ethertype,
				 .sll_ifindex = place->interface,
				 .sll_halen = ETH_ALEN};
	memcpy(to.sll_addr, to_mac, ETH_ALEN);
	struct msghdr message = {.msg_name = &to,
				 .msg_namelen = sizeof(to),
				 .msg_iov = part,
				 .msg_iovlen = sizeof(part) / sizeof(part[0])};
	return sendmsg(fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}
