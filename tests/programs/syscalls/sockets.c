/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets: connections, datagrams, and what travels beside the bytes.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void *echo_once(void *argument)
{
	int listener = *(int *)argument;
	char text[64];
	int fd = accept(listener, NULL, NULL);
	ssize_t n = fd >= 0 ? recv(fd, text, sizeof(text), 0) : -1;

	if (n > 0 && send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
		perror("send");
	close(fd);
	return NULL;
}

static void check_tcp(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	pthread_t thread;
	char text[64];

	CHECK(listener >= 0 && fd >= 0);
	CHECK(!setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	CHECK(!bind(listener, (struct sockaddr *)&address, size) && !listen(listener, 4));
	CHECK(!getsockname(listener, (struct sockaddr *)&address, &size) && address.sin_port);
	CHECK(!pthread_create(&thread, NULL, echo_once, &listener));
	CHECK(!connect(fd, (struct sockaddr *)&address, sizeof(address)));
	CHECK(!setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one)));
	struct iovec vector = {"over tcp", 8};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	CHECK(sendmsg(fd, &message, 0) == 8);
	vector = (struct iovec){text, sizeof(text)};
	CHECK(recvmsg(fd, &message, 0) == 8 && !memcmp(text, "over tcp", 8));
	CHECK(recv(fd, text, sizeof(text), 0) == 0);
	CHECK(!pthread_join(thread, NULL) && !close(fd));
	/* nobody listens any more */
	CHECK(!close(listener) && (fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1 && errno == ECONNREFUSED && !close(fd));
}

static void check_udp(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char text[16];

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size));
	CHECK(!getsockname(fd, (struct sockaddr *)&address, &size));
	CHECK(sendto(fd, "datagram", 8, 0, (struct sockaddr *)&address, size) == 8);
	CHECK(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &size) == 8);
	CHECK(from.sin_port == address.sin_port && !memcmp(text, "datagram", 8) && !close(fd));
}

static void check_socketpair(void)
{
	int ends[2];
	char text[8];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && write(ends[0], "pair", 4) == 4);
	CHECK(read(ends[1], text, 8) == 4 && !shutdown(ends[0], SHUT_WR) && read(ends[1], text, 8) == 0);
	CHECK(!close(ends[0]) && !close(ends[1]));
}

static void check_control_data(void)
{
	int ends[2], line[2], on = 1, got = -1;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(64)];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char text[8];
	_Alignas(struct cmsghdr) char large[2000] = {0};
	struct iovec part = {text, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_SPACE(sizeof(int))};

	/* a descriptor: the number is another, what it stands for the same */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && !pipe(line));
	memcpy(CMSG_DATA(&control.header), &line[1], sizeof(int));
	CHECK(sendmsg(ends[0], &message, 0) == 1 && !close(line[1]));
	memset(&control, 0, sizeof(control));
	message.msg_controllen = sizeof(control);
	CHECK(recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC) == 1 && !(message.msg_flags & MSG_CTRUNC));
	CHECK(message.msg_controllen >= CMSG_LEN(sizeof(int)) && control.header.cmsg_level == SOL_SOCKET &&
	      control.header.cmsg_type == SCM_RIGHTS && control.header.cmsg_len == CMSG_LEN(sizeof(int)));
	memcpy(&got, CMSG_DATA(&control.header), sizeof(int));
	CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC && write(got, "y", 1) == 1 && read(line[0], text, 8) == 1 && text[0] == 'y');
	CHECK(!close(got) && read(line[0], text, 8) == 0 && !close(line[0]));

	/* no room for it: said, not silent */
	memset(&control, 0, sizeof(control));
	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &ends[0], sizeof(int));
	message.msg_controllen = CMSG_SPACE(sizeof(int));
	CHECK(sendmsg(ends[0], &message, 0) == 1);
	message.msg_control = NULL;
	message.msg_controllen = 0;
	CHECK(recvmsg(ends[1], &message, 0) == 1 && message.msg_flags & MSG_CTRUNC);
	message.msg_control = large;
	message.msg_controllen = sizeof(large);
	CHECK(sendmsg(ends[0], &message, 0) == -1);
	CHECK(!close(ends[0]) && !close(ends[1]));

	/* where a packet went to, and when it came */
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool target = false, moment = false;
	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size) && !getsockname(fd, (struct sockaddr *)&address, &size));
	CHECK(!setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) && !setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)));
	CHECK(sendto(fd, "z", 1, 0, (struct sockaddr *)&address, size) == 1);
	message = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = large, .msg_controllen = sizeof(large)};
	CHECK(recvmsg(fd, &message, 0) == 1 && !(message.msg_flags & MSG_CTRUNC));
	for (size_t at = 0; at + sizeof(struct cmsghdr) <= message.msg_controllen;) {
		const struct cmsghdr *c = (const struct cmsghdr *)(large + at);
		at += CMSG_ALIGN(c->cmsg_len);
		struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(c);
		struct timeval *when = (struct timeval *)CMSG_DATA(c);
		target |= c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
			  info->ipi_addr.s_addr == htonl(INADDR_LOOPBACK);
		moment |= c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMP && when->tv_sec >= time(NULL) - 60;
	}
	CHECK(target && moment && !close(fd));
}

static void check_many_messages(void)
{
	int ends[2];
	char text[4][8];
	struct iovec part[4];
	struct mmsghdr message[4] = {0};

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
	for (int i = 0; i < 4; i++) {
		part[i] = (struct iovec){text[i], (size_t)i + 1};
		memset(text[i], 'a' + i, 8);
		message[i].msg_hdr.msg_iov = &part[i];
		message[i].msg_hdr.msg_iovlen = 1;
	}
	CHECK(sendmmsg(ends[0], message, 4, 0) == 4 && message[3].msg_len == 4);
	for (int i = 0; i < 4; i++)
		part[i].iov_len = 8;
	memset(text, 0, sizeof(text));
	CHECK(recvmmsg(ends[1], message, 2, 0, NULL) == 2 && message[1].msg_len == 2 && !memcmp(text[1], "bb", 3));
	CHECK(recvmmsg(ends[1], message, 4, MSG_WAITFORONE, NULL) == 2 && message[1].msg_len == 4 && !memcmp(text[1], "dddd", 5));
	CHECK(recvmmsg(ends[1], message, 4, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN && !close(ends[0]) && !close(ends[1]));
}

static void check_interfaces(void)
{
	char name[IF_NAMESIZE];

	CHECK(if_nametoindex("lo") == 1 && if_indextoname(1, name) && !strcmp(name, "lo"));
	CHECK(!if_indextoname(0x7fffffff, name) && errno == ENXIO);
}

const struct check checks_of_sockets[] = {
	{"tcp", check_tcp},
	{"udp", check_udp},
	{"socketpair", check_socketpair},
	{"control_data", check_control_data},
	{"many_messages", check_many_messages},
	{"interfaces", check_interfaces},
	{0},
};
