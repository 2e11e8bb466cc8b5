/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/meeting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_BUFFER (8 << 20)

void meeting_init(struct meeting *m)
{
	*m = (struct meeting){.listener = -1, .fd = -1};
}

static void listener_close(struct meeting *m)
{
	if (m->listener >= 0)
		close(m->listener);
	if (m->path[0])
		unlink(m->path);
	m->listener = -1;
	m->path[0] = 0;
}

void meeting_close(struct meeting *m)
{
	listener_close(m);
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

/* A socket's name is short: by way of its directory. */
static int socket_at(const char *path, int (*act)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char directory[4096];
	const char *name = strrchr(path, '/');
	if (!name || (size_t)(name - path) >= sizeof(directory))
		return -EINVAL;
	snprintf(directory, sizeof(directory), "%.*s/", (int)(name - path), path);
	int where = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (where < 0)
		return -errno;
	int n = snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d%s", where, name);
	int fd = n < (int)sizeof(at.sun_path)
		     ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
		     : -1;
	int r = fd < 0 || act(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
	close(where);
	if (r && fd >= 0)
		close(fd);
	return r ? r : fd;
}

int meeting_offer(struct meeting *m, const char *directory)
{
	uint64_t name;
	meeting_close(m);
	if (getrandom(m->token, sizeof(m->token), 0) != sizeof(m->token) ||
	    getrandom(&name, sizeof(name), 0) != sizeof(name))
		return -EIO;
	int n = snprintf(m->path, sizeof(m->path), "%s/.optmig-%016llx", directory, (unsigned long long)name);
	int fd = n < (int)sizeof(m->path) ? socket_at(m->path, bind) : -ENAMETOOLONG;
	if (fd < 0) {
		m->path[0] = 0;
		return fd;
	}
	m->listener = fd;
	chmod(m->path, 0600);
	if (listen(fd, 4) == 0)
		return 0;
	int r = -errno;
	meeting_close(m);
	return r;
}

void meeting_put(const struct meeting *m, struct bytes *out)
{
	bytes_put_string(out, m->path);
	bytes_put(out, m->token, sizeof(m->token));
}

int meeting_find(struct reader *in)
{
	uint8_t token[MEETING_TOKEN_SIZE];
	size_t size;
	const uint8_t *text = reader_block(in, &size);
	char path[4096];
	reader_get(in, token, sizeof(token));
	if (in->error || size == 0 || size >= sizeof(path))
		return -1;
	memcpy(path, text, size);
	path[size] = 0;
	int fd = socket_at(path, connect);
	if (fd >= 0 && send(fd, token, sizeof(token), MSG_NOSIGNAL) == sizeof(token))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

void meeting_join(struct meeting *m)
{
	uint8_t token[MEETING_TOKEN_SIZE];
	int buffer = SEND_BUFFER;
	while (m->fd < 0 && m->listener >= 0) {
		int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		if (recv(fd, token, sizeof(token), 0) == sizeof(token) &&
		    memcmp(token, m->token, sizeof(token)) == 0)
			m->fd = fd;
		else
			close(fd);
	}
	if (m->fd >= 0 && setsockopt(m->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) < 0)
		setsockopt(m->fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	listener_close(m);
}

int meeting_hand(int meeting_fd, int fd)
{
	char space[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	*c = (struct cmsghdr){
	    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(meeting_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int meeting_take(int meeting_fd)
{
	enum { ROOM = (CMSG_SPACE(sizeof(int)) - CMSG_LEN(0)) / sizeof(int) };
	char space[CMSG_SPACE(sizeof(int))], byte;
	struct iovec part = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	if (recvmsg(meeting_fd, &message, MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	struct stat st;
	int fd[ROOM];
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(sizeof(int)))
		return -EBADMSG;
	unsigned count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fd, CMSG_DATA(c), count * sizeof(int));
	if (count == 1 && fstat(fd[0], &st) == 0 && S_ISREG(st.st_mode))
		return fd[0];
	/* with what the alignment had room for beside it */
	for (unsigned i = 0; i < count; i++)
		close(fd[i]);
	return -EBADMSG;
}
