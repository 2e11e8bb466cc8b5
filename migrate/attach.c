/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/attach.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "host/net/presence.h"

/* From connecting to the message. Both are done at once, but by a service that others may be given the processor before; and
 * only this user's, or root's, is waited for. */
#define MESSAGE_MS 5000

struct message {
	struct msghdr header;
	struct iovec part;
	char space[CMSG_SPACE(sizeof(int))];
};

static void message_init(struct message *m, struct frame_attach *attach)
{
	memset(m, 0, sizeof(*m));
	m->part = (struct iovec){attach, sizeof(*attach)};
	m->header = (struct msghdr){.msg_iov = &m->part,
				    .msg_iovlen = 1,
				    .msg_control = m->space,
				    .msg_controllen = sizeof(m->space)};
}

#define NAME_SIZE (2 * SESSION_ID_SIZE + 16)

static void name_of(const uint8_t session[static SESSION_ID_SIZE], char out[NAME_SIZE])
{
	int n = sprintf(out, "session/");
	for (unsigned i = 0; i < SESSION_ID_SIZE; i++)
		n += sprintf(out + n, "%02x", session[i]);
}

int attach_listen(const uint8_t session[static SESSION_ID_SIZE])
{
	char name[NAME_SIZE];
	name_of(session, name);
	return presence_begin(name);
}

int attach_give(const struct frame_attach *attach, int fd)
{
	struct frame_attach copy = *attach;
	char name[NAME_SIZE];
	name_of(attach->session, name);
	struct message m;
	message_init(&m, &copy);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m.header);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	int to = presence_ask(name);
	if (to < 0)
		return to == -ECONNREFUSED ? -ENOENT : to;
	int rc = sendmsg(to, &m.header, MSG_NOSIGNAL) < 0 ? -errno : 0;
	close(to);
	return rc;
}

/* Anybody on this host can see the name, and connect. */
static bool may_attach(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static bool take(int from, struct frame_attach *attach, int *fd)
{
	struct pollfd polled = {.fd = from, .events = POLLIN};
	struct message m;
	message_init(&m, attach);
	if (!may_attach(from) || poll(&polled, 1, MESSAGE_MS) <= 0)
		return false;
	ssize_t n = recvmsg(from, &m.header, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m.header);
	if (n != sizeof(*attach) || !c || c->cmsg_type != SCM_RIGHTS)
		return false;
	memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return true;
}

int attach_take(int listener, struct frame_attach *attach, int *fd)
{
	int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (from < 0)
		return -errno;
	bool taken = take(from, attach, fd);
	close(from);
	return taken ? 0 : -EAGAIN;
}
