/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ocall_request.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARG(n) (1u << (n))
#define MAY_BLOCK 1u

struct call {
	uint8_t fd;    /* ARG() of the arguments that are descriptors */
	uint8_t dirfd; /* those that may be AT_FDCWD as well */
	uint8_t flags;
	long (*handle)(struct request *r); /* NULL: the same call, with host descriptors */
	uint8_t known;
};

/* clang-format off */
#define CALL(...) {.known = 1, __VA_ARGS__}
static const struct call calls[] = {
	/* data */
	[SYS_read]              = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_write]             = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_pread64]           = CALL(.fd = ARG(0)),
	[SYS_pwrite64]          = CALL(.fd = ARG(0)),
	[SYS_readv]             = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_writev]            = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_preadv]            = CALL(.fd = ARG(0)),
	[SYS_pwritev]           = CALL(.fd = ARG(0)),
	[SYS_lseek]             = CALL(.fd = ARG(0)),
	[SYS_sendfile]          = CALL(.fd = ARG(0) | ARG(1), .flags = MAY_BLOCK),
	[SYS_copy_file_range]   = CALL(.fd = ARG(0) | ARG(2)),
	[SYS_splice]            = CALL(.fd = ARG(0) | ARG(2), .flags = MAY_BLOCK),
	[SYS_tee]               = CALL(.fd = ARG(0) | ARG(1), .flags = MAY_BLOCK),

	/* descriptors */
	[SYS_open]              = CALL(.handle = call_open),
	[SYS_memfd_create]      = CALL(.handle = call_memfd),
	[SYS_openat]            = CALL(.dirfd = ARG(0), .handle = call_open),
	[SYS_creat]             = CALL(.handle = call_open),
	[SYS_close]             = CALL(.handle = call_close),
	[SYS_close_range]       = CALL(.handle = call_close_range),
	[SYS_dup]               = CALL(.handle = call_dup),
	[SYS_dup2]              = CALL(.handle = call_dup),
	[SYS_dup3]              = CALL(.handle = call_dup),
	[SYS_fcntl]             = CALL(.fd = ARG(0), .handle = call_fcntl),
	[SYS_ioctl]             = CALL(.fd = ARG(0), .handle = call_ioctl),
	[SYS_pipe]              = CALL(.handle = call_pipe),
	[SYS_pipe2]             = CALL(.handle = call_pipe),
	[SYS_eventfd]           = CALL(.handle = call_eventfd),
	[SYS_eventfd2]          = CALL(.handle = call_eventfd),
	[SYS_signalfd4]         = CALL(.handle = call_signalfd),
	[SYS_timerfd_create]    = CALL(.handle = call_timerfd_create),
	[SYS_timerfd_settime]   = CALL(.fd = ARG(0)),
	[SYS_timerfd_gettime]   = CALL(.fd = ARG(0)),

	/* files */
	[SYS_fstat]             = CALL(.fd = ARG(0)),
	[SYS_stat]              = CALL(),
	[SYS_lstat]             = CALL(),
	[SYS_newfstatat]        = CALL(.dirfd = ARG(0)),
	[SYS_statx]             = CALL(.dirfd = ARG(0)),
	[SYS_statfs]            = CALL(),
	[SYS_fstatfs]           = CALL(.fd = ARG(0)),
	[SYS_access]            = CALL(),
	[SYS_faccessat]         = CALL(.dirfd = ARG(0)),
	[SYS_faccessat2]        = CALL(.dirfd = ARG(0)),
	[SYS_readlink]          = CALL(.handle = call_readlink),
	[SYS_readlinkat]        = CALL(.dirfd = ARG(0), .handle = call_readlink),
	[SYS_getdents64]        = CALL(.fd = ARG(0)),
	[SYS_getcwd]            = CALL(),
	[SYS_chdir]             = CALL(),
	[SYS_fchdir]            = CALL(.fd = ARG(0)),
	[SYS_rename]            = CALL(),
	[SYS_renameat]          = CALL(.dirfd = ARG(0) | ARG(2)),
	[SYS_renameat2]         = CALL(.dirfd = ARG(0) | ARG(2)),
	[SYS_unlink]            = CALL(),
	[SYS_unlinkat]          = CALL(.dirfd = ARG(0)),
	[SYS_mkdir]             = CALL(),
	[SYS_mkdirat]           = CALL(.dirfd = ARG(0)),
	[SYS_mknod]             = CALL(),
	[SYS_mknodat]           = CALL(.dirfd = ARG(0)),
	[SYS_rmdir]             = CALL(),
	[SYS_symlink]           = CALL(),
	[SYS_symlinkat]         = CALL(.dirfd = ARG(1)),
	[SYS_link]              = CALL(),
	[SYS_linkat]            = CALL(.dirfd = ARG(0) | ARG(2)),
	[SYS_chmod]             = CALL(),
	[SYS_fchmod]            = CALL(.fd = ARG(0)),
	[SYS_fchmodat]          = CALL(.dirfd = ARG(0)),
	[SYS_chown]             = CALL(),
	[SYS_lchown]            = CALL(),
	[SYS_fchown]            = CALL(.fd = ARG(0)),
	[SYS_fchownat]          = CALL(.dirfd = ARG(0)),
	[SYS_utimensat]         = CALL(.dirfd = ARG(0)),
	[SYS_truncate]          = CALL(),
	[SYS_ftruncate]         = CALL(.fd = ARG(0)),
	[SYS_fsync]             = CALL(.fd = ARG(0)),
	[SYS_fdatasync]         = CALL(.fd = ARG(0)),
	[SYS_sync]              = CALL(),
	[SYS_syncfs]            = CALL(.fd = ARG(0)),
	[SYS_sync_file_range]   = CALL(.fd = ARG(0)),
	[SYS_fallocate]         = CALL(.fd = ARG(0)),
	[SYS_fadvise64]         = CALL(.fd = ARG(0)),
	[SYS_readahead]         = CALL(.fd = ARG(0)),
	[SYS_flock]             = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_umask]             = CALL(),
	[SYS_getxattr]          = CALL(),
	[SYS_lgetxattr]         = CALL(),
	[SYS_fgetxattr]         = CALL(.fd = ARG(0)),
	[SYS_setxattr]          = CALL(),
	[SYS_lsetxattr]         = CALL(),
	[SYS_fsetxattr]         = CALL(.fd = ARG(0)),
	[SYS_listxattr]         = CALL(),
	[SYS_llistxattr]        = CALL(),
	[SYS_flistxattr]        = CALL(.fd = ARG(0)),
	[SYS_removexattr]       = CALL(),
	[SYS_lremovexattr]      = CALL(),
	[SYS_fremovexattr]      = CALL(.fd = ARG(0)),

	/* waiting */
	[SYS_poll]              = CALL(.handle = call_poll),
	[SYS_ppoll]             = CALL(.handle = call_poll),
	[SYS_epoll_create]      = CALL(.handle = call_epoll_create),
	[SYS_epoll_create1]     = CALL(.handle = call_epoll_create),
	[SYS_epoll_ctl]         = CALL(.fd = ARG(0) | ARG(2), .handle = call_epoll_ctl),
	[SYS_epoll_wait]        = CALL(.fd = ARG(0), .handle = call_epoll_wait),
	[SYS_epoll_pwait]       = CALL(.fd = ARG(0), .handle = call_epoll_wait),
	[SYS_epoll_pwait2]      = CALL(.fd = ARG(0), .handle = call_epoll_wait),

	/* sockets */
	[SYS_socket]            = CALL(.handle = call_socket),
	[SYS_socketpair]        = CALL(.handle = call_socketpair),
	[SYS_bind]              = CALL(.fd = ARG(0)),
	[SYS_listen]            = CALL(.fd = ARG(0)),
	[SYS_accept]            = CALL(.fd = ARG(0), .handle = call_accept),
	[SYS_accept4]           = CALL(.fd = ARG(0), .handle = call_accept),
	[SYS_connect]           = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_getsockname]       = CALL(.fd = ARG(0)),
	[SYS_getpeername]       = CALL(.fd = ARG(0)),
	[SYS_setsockopt]        = CALL(.fd = ARG(0), .handle = call_setsockopt),
	[SYS_getsockopt]        = CALL(.fd = ARG(0)),
	[SYS_shutdown]          = CALL(.fd = ARG(0), .handle = call_shutdown),
	[SYS_sendto]            = CALL(.fd = ARG(0), .handle = call_sendto),
	[SYS_recvfrom]          = CALL(.fd = ARG(0), .flags = MAY_BLOCK),
	[SYS_sendmsg]           = CALL(.fd = ARG(0), .handle = call_message),
	[SYS_recvmsg]           = CALL(.fd = ARG(0), .handle = call_message),

	/* the machine */
	[SYS_uname]             = CALL(),
	[SYS_getrlimit]         = CALL(.handle = call_rlimit),
	[SYS_setrlimit]         = CALL(.handle = call_rlimit),
	[SYS_prlimit64]         = CALL(.handle = call_rlimit),
	[SYS_getrusage]         = CALL(.handle = call_usage),
	[SYS_times]             = CALL(.handle = call_usage),
	[SYS_sysinfo]           = CALL(),
	[SYS_sched_yield]       = CALL(),
	[SYS_sched_getaffinity] = CALL(),
	[SYS_clock_gettime]     = CALL(.handle = call_usage),
	[SYS_clock_getres]      = CALL(),
	[SYS_gettimeofday]      = CALL(),
	[SYS_time]              = CALL(),
	[SYS_getpriority]       = CALL(),
	[SYS_getuid]            = CALL(),
	[SYS_geteuid]           = CALL(),
	[SYS_getgid]            = CALL(),
	[SYS_getegid]           = CALL(),
	[SYS_getresuid]         = CALL(),
	[SYS_getresgid]         = CALL(),
	[SYS_getgroups]         = CALL(),
	[SYS_setuid]            = CALL(.handle = call_credentials),
	[SYS_setgid]            = CALL(.handle = call_credentials),
	[SYS_setreuid]          = CALL(.handle = call_credentials),
	[SYS_setregid]          = CALL(.handle = call_credentials),
	[SYS_setresuid]         = CALL(.handle = call_credentials),
	[SYS_setresgid]         = CALL(.handle = call_credentials),
	[SYS_setgroups]         = CALL(.handle = call_credentials),
};
/* clang-format on */

