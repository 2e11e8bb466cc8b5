/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ocall_request.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/net/sockopts.h"

long call_socket(struct request *r)
{
	int fd = socket((int)r->arg[0], (int)r->arg[1] | SOCK_CLOEXEC, (int)r->arg[2]);
	return fd < 0 ? -errno : fdtable_add(r->fds, fd, FILE_SOCKET, r->arg[1] & SOCK_CLOEXEC);
}

long call_socketpair(struct request *r)
{
	int host_fd[2], fd[2];
	if (socketpair((int)r->arg[0], (int)r->arg[1] | SOCK_CLOEXEC, (int)r->arg[2], host_fd) < 0)
		return -errno;
	int error = fdtable_add_pair(r->fds, host_fd, FILE_SOCKETPAIR, r->arg[1] & SOCK_CLOEXEC, fd);
	if (!error)
		memcpy((void *)r->arg[3], fd, sizeof(fd));
	return error;
}

/* A connection that was accepted before the move, with the flags this accept asks for. */
static long accept_pending(struct request *r, struct file *listener, int flags)
{
	int fd = fdtable_pending_take(r->fds, listener);
	if (fd < 0)
		return fd;
	if (flags & SOCK_NONBLOCK)
		fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	if (r->arg[1])
		getpeername(fd, (struct sockaddr *)r->arg[1], (socklen_t *)r->arg[2]);
	return fd;
}

long call_accept(struct request *r)
{
	int flags = r->nr == SYS_accept4 ? (int)r->arg[3] : 0;
	int room = fdtable_room(r->fds);
	if (room < 0)
		return room;
	long fd = accept_pending(r, r->borrowed[0]->file, flags);
	if (fd < 0)
		fd = request_blocking(r, SYS_accept4, r->arg[0], r->arg[1], r->arg[2], flags | SOCK_CLOEXEC,
				      0, 0);
	if (fd < 0)
		return fd;
	struct file *f = fdtable_file(FILE_SOCKET);
	if (f)
		f->options = r->borrowed[0]->file->options; /* accepted sockets inherit them */
	return fdtable_add_file(r->fds, (int)fd, f, flags & SOCK_CLOEXEC);
}

/* They ask for control data that enclave/ancillary.c does not know, or that name this host's processes. */
static bool asks_for_unknown(const long *a)
{
	static const struct {
		int level, name;
	} refused[] = {{SOL_SOCKET, SO_PASSCRED},   {SOL_SOCKET, SO_PASSSEC},	 {SOL_SOCKET, 76 /* SO_PASSPIDFD */},
		       {SOL_SOCKET, SO_RXQ_OVFL},   {SOL_SOCKET, SO_TIMESTAMPING}, {SOL_SOCKET, SO_WIFI_STATUS},
		       {SOL_SOCKET, 75 /* SO_RCVMARK */}, {IPPROTO_IP, IP_RECVOPTS},	 {IPPROTO_IP, IP_RETOPTS},
		       {IPPROTO_IP, IP_PASSSEC},	   {IPPROTO_IP, IP_RECVORIGDSTADDR}, {IPPROTO_IP, IP_CHECKSUM},
		       {IPPROTO_IPV6, IPV6_RECVRTHDR},	   {IPPROTO_IPV6, IPV6_RECVHOPOPTS}, {IPPROTO_IPV6, IPV6_RECVDSTOPTS},
		       {IPPROTO_IPV6, 74 /* IPV6_RECVORIGDSTADDR */}, {IPPROTO_UDP, 104 /* UDP_GRO */},
		       {IPPROTO_TCP, 36 /* TCP_INQ */}};
	int on = 0;
	if (a[4] >= (long)sizeof(on))
		memcpy(&on, (const void *)a[3], sizeof(on));
	for (unsigned i = 0; on && i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i].level == (int)a[1] && refused[i].name == (int)a[2])
			return true;
	return false;
}

/* They give the kernel keys of a connection, which it tells nobody: moved, it would speak in the clear, or unsigned. */
static bool gives_keys(int level, int name)
{
	static const int refused[] = {TCP_ULP, TCP_MD5SIG, TCP_MD5SIG_EXT, 38 /* TCP_AO_ADD_KEY */,
				      40 /* TCP_AO_INFO */, 42 /* TCP_AO_REPAIR */};
	for (unsigned i = 0; level == IPPROTO_TCP && i < sizeof(refused) / sizeof(refused[0]); i++)
		if (refused[i] == name)
			return true;
	return false;
}

long call_setsockopt(struct request *r)
{
	const long *a = r->arg;
	if (asks_for_unknown(a) || gives_keys((int)a[1], (int)a[2]))
		return -ENOPROTOOPT;
	long result = request_direct(SYS_setsockopt, a[0], a[1], a[2], a[3], a[4], 0);
	if (result == 0) {
		struct file *f = r->borrowed[0]->file;
		atomic_fetch_or(&f->options, sockopts_bit((int)a[1], (int)a[2]));
		atomic_store(&f->touched, true);
	}
	return result;
}

long call_shutdown(struct request *r)
{
	int how = (int)r->arg[1];
	if (shutdown((int)r->arg[0], how) < 0)
		return -errno;
	/* The kernel does not tell this of a socketpair, and it moves by what we know. */
	struct file *f = r->borrowed[0]->file;
	if (how == SHUT_RD || how == SHUT_RDWR)
		f->shut |= 1u << SHUT_RD;
	if (how == SHUT_WR || how == SHUT_RDWR)
		f->shut |= 1u << SHUT_WR;
	return 0;
}

static void note_urgent(struct request *r, long result, long flags)
{
	if (result > 0 && (flags & MSG_OOB))
		atomic_store(&r->borrowed[0]->file->urgent, true);
}

long call_sendto(struct request *r)
{
	const long *a = r->arg;
	long result = request_blocking(r, SYS_sendto, a[0], a[1], a[2], a[3], a[4], a[5]);
	note_urgent(r, result, a[3]);
	return result;
}

long call_message(struct request *r)
{
	struct msghdr *m = (struct msghdr *)r->arg[1];
	if (r->nr == SYS_sendmsg) {
		struct rights held;
		long sent = rights_out(r, m, &held);
		if (!sent)
			sent = request_blocking(r, SYS_sendmsg, r->arg[0], (long)&held.message, r->arg[2], 0, 0, 0);
		rights_back(r, &held);
		note_urgent(r, sent, r->arg[2]);
		return sent;
	}
	long size =
	    request_blocking(r, SYS_recvmsg, r->arg[0], r->arg[1], r->arg[2] | MSG_CMSG_CLOEXEC, 0, 0, 0);
	if (size >= 0)
		rights_in(r, m, r->arg[2] & MSG_CMSG_CLOEXEC);
	return size;
}
