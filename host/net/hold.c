/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/hold.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/netlink.h"

#define HOLD_MARK 0x4f4d0000u /* "OM", and the queue's number: two holds do not meet */
#define QUEUE_LENGTH_MAX 65536
#define QUEUE_BUFFER (64 << 20) /* one notice of about 1 KB per packet, unread until the end */
#define QUEUE_TRIES 64

static void begin(struct netlink_message *m, unsigned subsystem, unsigned type, unsigned flags,
		  uint8_t family, uint16_t resource)
{
	struct nfgenmsg body = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
	netlink_begin(m, (uint16_t)(subsystem << 8 | type), (uint16_t)(NLM_F_REQUEST | flags), &body,
		      sizeof(body));
}

static void begin_queue(struct netlink_message *m, unsigned type, unsigned flags, uint16_t number)
{
	begin(m, NFNL_SUBSYS_QUEUE, type, flags, AF_UNSPEC, number);
}

static int queue_bind(int fd, uint16_t number)
{
	struct netlink_message m = {0};
	struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_INET)};
	begin_queue(&m, NFQNL_MSG_CONFIG, NLM_F_ACK, number);
	netlink_put(&m, NFQA_CFG_CMD, &command, sizeof(command));
	return netlink_send(fd, &m, 1);
}

static int queue_configure(int fd, uint16_t number)
{
	struct netlink_message m = {0};
	/* With their content (by reference): a move that fails sends them back. */
	struct nfqnl_msg_config_params params = {.copy_mode = NFQNL_COPY_PACKET, .copy_range = htonl(0xffff)};
	begin_queue(&m, NFQNL_MSG_CONFIG, NLM_F_ACK, number);
	netlink_put(&m, NFQA_CFG_PARAMS, &params, sizeof(params));
	netlink_put_be32(&m, NFQA_CFG_QUEUE_MAXLEN, QUEUE_LENGTH_MAX);
	/* Whole segments, as the receive offload made them. */
	netlink_put_be32(&m, NFQA_CFG_FLAGS, NFQA_CFG_F_GSO);
	netlink_put_be32(&m, NFQA_CFG_MASK, NFQA_CFG_F_GSO);
	return netlink_send(fd, &m, 1);
}

static int queue_open(struct hold *h)
{
	h->queue = netlink_open(NETLINK_NETFILTER);
	if (h->queue < 0)
		return h->queue;
	int size = QUEUE_BUFFER, on = 1;
	setsockopt(h->queue, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(h->queue, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on));
	int r = -EBUSY;
	for (unsigned i = 0; i < QUEUE_TRIES && r == -EBUSY; i++) {
		h->number = (uint16_t)((unsigned)getpid() * 7 + i);
		r = queue_bind(h->queue, h->number);
	}
	return r ? r : queue_configure(h->queue, h->number);
}

static size_t begin_expression(struct netlink_message *m, const char *name, size_t *element)
{
	*element = netlink_nest(m, NFTA_LIST_ELEM);
	netlink_put_string(m, NFTA_EXPR_NAME, name);
	return netlink_nest(m, NFTA_EXPR_DATA);
}

static void end_expression(struct netlink_message *m, size_t data, size_t element)
{
	netlink_nest_end(m, data);
	netlink_nest_end(m, element);
}

/* meta mark == mark, then xtables' NFQUEUE: nf_tables' own `queue` is a module of its own that many kernels
 * lack. */
static void put_rule(struct netlink_message *m, const struct hold *h)
{
	size_t list = netlink_nest(m, NFTA_RULE_EXPRESSIONS), element;

	size_t data = begin_expression(m, "meta", &element);
	netlink_put_be32(m, NFTA_META_DREG, NFT_REG32_00);
	netlink_put_be32(m, NFTA_META_KEY, NFT_META_MARK);
	end_expression(m, data, element);

	data = begin_expression(m, "cmp", &element);
	netlink_put_be32(m, NFTA_CMP_SREG, NFT_REG32_00);
	netlink_put_be32(m, NFTA_CMP_OP, NFT_CMP_EQ);
	size_t value = netlink_nest(m, NFTA_CMP_DATA);
	netlink_put_u32(m, NFTA_DATA_VALUE, h->mark);
	netlink_nest_end(m, value);
	end_expression(m, data, element);

	struct xt_NFQ_info_v3 target = {.queuenum = h->number, .queues_total = 1, .flags = NFQ_FLAG_BYPASS};
	uint8_t info[8] = {0}; /* xtables aligns to 8 */
	memcpy(info, &target, sizeof(target));
	data = begin_expression(m, "target", &element);
	netlink_put_string(m, NFTA_TARGET_NAME, "NFQUEUE");
	netlink_put_be32(m, NFTA_TARGET_REV, 3);
	netlink_put(m, NFTA_TARGET_INFO, info, sizeof(info));
	end_expression(m, data, element);

	netlink_nest_end(m, list);
}

