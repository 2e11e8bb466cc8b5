/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host/net/checksum.h"
#include "host/net/netlink.h"

#define LOCAL_STEP_US 20
#define LOCAL_MAX_US 100000

static int describe_interface(struct place *p)
{
	struct ifreq request = {0};
	if (!if_indextoname((unsigned)p->interface, p->name))
		return -errno;
	memcpy(request.ifr_name, p->name, sizeof(request.ifr_name));
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = ioctl(fd, SIOCGIFHWADDR, &request) < 0 ? -errno : 0;
	close(fd);
	if (!r && request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		r = -EPROTONOSUPPORT;
	memcpy(p->mac, request.ifr_hwaddr.sa_data, sizeof(p->mac));
	return r;
}

struct search {
	struct in6_addr address;
	int interface;	/* 0: any; else count secondaries of the address's subnet there */
	uint8_t prefix; /* with interface */
	struct place *out;
	bool found;
	bool secondary;
	unsigned others;
};

static bool same_subnet(const struct in6_addr *a, const struct in6_addr *b, uint8_t prefix)
{
	struct ip_wire x = ip_wire(a), y = ip_wire(b);
	for (unsigned bit = 0; bit < prefix && bit < x.bits; bit++)
		if ((x.data[bit / 8] ^ y.data[bit / 8]) & 0x80 >> bit % 8)
			return false;
	return true;
}

static int visit_address(void *context, const struct nlmsghdr *answer)
{
	struct search *s = context;
	struct ip_wire wanted = ip_wire(&s->address);
	const struct ifaddrmsg *a = NLMSG_DATA(answer);
	const void *own = netlink_attribute(answer, sizeof(*a), IFA_LOCAL, wanted.size);
	if (!own) /* IPv6 names it so, unless there is a peer */
		own = netlink_attribute(answer, sizeof(*a), IFA_ADDRESS, wanted.size);
	if (answer->nlmsg_type != RTM_NEWADDR || a->ifa_family != wanted.family || !own)
		return 0;
	struct in6_addr local = ip_read(a->ifa_family, own);
	if (ip_equal(&local, &s->address)) {
		const uint32_t *flags = netlink_attribute(answer, sizeof(*a), IFA_FLAGS, sizeof(*flags));
		s->found = true;
		s->secondary = a->ifa_flags & IFA_F_SECONDARY;
		s->out->interface = (int)a->ifa_index;
		s->out->prefix = a->ifa_prefixlen;
		s->out->autoconfigured = a->ifa_family == AF_INET6 && flags && !(*flags & IFA_F_PERMANENT);
	} else if (s->interface == (int)a->ifa_index && s->prefix == a->ifa_prefixlen &&
		   same_subnet(&local, &s->address, s->prefix)) {
		s->others++;
	}
	return 0;
}

static int walk_addresses(int route, struct search *s)
{
	struct netlink_message m = {0};
	struct ifaddrmsg body = {.ifa_family = ip_wire(&s->address).family};
	netlink_begin(&m, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, &body, sizeof(body));
	return netlink_ask(route, &m, visit_address, s);
}

/* Whether the next address of a subnet takes the place of the first when that is removed. */
static bool promotes(const char *interface)
{
	const char *const of[] = {"all", interface};
	bool on = false;
	for (unsigned i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		char path[100], value = '0';
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/promote_secondaries", of[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, &value, 1) == 1 && value != '0')
			on = true;
		if (fd >= 0)
			close(fd);
	}
	return on;
}

int address_find(int route, const struct in6_addr *address, struct place *out)
{
	*out = (struct place){0};
	struct search s = {.address = *address, .out = out};
	int r = walk_addresses(route, &s);
	if (r)
		return r;
	if (!s.found)
		return -ENOENT;
	/* Removing a primary IPv4 address takes its secondaries along, as a rule. */
	if (ip_is_ipv4(address)) {
		s.interface = out->interface;
		s.prefix = out->prefix;
		r = walk_addresses(route, &s);
		if (r)
			return r;
		out->carries_more = !s.secondary && s.others;
	}
	r = describe_interface(out);
	if (out->carries_more)
		out->carries_more = !promotes(out->name);
	return r;
}

/* from: NULL: any */
static int ask_route(int route, const struct in6_addr *from, const struct in6_addr *to,
		     int (*visit)(void *context, const struct nlmsghdr *answer), void *context)
{
	struct ip_wire w = ip_wire(to);
	struct netlink_message m = {0};
	struct rtmsg body = {.rtm_family = w.family, .rtm_dst_len = w.bits, .rtm_src_len = from ? w.bits : 0};
	netlink_begin(&m, RTM_GETROUTE, NLM_F_REQUEST, &body, sizeof(body));
	netlink_put(&m, RTA_DST, w.data, w.size);
	if (from)
		netlink_put(&m, RTA_SRC, ip_wire(from).data, w.size);
	return netlink_ask(route, &m, visit, context);
}

static int visit_route(void *context, const struct nlmsghdr *answer)
{
	struct place *out = context;
	const struct rtmsg *body = NLMSG_DATA(answer);
	const uint32_t *oif = netlink_attribute(answer, sizeof(*body), RTA_OIF, sizeof(*oif));
	if (!oif || netlink_attribute(answer, sizeof(*body), RTA_GATEWAY, 4) ||
	    netlink_attribute(answer, sizeof(*body), RTA_VIA, 0) || body->rtm_type != RTN_UNICAST)
		return -EHOSTUNREACH;
	out->interface = (int)*oif;
	return 0;
}

int address_link(int route, const struct in6_addr *address, struct place *out)
{
	*out = (struct place){.prefix = ip_wire(address).bits};
	int r = ask_route(route, NULL, address, visit_route, out);
	if (r == -ENETUNREACH)
		r = -EHOSTUNREACH;
	return r ? r : describe_interface(out);
}

struct next_hop {
	uint32_t interface;
	struct in6_addr address;
};

static int visit_next_hop(void *context, const struct nlmsghdr *answer)
{
	struct next_hop *hop = context;
	const struct rtmsg *body = NLMSG_DATA(answer);
	const uint32_t *oif = netlink_attribute(answer, sizeof(*body), RTA_OIF, sizeof(*oif));
	const void *gateway =
	    netlink_attribute(answer, sizeof(*body), RTA_GATEWAY, ip_wire(&hop->address).size);
	if (oif)
		hop->interface = *oif;
	if (gateway)
		hop->address = ip_read(body->rtm_family, gateway);
	return 0;
}

int address_way(int route, const struct in6_addr *from, const struct in6_addr *to)
{
	struct next_hop hop = {.address = *to};
	return ask_route(route, from, to, visit_next_hop, &hop) ? 0 : (int)hop.interface;
}

void address_warm(int route, const struct in6_addr *peer)
{
	struct next_hop hop = {.address = *peer};
	struct netlink_message use = {0};
	if (ask_route(route, NULL, peer, visit_next_hop, &hop) || !hop.interface)
		return;
	struct ip_wire w = ip_wire(&hop.address);
	struct ndmsg neighbour = {.ndm_family = w.family,
				  .ndm_ifindex = (int)hop.interface,
				  .ndm_state = NUD_NONE,
				  .ndm_flags = NTF_USE};
	netlink_begin(&use, RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, &neighbour,
		      sizeof(neighbour));
	netlink_put(&use, NDA_DST, w.data, w.size);
	netlink_send(route, &use, 1);
}

static int change(int route, uint16_t type, uint16_t flags, const struct in6_addr *address, int interface,
		  uint8_t prefix)
{
	struct ip_wire w = ip_wire(address);
	struct netlink_message m = {0};
	struct ifaddrmsg body = {
	    .ifa_family = w.family, .ifa_prefixlen = prefix, .ifa_index = (unsigned)interface};
	netlink_begin(&m, type, NLM_F_REQUEST | NLM_F_ACK | flags, &body, sizeof(body));
	netlink_put(&m, IFA_LOCAL, w.data, w.size);
	if (type == RTM_NEWADDR) /* of one that is there, it is its peer */
		netlink_put(&m, IFA_ADDRESS, w.data, w.size);
	if (type == RTM_NEWADDR && w.family == AF_INET6)
		netlink_put_u32(&m, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	return netlink_send(route, &m, 1);
}

static int visit_local(void *context, const struct nlmsghdr *answer)
{
	*(bool *)context = ((const struct rtmsg *)NLMSG_DATA(answer))->rtm_type == RTN_LOCAL;
	return 0;
}

/* The kernel takes packets for a new IPv6 address a moment after it has answered. */
static int await_local(int route, const struct in6_addr *address)
{
	struct timespec step = {.tv_nsec = LOCAL_STEP_US * 1000};
	for (unsigned us = 0; us < LOCAL_MAX_US; us += LOCAL_STEP_US) {
		bool local = false;
		if (ask_route(route, NULL, address, visit_local, &local) == 0 && local)
			return 0;
		nanosleep(&step, NULL);
	}
	return -ETIMEDOUT;
}

int address_add(int route, const struct in6_addr *address, int interface)
{
	struct ip_wire w = ip_wire(address);
	int r = change(route, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address, interface, w.bits);
	if (r == -EEXIST)
		r = 0;
	return r || w.family == AF_INET ? r : await_local(route, address);
}

int address_remove(int route, const struct in6_addr *address, int interface, uint8_t prefix)
{
	int r = change(route, RTM_DELADDR, 0, address, interface, prefix);
	return r == -EADDRNOTAVAIL ? 0 : r;
}

int address_packet_open(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: sends only */
	return fd < 0 ? -errno : fd;
}

static int send_frame(int packet, const struct place *place, const struct ethhdr *frame, size_t size)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = frame->h_proto,
				 .sll_ifindex = place->interface,
				 .sll_halen = ETH_ALEN};
	memcpy(to.sll_addr, frame->h_dest, ETH_ALEN);
	return sendto(packet, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int announce_arp(int packet, const struct in6_addr *address, const struct place *place)
{
	struct {
		struct ethhdr ethernet;
		struct arphdr arp;
		uint8_t sender_mac[6];
		uint8_t sender[4];
		uint8_t target_mac[6];
		uint8_t target[4];
	} __attribute__((packed)) frame = {
	    .ethernet.h_proto = htons(ETH_P_ARP),
	    .arp = {htons(ARPHRD_ETHER), htons(ETH_P_IP), 6, 4, htons(ARPOP_REQUEST)},
	};
	memcpy(frame.sender, ip_wire(address).data, sizeof(frame.sender));
	memcpy(frame.target, frame.sender, sizeof(frame.target));
	memset(frame.ethernet.h_dest, 0xff, ETH_ALEN);
	memcpy(frame.ethernet.h_source, place->mac, ETH_ALEN);
	memcpy(frame.sender_mac, place->mac, ETH_ALEN);
	return send_frame(packet, place, &frame.ethernet, sizeof(frame));
}

/* Unsolicited, to all nodes of the link, replacing what they had (RFC 4861, 7.2.6). */
static int announce_neighbour(int packet, const struct in6_addr *address, const struct place *place)
{
	static const struct in6_addr all_nodes = {.s6_addr = {0xff, 0x02, [15] = 1}};
	struct {
		struct ethhdr ethernet;
		struct ip6_hdr ip;
		struct nd_neighbor_advert advert;
		struct nd_opt_hdr option;
		uint8_t mac[ETH_ALEN];
	} __attribute__((packed)) frame = {
	    .ethernet = {.h_dest = {0x33, 0x33, 0, 0, 0, 1}, .h_proto = htons(ETH_P_IPV6)},
	    .ip.ip6_hops = 255,
	    .ip.ip6_nxt = IPPROTO_ICMPV6,
	    .ip.ip6_src = *address,
	    .ip.ip6_dst = all_nodes,
	    .option = {ND_OPT_TARGET_LINKADDR, 1},
	};
	const size_t size = sizeof(frame) - offsetof(__typeof__(frame), advert);
	frame.ip.ip6_vfc = 6 << 4;
	frame.ip.ip6_plen = htons((uint16_t)size);
	frame.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
	frame.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	frame.advert.nd_na_target = *address;
	memcpy(frame.ethernet.h_source, place->mac, ETH_ALEN);
	memcpy(frame.mac, place->mac, ETH_ALEN);
	frame.advert.nd_na_cksum = checksum_with_pseudo(address, &all_nodes, IPPROTO_ICMPV6,
							(const uint8_t *)&frame + sizeof(frame) - size, size);
	return send_frame(packet, place, &frame.ethernet, sizeof(frame));
}

int address_announce(int packet, const struct in6_addr *address, const struct place *place)
{
	return ip_is_ipv4(address) ? announce_arp(packet, address, place)
				   : announce_neighbour(packet, address, place);
}
