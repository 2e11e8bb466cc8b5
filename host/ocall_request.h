/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the table of system calls (ocall.c) and the calls that need more than
 * a translated descriptor (ocall_*.c).
 */
#ifndef HOST_OCALL_REQUEST_H
#define HOST_OCALL_REQUEST_H

#include <sys/socket.h>
#include "host/fdtable.h"
#include "host/ocall.h"

struct request {
	struct host_thread *thread;
	struct fdtable *fds;
	long nr;
	/* As the program gave them, except that descriptors named in the table are host descriptors. */
	long arg[6];
	struct descriptor *borrowed[6]; /* by argument; NULL where no descriptor is */
};

/* The system call nr(arg...). May be cut short by a kick: -EINTR without effect. */
long request_blocking(struct request *r, long nr, long a, long b, long c, long d, long e, long f);
/* The same, for calls that do not wait. */
long request_direct(long nr, long a, long b, long c, long d, long e, long f);

/* ocall_files.c */
long call_open(struct request *r);
long call_readlink(struct request *r);
long call_memfd(struct request *r);
long call_close(struct request *r);
long call_close_range(struct request *r);
long call_dup(struct request *r);
long call_fcntl(struct request *r);
long call_ioctl(struct request *r);
long call_pipe(struct request *r);
long call_eventfd(struct request *r);
long call_signalfd(struct request *r);
long call_timerfd_create(struct request *r);

/* ocall_sockets.c */
long call_socket(struct request *r);
long call_socketpair(struct request *r);
long call_accept(struct request *r);
long call_setsockopt(struct request *r);
long call_shutdown(struct request *r);
long call_sendto(struct request *r);
long call_message(struct request *r);

/* ocall_rights.c */
#define RIGHTS_MAX 253
struct rights { /* sent: not closed before the call is over */
	struct descriptor *descriptor[RIGHTS_MAX];
	unsigned count;
	struct msghdr message;
	_Alignas(16) uint8_t control[2048];
};
/* held->message: with host descriptors for the program's. The program's own stays: the call may be made again. Whatever
 * it returns, rights_back() after the call. */
int rights_out(struct request *r, const struct msghdr *m, struct rights *held);
void rights_back(struct request *r, struct rights *held);
/* The program's for what came in. */
void rights_in(struct request *r, struct msghdr *m, bool cloexec);

/* ocall_wait.c */
long call_poll(struct request *r);
long call_epoll_create(struct request *r);
long call_epoll_ctl(struct request *r);
long call_epoll_wait(struct request *r);

/* ocall_limits.c */
long call_rlimit(struct request *r);

/* ocall_usage.c */
long call_usage(struct request *r);

/* ocall_credentials.c */
long call_credentials(struct request *r);

#endif