/* A table of its own for each family: a table of both (inet) takes xtables' targets on few kernels. */
static unsigned put_table(struct netlink_message *m, const struct hold *h, uint8_t family)
{
	char name[32];
	snprintf(name, sizeof(name), "optmig-%u", h->number);

	begin(m, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWTABLE, NLM_F_ACK | NLM_F_CREATE, family, 0);
	netlink_put_string(m, NFTA_TABLE_NAME, name);
	netlink_put_be32(m, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);

	begin(m, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN, NLM_F_ACK | NLM_F_CREATE, family, 0);
	netlink_put_string(m, NFTA_CHAIN_TABLE, name);
	netlink_put_string(m, NFTA_CHAIN_NAME, "hold");
	netlink_put_string(m, NFTA_CHAIN_TYPE, "filter");
	size_t hook = netlink_nest(m, NFTA_CHAIN_HOOK);
	netlink_put_be32(m, NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
	netlink_put_be32(m, NFTA_HOOK_PRIORITY, (uint32_t)NF_IP_PRI_RAW); /* before connection tracking */
	netlink_nest_end(m, hook);

	begin(m, NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND, family, 0);
	netlink_put_string(m, NFTA_RULE_TABLE, name);
	netlink_put_string(m, NFTA_RULE_CHAIN, "hold");
	put_rule(m, h);
	return 3; /* acknowledgements */
}

static int tables_open(struct hold *h, bool ipv4, bool ipv6)
{
	h->table = netlink_open(NETLINK_NETFILTER);
	if (h->table < 0)
		return h->table;
	struct netlink_message m = {0};
	unsigned acks = 0;
	begin(&m, 0, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	if (ipv4)
		acks += put_table(&m, h, NFPROTO_IPV4);
	if (ipv6)
		acks += put_table(&m, h, NFPROTO_IPV6);
	begin(&m, 0, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	return netlink_send(h->table, &m, acks);
}

int hold_open(bool ipv4, bool ipv6, struct hold *out)
{
	*out = HOLD_NONE;
	int r = queue_open(out);
	if (!r) {
		out->mark = HOLD_MARK | out->number;
		r = tables_open(out, ipv4, ipv6);
	}
	if (r)
		hold_close(out);
	/* What an absent subsystem, expression or target answers. */
	if (r == -EPROTONOSUPPORT || r == -EINVAL || r == -ENOENT)
		r = -EOPNOTSUPP;
	return r;
}

int hold_release(struct hold *h)
{
	struct netlink_message m = {0};
	/* A batch verdict takes every packet whose number is not after this one, compared as serial numbers:
	 * all of the first 2^31, so the notices need not be read. */
	struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_ACCEPT), .id = htonl(0x7fffffff)};
	begin_queue(&m, NFQNL_MSG_VERDICT_BATCH, 0, h->number);
	netlink_put(&m, NFQA_VERDICT_HDR, &verdict, sizeof(verdict));
	/* The mark has done its work; routing rules are not to see it. */
	netlink_put_be32(&m, NFQA_MARK, 0);
	return netlink_send(h->queue, &m, 0);
}

int hold_end(struct hold *h)
{
	struct netlink_message m = {0};
	/* A queue that has no room and is open to failure lets packets pass. No answer is awaited: it would come behind
	 * the notices. */
	begin_queue(&m, NFQNL_MSG_CONFIG, 0, h->number);
	netlink_put_be32(&m, NFQA_CFG_QUEUE_MAXLEN, 0);
	netlink_put_be32(&m, NFQA_CFG_FLAGS, NFQA_CFG_F_FAIL_OPEN);
	netlink_put_be32(&m, NFQA_CFG_MASK, NFQA_CFG_F_FAIL_OPEN);
	int r = netlink_send(h->queue, &m, 0);
	return r ? r : hold_release(h);
}

unsigned hold_each(struct hold *h, void (*visit)(void *context, const uint8_t *packet, size_t size),
		   void *context)
{
	static _Alignas(NLMSG_ALIGNTO) uint8_t buffer[1 << 17];
	unsigned count = 0;
	ssize_t size;
	while ((size = recv(h->queue, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0) {
		for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, size);
		     m = NLMSG_NEXT(m, size)) {
			if (m->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
				continue;
			const uint8_t *packet =
			    netlink_attribute(m, sizeof(struct nfgenmsg), NFQA_PAYLOAD, 20);
			if (!packet)
				continue;
			const struct nlattr *a = (const struct nlattr *)(packet - NLA_HDRLEN);
			visit(context, packet, (size_t)a->nla_len - NLA_HDRLEN);
			count++;
		}
	}
	return count;
}

void hold_close(struct hold *h)
{
	/* The rule first: while it stands, packets would be queued to nobody. */
	if (h->table >= 0)
		close(h->table);
	if (h->queue >= 0)
		close(h->queue);
	*h = HOLD_NONE;
}
