/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/conntrack.h"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "host/net/ip.h"
#include "host/net/netlink.h"

bool conntrack_is_used(void)
{
	FILE *f = fopen("/proc/sys/net/netfilter/nf_conntrack_count", "re");
	unsigned count = 0;
	if (!f)
		return false;
	bool used = fscanf(f, "%u", &count) == 1 && count > 0;
	fclose(f);
	return used;
}

bool conntrack_note(int fd, struct conntrack_pair *out)
{
	socklen_t own = sizeof(out->own), peer = sizeof(out->peer);
	return getsockname(fd, (struct sockaddr *)&out->own, &own) == 0 &&
	       getpeername(fd, (struct sockaddr *)&out->peer, &peer) == 0;
}

/* As its peer's packets name it; it is found so whoever has spoken first. */
static bool put_pair(struct netlink_message *m, const struct conntrack_pair *pair)
{
	struct in6_addr own, peer;
	if (!ip_of(&pair->own, &own) || !ip_of(&pair->peer, &peer))
		return false;
	struct ip_wire from = ip_wire(&peer), to = ip_wire(&own);
	struct nfgenmsg body = {.nfgen_family = from.family, .version = NFNETLINK_V0};
	bool ipv4 = from.family == AF_INET;
	uint16_t from_port = ip_port(&pair->peer), to_port = ip_port(&pair->own);
	uint8_t protocol = IPPROTO_TCP;

	netlink_begin(m, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST, &body, sizeof(body));
	size_t tuple = netlink_nest(m, CTA_TUPLE_ORIG), part = netlink_nest(m, CTA_TUPLE_IP);
	netlink_put(m, ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, from.data, from.size);
	netlink_put(m, ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, to.data, to.size);
	netlink_nest_end(m, part);
	part = netlink_nest(m, CTA_TUPLE_PROTO);
	netlink_put(m, CTA_PROTO_NUM, &protocol, sizeof(protocol));
	netlink_put(m, CTA_PROTO_SRC_PORT, &from_port, sizeof(from_port));
	netlink_put(m, CTA_PROTO_DST_PORT, &to_port, sizeof(to_port));
	netlink_nest_end(m, part);
	netlink_nest_end(m, tuple);
	return true;
}

void conntrack_forget(const struct conntrack_pair *pairs, unsigned count)
{
	int fd = count ? netlink_open(NETLINK_NETFILTER) : -1;
	for (unsigned i = 0; fd >= 0 && i < count; i++) {
		struct netlink_message m = {0};
		/* Nobody reads what the kernel says of those that it does not know. */
		if (put_pair(&m, &pairs[i]))
			netlink_send(fd, &m, 0);
	}
	if (fd >= 0)
		close(fd);
}
