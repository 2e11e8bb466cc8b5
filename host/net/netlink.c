/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int netlink_open(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return -errno;
	struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	/* The kernel answers within the send; an answer that never comes must not hang a migration. */
	struct timeval limit = {.tv_sec = 5};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static struct nlmsghdr *header(struct netlink_message *m)
{
	return (struct nlmsghdr *)(m->data + m->header);
}

static void *extend(struct netlink_message *m, size_t size)
{
	size_t aligned = NLMSG_ALIGN(size);
	if (m->size + aligned > sizeof(m->data)) {
		m->error = -EMSGSIZE;
		return NULL;
	}
	void *p = m->data + m->size;
	memset(p, 0, aligned);
	m->size += aligned;
	return p;
}

void netlink_begin(struct netlink_message *m, uint16_t type, uint16_t flags, const void *body,
		   size_t body_size)
{
	m->header = m->size;
	struct nlmsghdr *h = extend(m, NLMSG_HDRLEN + body_size);
	if (!h)
		return;
	h->nlmsg_len = (uint32_t)(m->size - m->header);
	h->nlmsg_type = type;
	h->nlmsg_flags = flags;
	memcpy(NLMSG_DATA(h), body, body_size);
}

void netlink_put(struct netlink_message *m, uint16_t attribute, const void *value, size_t size)
{
	struct nlattr *a = extend(m, NLA_HDRLEN + size);
	if (!a)
		return;
	a->nla_type = attribute;
	a->nla_len = (uint16_t)(NLA_HDRLEN + size);
	if (size)
		memcpy((uint8_t *)a + NLA_HDRLEN, value, size);
	header(m)->nlmsg_len = (uint32_t)(m->size - m->header);
}

void netlink_put_u32(struct netlink_message *m, uint16_t attribute, uint32_t value)
{
	netlink_put(m, attribute, &value, sizeof(value));
}

void netlink_put_be32(struct netlink_message *m, uint16_t attribute, uint32_t value)
{
	netlink_put_u32(m, attribute, htonl(value));
}

void netlink_put_string(struct netlink_message *m, uint16_t attribute, const char *value)
{
	netlink_put(m, attribute, value, strlen(value) + 1);
}

size_t netlink_nest(struct netlink_message *m, uint16_t attribute)
{
	size_t nest = m->size;
	netlink_put(m, attribute | NLA_F_NESTED, NULL, 0);
	return nest;
}

void netlink_nest_end(struct netlink_message *m, size_t nest)
{
	if (!m->error)
		((struct nlattr *)(m->data + nest))->nla_len = (uint16_t)(m->size - nest);
}

int netlink_send(int fd, struct netlink_message *m, unsigned acks)
{
	if (m->error)
		return m->error;
	if (send(fd, m->data, m->size, 0) < 0)
		return -errno;
	int error = 0;
	while (acks) {
		_Alignas(NLMSG_ALIGNTO) uint8_t answer[8192];
		ssize_t size = recv(fd, answer, sizeof(answer), 0);
		if (size < 0)
			return error ? error : -errno;
		for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, size);
		     h = NLMSG_NEXT(h, size)) {
			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			const struct nlmsgerr *e = NLMSG_DATA(h);
			/* A refused batch is answered by its errors only. */
			if (e->error)
				return e->error;
			if (acks)
				acks--;
		}
	}
	return error;
}

int netlink_ask(int fd, struct netlink_message *m, int (*visit)(void *context, const struct nlmsghdr *answer),
		void *context)
{
	if (m->error)
		return m->error;
	if (send(fd, m->data, m->size, 0) < 0)
		return -errno;
	int result = 0;
	bool dump = header(m)->nlmsg_flags & NLM_F_DUMP;
	for (bool done = false; !done;) {
		_Alignas(NLMSG_ALIGNTO) uint8_t answer[32768];
		ssize_t size = recv(fd, answer, sizeof(answer), 0);
		if (size < 0)
			return -errno;
		for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, size);
		     h = NLMSG_NEXT(h, size)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return result;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (!result)
				result = visit(context, h);
			done = !dump;
		}
	}
	return result;
}

const void *netlink_attribute(const struct nlmsghdr *answer, size_t body_size, uint16_t attribute,
			      size_t size)
{
	size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(body_size);
	while (at + NLA_HDRLEN <= answer->nlmsg_len) {
		const struct nlattr *a = (const struct nlattr *)((const uint8_t *)answer + at);
		if (a->nla_len < NLA_HDRLEN || at + a->nla_len > answer->nlmsg_len)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == attribute)
			return a->nla_len - NLA_HDRLEN >= size ? (const uint8_t *)a + NLA_HDRLEN : NULL;
		at += NLA_ALIGN(a->nla_len);
	}
	return NULL;
}