long request_direct(long nr, long a, long b, long c, long d, long e, long f)
{
	long r = syscall(nr, a, b, c, d, e, f);
	return r < 0 ? -errno : r;
}

long request_blocking(struct request *r, long nr, long a, long b, long c, long d, long e, long f)
{
	return kick_syscall(&r->thread->kicked, nr, a, b, c, d, e, f);
}

static int borrow_arguments(struct request *r, const struct call *call)
{
	for (unsigned i = 0; i < 6; i++) {
		if (!((call->fd | call->dirfd) & ARG(i)))
			continue;
		if ((call->dirfd & ARG(i)) && (int)r->arg[i] == AT_FDCWD)
			continue;
		r->borrowed[i] = fdtable_borrow(r->fds, (int)r->arg[i]);
		if (!r->borrowed[i])
			return -EBADF;
		r->arg[i] = r->borrowed[i]->host_fd;
	}
	return 0;
}

static void return_arguments(struct request *r)
{
	for (unsigned i = 0; i < 6; i++)
		if (r->borrowed[i])
			fdtable_return(r->fds, r->borrowed[i]);
}

static long serve(struct request *r)
{
	static const size_t call_count = sizeof(calls) / sizeof(calls[0]);
	if (r->nr < 0 || (size_t)r->nr >= call_count || !calls[r->nr].known)
		return -ENOSYS;
	const struct call *call = &calls[r->nr];
	long result = borrow_arguments(r, call);
	if (!result) {
		const long *a = r->arg;
		if (call->handle)
			result = call->handle(r);
		else if (call->flags & MAY_BLOCK)
			result = request_blocking(r, r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		else
			result = request_direct(r->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
	return_arguments(r);
	return result;
}

void ocall_syscall(struct host_thread *t, struct fdtable *fds)
{
	struct call_area *area = t->area;
	struct request r = {.thread = t, .fds = fds, .nr = (long)area->nr};
	for (unsigned i = 0; i < 6; i++)
		r.arg[i] = (long)area->arg[i];
	long result = serve(&r);
	area->interrupted = 0;
	/* Nothing else interrupts these threads. The flag may be gone: a kick whose signal comes late has cut the call
	 * before short by it. */
	if (result == -EINTR) {
		t->kicked = 0;
		area->interrupted = 1;
	}
	area->result = result;
}
