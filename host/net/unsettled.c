/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/unsettled.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "host/net/ip.h"
#include "host/net/netlink.h"

#define STATES (1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK)

struct question {
	bool (*ours)(const void *context, const struct in6_addr *address);
	const void *context;
	int count;
};

int unsettled_open(void)
{
	return netlink_open(NETLINK_SOCK_DIAG);
}

static int visit(void *context, const struct nlmsghdr *answer)
{
	struct question *q = context;
	const struct inet_diag_msg *m = NLMSG_DATA(answer);
	if (answer->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return 0;
	struct in6_addr address = ip_read(m->idiag_family, m->id.idiag_src);
	/* With an inode it is somebody's descriptor. */
	if (m->idiag_inode == 0 && q->ours(q->context, &address))
		q->count++;
	return 0;
}

int unsettled_count(int fd, bool (*ours)(const void *context, const struct in6_addr *address),
		    const void *context)
{
	struct question q = {ours, context, 0};
	static const uint8_t families[] = {AF_INET, AF_INET6};
	for (unsigned i = 0; i < sizeof(families); i++) {
		struct netlink_message m = {0};
		struct inet_diag_req_v2 body = {
		    .sdiag_family = families[i], .sdiag_protocol = IPPROTO_TCP, .idiag_states = STATES};
		netlink_begin(&m, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &body, sizeof(body));
		int r = netlink_ask(fd, &m, visit, &q);
		if (r)
			return r;
	}
	return q.count;
}
