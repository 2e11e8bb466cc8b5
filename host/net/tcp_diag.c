/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/tcp_diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "host/net/ip.h"
#include "host/net/netlink.h"

#define UNSETTLED (1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 | 1u << TCP_CLOSING | 1u << TCP_LAST_ACK)

int tcp_diag_open(void)
{
	return netlink_open(NETLINK_SOCK_DIAG);
}

struct question {
	void (*visit)(void *context, const struct tcp_seen *seen);
	void *context;
};

static int answered(void *context, const struct nlmsghdr *answer)
{
	const struct question *q = context;
	const struct inet_diag_msg *m = NLMSG_DATA(answer);
	if (answer->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return 0;
	struct tcp_seen seen = {ip_read(m->idiag_family, m->id.idiag_src), ip_read(m->idiag_family, m->id.idiag_dst),
				m->idiag_inode};
	q->visit(q->context, &seen);
	return 0;
}

int tcp_diag_each(int fd, uint32_t states, void (*visit)(void *context, const struct tcp_seen *seen), void *context)
{
	struct question q = {visit, context};
	static const uint8_t families[] = {AF_INET, AF_INET6};
	for (unsigned i = 0; i < sizeof(families); i++) {
		struct netlink_message m = {0};
		struct inet_diag_req_v2 body = {
		    .sdiag_family = families[i], .sdiag_protocol = IPPROTO_TCP, .idiag_states = states};
		netlink_begin(&m, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &body, sizeof(body));
		int r = netlink_ask(fd, &m, answered, &q);
		if (r)
			return r;
	}
	return 0;
}

struct unsettled {
	bool (*ours)(const void *context, const struct in6_addr *address);
	const void *context;
	int count;
};

static void count_unsettled(void *context, const struct tcp_seen *seen)
{
	struct unsettled *u = context;
	if (seen->inode == 0 && u->ours(u->context, &seen->own))
		u->count++;
}

int tcp_diag_unsettled(int fd, bool (*ours)(const void *context, const struct in6_addr *address),
		       const void *context)
{
	struct unsettled u = {ours, context, 0};
	int r = tcp_diag_each(fd, UNSETTLED, count_unsettled, &u);
	return r ? r : u.count;
}
