/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/netlink.h"

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
	uint32_t address;
	int interface; /* 0: any */
	uint32_t mask; /* with interface: count secondaries of this subnet */
	struct place *out;
	bool found;
	bool secondary;
	unsigned others;
};

static int visit_address(void *context, const struct nlmsghdr *answer)
{
	struct search *s = context;
	const struct ifaddrmsg *a = NLMSG_DATA(answer);
	const uint32_t *local = netlink_attribute(answer, sizeof(*a), IFA_LOCAL, sizeof(*local));
	if (answer->nlmsg_type != RTM_NEWADDR || !local)
		return 0;
	if (*local == s->address) {
		s->found = true;
		s->secondary = a->ifa_flags & IFA_F_SECONDARY;
		s->out->interface = (int)a->ifa_index;
		s->out->prefix = a->ifa_prefixlen;
	} else if (s->interface == (int)a->ifa_index && s->out->prefix == a->ifa_prefixlen &&
		   ((*local ^ s->address) & s->mask) == 0) {
		s->others++;
	}
	return 0;
}

static int walk_addresses(int route, struct search *s)
{
	struct netlink_message m = {0};
	struct ifaddrmsg body = {.ifa_family = AF_INET};
	netlink_begin(&m, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, &body, sizeof(body));
	return netlink_ask(route, &m, visit_address, s);
}

int address_find(int route, uint32_t address, struct place *out)
{
	*out = (struct place){0};
	struct search s = {.address = address, .out = out};
	int r = walk_addresses(route, &s);
	if (r)
		return r;
	if (!s.found)
		return -ENOENT;
	/* Removing a primary address takes its secondaries along (promote_secondaries is off by default). */
	s.interface = out->interface;
	s.mask = out->prefix ? htonl(~0u << (32 - out->prefix)) : 0;
	r = walk_addresses(route, &s);
	if (r)
		return r;
	out->carries_more = !s.secondary && s.others;
	return describe_interface(out);
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

int address_link(int route, uint32_t address, struct place *out)
{
	*out = (struct place){.prefix = 32};
	struct netlink_message m = {0};
	struct rtmsg body = {.rtm_family = AF_INET, .rtm_dst_len = 32};
	netlink_begin(&m, RTM_GETROUTE, NLM_F_REQUEST, &body, sizeof(body));
	netlink_put(&m, RTA_DST, &address, sizeof(address));
	int r = netlink_ask(route, &m, visit_route, out);
	if (r == -ENETUNREACH)
		r = -EHOSTUNREACH;
	return r ? r : describe_interface(out);
}

struct next_hop {
	uint32_t interface, address;
};

static int visit_next_hop(void *context, const struct nlmsghdr *answer)
{
	struct next_hop *hop = context;
	const uint32_t *oif = netlink_attribute(answer, sizeof(struct rtmsg), RTA_OIF, sizeof(*oif));
	const uint32_t *gateway =
	    netlink_attribute(answer, sizeof(struct rtmsg), RTA_GATEWAY, sizeof(*gateway));
	if (oif)
		hop->interface = *oif;
	if (gateway)
		hop->address = *gateway;
	return 0;
}

void address_warm(int route, uint32_t peer)
{
	struct next_hop hop = {.address = peer};
	struct netlink_message ask = {0}, use = {0};
	struct rtmsg where = {.rtm_family = AF_INET, .rtm_dst_len = 32};
	netlink_begin(&ask, RTM_GETROUTE, NLM_F_REQUEST, &where, sizeof(where));
	netlink_put(&ask, RTA_DST, &peer, sizeof(peer));
	if (netlink_ask(route, &ask, visit_next_hop, &hop) || !hop.interface)
		return;
	struct ndmsg neighbour = {.ndm_family = AF_INET,
				  .ndm_ifindex = (int)hop.interface,
				  .ndm_state = NUD_NONE,
				  .ndm_flags = NTF_USE};
	netlink_begin(&use, RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE, &neighbour,
		      sizeof(neighbour));
	netlink_put(&use, NDA_DST, &hop.address, sizeof(hop.address));
	netlink_send(route, &use, 1);
}

static int change(int route, uint16_t type, uint16_t flags, uint32_t address, int interface, uint8_t prefix)
{
	struct netlink_message m = {0};
	struct ifaddrmsg body = {
	    .ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (unsigned)interface};
	netlink_begin(&m, type, NLM_F_REQUEST | NLM_F_ACK | flags, &body, sizeof(body));
	netlink_put(&m, IFA_LOCAL, &address, sizeof(address));
	netlink_put(&m, IFA_ADDRESS, &address, sizeof(address));
	return netlink_send(route, &m, 1);
}

int address_add(int route, uint32_t address, int interface)
{
	int r = change(route, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address, interface, 32);
	return r == -EEXIST ? 0 : r;
}

int address_remove(int route, uint32_t address, int interface, uint8_t prefix)
{
	int r = change(route, RTM_DELADDR, 0, address, interface, prefix);
	return r == -EADDRNOTAVAIL ? 0 : r;
}

int address_packet_open(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: sends only */
	return fd < 0 ? -errno : fd;
}

int address_announce(int packet, uint32_t address, const struct place *place)
{
	struct {
		struct ethhdr ethernet;
		struct arphdr arp;
		uint8_t sender_mac[6];
		uint32_t sender;
		uint8_t target_mac[6];
		uint32_t target;
	} __attribute__((packed)) frame = {
	    .ethernet.h_proto = htons(ETH_P_ARP),
	    .arp = {htons(ARPHRD_ETHER), htons(ETH_P_IP), 6, 4, htons(ARPOP_REQUEST)},
	    .sender = address,
	    .target = address,
	};
	memset(frame.ethernet.h_dest, 0xff, 6);
	memcpy(frame.ethernet.h_source, place->mac, 6);
	memcpy(frame.sender_mac, place->mac, 6);
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ARP),
				 .sll_ifindex = place->interface,
				 .sll_halen = 6};
	memset(to.sll_addr, 0xff, 6);
	if (sendto(packet, &frame, sizeof(frame), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return 0;
}
