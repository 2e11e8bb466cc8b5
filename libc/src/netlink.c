/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's answer about interfaces and addresses. Who reads it goes by the
 * lengths and numbers in it, so a message comes to him only if they are good;
 * from the first one that is not, there is no answer.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "netlink.h"

static bool attributes_are_good(const struct nlmsghdr *h, size_t fixed)
{
	const char *at = (const char *)h + sizeof *h + fixed, *end = (const char *)h + h->nlmsg_len;
	unsigned statistics = 0;

	while ((size_t)(end - at) >= sizeof(struct rtattr)) {
		struct rtattr a;
		memcpy(&a, at, sizeof a);
		if (a.rta_len < sizeof a || NETLINK_ALIGN(a.rta_len) > (size_t)(end - at))
			return false;
		size_t size = a.rta_len - sizeof a;
		bool link = h->nlmsg_type == RTM_NEWLINK;
		if (a.rta_type == (link ? IFLA_IFNAME : IFA_LABEL) && (size < 1 || size > IFNAMSIZ))
			return false;
		/* room is made for the first, and all are copied there */
		if (link && a.rta_type == IFLA_STATS && statistics++)
			return false;
		at += NETLINK_ALIGN(a.rta_len);
	}
	return true;
}

static bool message_is_good(const struct nlmsghdr *h, size_t room, uint16_t type)
{
	size_t fixed = type == RTM_NEWLINK ? sizeof(struct ifinfomsg) : sizeof(struct ifaddrmsg);
	int32_t interface;

	/* who reads goes from one to the next in aligned steps */
	if (h->nlmsg_type != type || h->nlmsg_len < sizeof *h + fixed || h->nlmsg_len > room ||
	    NETLINK_ALIGN(h->nlmsg_len) > room)
		return false;
	/* the index is at the same place in both; names are hashed by it */
	memcpy(&interface, (const char *)h + sizeof *h + 4, sizeof interface);
	return interface > 0 && attributes_are_good(h, fixed);
}

static int enumerate(int fd, uint16_t request, uint16_t reply, int family,
		     int (*each)(void *, struct nlmsghdr *), void *context)
{
	struct {
		struct nlmsghdr header;
		struct rtgenmsg body;
	} ask = {.header = {.nlmsg_len = sizeof ask,
			    .nlmsg_type = request,
			    .nlmsg_flags = NLM_F_DUMP | NLM_F_REQUEST,
			    .nlmsg_seq = request},
		 .body.rtgen_family = (unsigned char)family};
	_Alignas(struct nlmsghdr) char answer[8192];

	if (send(fd, &ask, sizeof ask, 0) < 0)
		return -1;
	for (;;) {
		ssize_t size = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
		if (size <= 0)
			return -1;
		for (size_t at = 0; (size_t)size - at >= sizeof(struct nlmsghdr);) {
			struct nlmsghdr *h = (void *)(answer + at);
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (!message_is_good(h, (size_t)size - at, reply)) {
				errno = EBADMSG;
				return -1;
			}
			int r = each(context, h);
			if (r)
				return r;
			at += NETLINK_ALIGN(h->nlmsg_len);
		}
	}
}

int __rtnetlink_enumerate(int link_family, int address_family, int (*each)(void *, struct nlmsghdr *),
			  void *context)
{
	int fd = socket(PF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -1;
	int r = enumerate(fd, RTM_GETLINK, RTM_NEWLINK, link_family, each, context);
	if (r == 0)
		r = enumerate(fd, RTM_GETADDR, RTM_NEWADDR, address_family, each, context);
	syscall(SYS_close, fd);
	return r;
}
