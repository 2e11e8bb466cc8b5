/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/steer_tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/netlink.h"
#include "host/net/presence.h"

#define PRIORITY 0x4f4d /* "OM": ours among the interface's filters */
#define STALE_MAX 32
#define HANDLE_TRIES 8

static struct tcmsg filter_at(int interface, bool entrance, uint32_t handle)
{
	return (struct tcmsg){.tcm_family = AF_UNSPEC,
			      .tcm_ifindex = interface,
			      .tcm_handle = handle,
			      .tcm_parent = TC_H_MAKE(TC_H_CLSACT, entrance ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS),
			      .tcm_info = TC_H_MAKE(PRIORITY << 16, htons(ETH_P_ALL))};
}

static int add_qdisc(int route, int interface)
{
	struct netlink_message m = {0};
	struct tcmsg body = {.tcm_family = AF_UNSPEC,
			     .tcm_ifindex = interface,
			     .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
			     .tcm_parent = TC_H_CLSACT};
	netlink_begin(&m, RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &body,
		      sizeof(body));
	netlink_put_string(&m, TCA_KIND, "clsact");
	int r = netlink_send(route, &m, 1);
	return r == -EEXIST ? 0 : r;
}

static int delete_filter(int route, int interface, bool entrance, uint32_t handle)
{
	struct netlink_message m = {0};
	struct tcmsg body = filter_at(interface, entrance, handle);
	netlink_begin(&m, RTM_DELTFILTER, NLM_F_REQUEST | NLM_F_ACK, &body, sizeof(body));
	netlink_put_string(&m, TCA_KIND, "bpf");
	return netlink_send(route, &m, 1);
}

struct stale {
	uint32_t handle[STALE_MAX];
	unsigned count;
};

#define NAME_SIZE 32

static void name_of(uint32_t handle, char out[NAME_SIZE])
{
	snprintf(out, NAME_SIZE, "filter-%08x", handle);
}

static int visit_filter(void *context, const struct nlmsghdr *answer)
{
	struct stale *stale = context;
	const struct tcmsg *body = NLMSG_DATA(answer);
	char name[NAME_SIZE];
	if (TC_H_MAJ(body->tcm_info) >> 16 != PRIORITY || !body->tcm_handle || stale->count == STALE_MAX)
		return 0;
	name_of(body->tcm_handle, name);
	int alive = presence_ask(name);
	if (alive >= 0)
		close(alive);
	else if (alive == -ECONNREFUSED)
		stale->handle[stale->count++] = body->tcm_handle;
	return 0;
}

static void delete_stale(int route, int interface, bool entrance)
{
	struct netlink_message m = {0};
	struct tcmsg body = filter_at(interface, entrance, 0);
	struct stale stale = {0};
	netlink_begin(&m, RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, &body, sizeof(body));
	netlink_ask(route, &m, visit_filter, &stale);
	for (unsigned i = 0; i < stale.count; i++)
		delete_filter(route, interface, entrance, stale.handle[i]);
}

/* A handle that nobody has, and the sign that it is in use. */
static int new_filter(struct steer_filter *out)
{
	char name[NAME_SIZE];
	int r = -EADDRINUSE;
	for (int tries = 0; r == -EADDRINUSE && tries < HANDLE_TRIES; tries++) {
		if (getrandom(&out->handle, sizeof(out->handle), 0) != sizeof(out->handle))
			return -EIO;
		name_of(out->handle, name);
		r = out->handle ? presence_begin(name) : -EADDRINUSE;
	}
	out->presence = r < 0 ? -1 : r;
	return r < 0 ? r : 0;
}

int steer_tc_attach(int interface, bool entrance, int program, struct steer_filter *out)
{
	int route = netlink_open(NETLINK_ROUTE);
	if (route < 0)
		return route;
	int r = add_qdisc(route, interface);
	if (!r) {
		delete_stale(route, interface, entrance);
		r = new_filter(out);
	}
	if (!r) {
		struct netlink_message m = {0};
		struct tcmsg body = filter_at(interface, entrance, out->handle);
		netlink_begin(&m, RTM_NEWTFILTER, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
			      &body, sizeof(body));
		netlink_put_string(&m, TCA_KIND, "bpf");
		size_t options = netlink_nest(&m, TCA_OPTIONS);
		netlink_put_u32(&m, TCA_BPF_FD, (uint32_t)program);
		netlink_put_string(&m, TCA_BPF_NAME, "optmig");
		netlink_put_u32(&m, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
		netlink_nest_end(&m, options);
		r = netlink_send(route, &m, 1);
	}
	if (r && out->presence >= 0) {
		close(out->presence);
		out->presence = -1;
	}
	close(route);
	return r;
}

void steer_tc_detach(int interface, bool entrance, struct steer_filter *filter)
{
	if (filter->presence < 0)
		return;
	int route = netlink_open(NETLINK_ROUTE);
	if (route >= 0) {
		delete_filter(route, interface, entrance, filter->handle);
		close(route);
	}
	close(filter->presence);
	filter->presence = -1;
}
