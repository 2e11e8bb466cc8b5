/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/send_back.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAME_PAYLOAD                                                                                        \
	ETH_DATA_LEN /* the smallest MTU in use on Ethernet; larger packets are cut to fit it                \
		      */

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

/* What the kernel expects where it is to fill in the rest: the sum of the pseudo header. */
static uint16_t pseudo_sum(const struct iphdr *ip, size_t segment)
{
	uint32_t sum = (ip->saddr & 0xffff) + (ip->saddr >> 16) + (ip->daddr & 0xffff) + (ip->daddr >> 16) +
		       htons(ip->protocol) + htons((uint16_t)segment);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

int send_back(int fd, const struct place *place, const uint8_t to_mac[6], const uint8_t *packet, size_t size)
{
	struct virtio_net_hdr offload = {0};
	struct ethhdr ethernet = {.h_proto = htons(ETH_P_IP)};
	struct iphdr ip;
	uint8_t head[sizeof(struct iphdr) + 40 + sizeof(struct tcphdr)];
	size_t head_size = 0;
	memcpy(ethernet.h_dest, to_mac, ETH_ALEN);
	memcpy(ethernet.h_source, place->mac, ETH_ALEN);
	memcpy(&ip, packet, sizeof(ip));
	size_t ip_size = ip.ihl * 4u;
	if (ip.protocol == IPPROTO_TCP && ip_size >= sizeof(ip) && size >= ip_size + sizeof(struct tcphdr)) {
		struct tcphdr tcp;
		head_size = ip_size + sizeof(tcp);
		memcpy(head, packet, head_size);
		memcpy(&tcp, head + ip_size, sizeof(tcp));
		tcp.check = pseudo_sum(&ip, size - ip_size);
		memcpy(head + ip_size, &tcp, sizeof(tcp));
		offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		offload.csum_start = (uint16_t)(ETH_HLEN + ip_size);
		offload.csum_offset = offsetof(struct tcphdr, check);
		size_t headers = ip_size + tcp.doff * 4u;
		if (size > FRAME_PAYLOAD && headers < FRAME_PAYLOAD) {
			offload.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
			offload.gso_size = (uint16_t)(FRAME_PAYLOAD - headers);
			offload.hdr_len = (uint16_t)(ETH_HLEN + headers);
		}
	}
	struct iovec part[] = {{&offload, sizeof(offload)},
			       {&ethernet, sizeof(ethernet)},
			       {head, head_size},
			       {(void *)(packet + head_size), size - head_size}};
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_IP),
				 .sll_ifindex = place->interface,
				 .sll_halen = ETH_ALEN};
	memcpy(to.sll_addr, to_mac, ETH_ALEN);
	struct msghdr message = {.msg_name = &to,
				 .msg_namelen = sizeof(to),
				 .msg_iov = part,
				 .msg_iovlen = sizeof(part) / sizeof(part[0])};
	return sendmsg(fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}
