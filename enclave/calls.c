/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls the host answers. One table says what each argument is; one function
 * lays arguments out in the call area, goes out, and copies results back in.
 * What comes back is bounded by what was asked for, whatever the host says.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "enclave/calls.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/thread.h"

enum kind {
	VALUE = 0,
	PATH,      /* in: a string */
	IN,        /* in: size bytes, may be NULL */
	OUT,       /* out: size bytes, may be NULL */
	INOUT,     /* both */
	IN_LEN,    /* in: as many bytes as argument `size` says */
	OUT_LEN,   /* out: likewise */
	OUT_RC,    /* out: likewise, but only `result` bytes are meant */
	SOCKADDR,  /* out: with its socklen_t at argument `size` */
	SOCKLEN,   /* in and out: handled together with its SOCKADDR */
};
struct argument {
	uint8_t kind;
	uint16_t size;
};
struct call {
	struct argument arg[6];
	uint8_t known;
	uint8_t pipe; /* EPIPE raises SIGPIPE */
};

#define CALL(...) {.known = 1, .arg = {__VA_ARGS__}}
#define PIPE(...) {.known = 1, .pipe = 1, .arg = {__VA_ARGS__}}
#define V {VALUE, 0}
#define P {PATH, 0}

/* clang-format off */
static const struct call table[] = {
	[SYS_read]          = CALL(V, {OUT_RC, 2}, V),
	[SYS_write]         = PIPE(V, {IN_LEN, 2}, V),
	[SYS_pread64]       = CALL(V, {OUT_RC, 2}, V, V),
	[SYS_pwrite64]      = CALL(V, {IN_LEN, 2}, V, V),
	[SYS_lseek]         = CALL(V, V, V),
	[SYS_sendfile]      = CALL(V, V, {INOUT, 8}, V),
	[SYS_copy_file_range] = CALL(V, {INOUT, 8}, V, {INOUT, 8}, V, V),
	[SYS_open]          = CALL(P, V, V),
	[SYS_openat]        = CALL(V, P, V, V),
	[SYS_creat]         = CALL(P, V),
	[SYS_close]         = CALL(V),
	[SYS_close_range]   = CALL(V, V, V),
	[SYS_dup]           = CALL(V),
	[SYS_dup2]          = CALL(V, V),
	[SYS_dup3]          = CALL(V, V, V),
	[SYS_pipe]          = CALL({OUT, 8}),
	[SYS_pipe2]         = CALL({OUT, 8}, V),
	[SYS_eventfd]       = CALL(V),
	[SYS_eventfd2]      = CALL(V, V),
	[SYS_timerfd_create] = CALL(V, V),
	[SYS_timerfd_settime] = CALL(V, V, {IN, 32}, {OUT, 32}),
	[SYS_timerfd_gettime] = CALL(V, {OUT, 32}),
	[SYS_fstat]         = CALL(V, {OUT, 144}),
	[SYS_stat]          = CALL(P, {OUT, 144}),
	[SYS_lstat]         = CALL(P, {OUT, 144}),
	[SYS_newfstatat]    = CALL(V, P, {OUT, 144}, V),
	[SYS_statx]         = CALL(V, P, V, V, {OUT, 256}),
	[SYS_statfs]        = CALL(P, {OUT, 120}),
	[SYS_fstatfs]       = CALL(V, {OUT, 120}),
	[SYS_access]        = CALL(P, V),
	[SYS_faccessat]     = CALL(V, P, V),
	[SYS_faccessat2]    = CALL(V, P, V, V),
	[SYS_readlink]      = CALL(P, {OUT_RC, 2}, V),
	[SYS_readlinkat]    = CALL(V, P, {OUT_RC, 3}, V),
	[SYS_getdents64]    = CALL(V, {OUT_RC, 2}, V),
	[SYS_getcwd]        = CALL({OUT_RC, 1}, V),
	[SYS_chdir]         = CALL(P),
	[SYS_fchdir]        = CALL(V),
	[SYS_rename]        = CALL(P, P),
	[SYS_renameat]      = CALL(V, P, V, P),
	[SYS_renameat2]     = CALL(V, P, V, P, V),
	[SYS_unlink]        = CALL(P),
	[SYS_unlinkat]      = CALL(V, P, V),
	[SYS_mkdir]         = CALL(P, V),
	[SYS_mkdirat]       = CALL(V, P, V),
	[SYS_rmdir]         = CALL(P),
	[SYS_symlink]       = CALL(P, P),
	[SYS_symlinkat]     = CALL(P, V, P),
	[SYS_link]          = CALL(P, P),
	[SYS_linkat]        = CALL(V, P, V, P, V),
	[SYS_chmod]         = CALL(P, V),
	[SYS_fchmod]        = CALL(V, V),
	[SYS_fchmodat]      = CALL(V, P, V),
	[SYS_chown]         = CALL(P, V, V),
	[SYS_lchown]        = CALL(P, V, V),
	[SYS_fchown]        = CALL(V, V, V),
	[SYS_fchownat]      = CALL(V, P, V, V, V),
	[SYS_utimensat]     = CALL(V, P, {IN, 32}, V),
	[SYS_truncate]      = CALL(P, V),
	[SYS_ftruncate]     = CALL(V, V),
	[SYS_fsync]         = CALL(V),
	[SYS_fdatasync]     = CALL(V),
	[SYS_sync]          = CALL(V),
	[SYS_syncfs]        = CALL(V),
	[SYS_sync_file_range] = CALL(V, V, V, V),
	[SYS_fallocate]     = CALL(V, V, V, V),
	[SYS_fadvise64]     = CALL(V, V, V, V),
	[SYS_flock]         = CALL(V, V),
	[SYS_umask]         = CALL(V),
	[SYS_epoll_create]  = CALL(V),
	[SYS_epoll_create1] = CALL(V),
	[SYS_epoll_ctl]     = CALL(V, V, V, {IN, 12}),
	[SYS_socket]        = CALL(V, V, V),
	[SYS_socketpair]    = CALL(V, V, V, {OUT, 8}),
	[SYS_bind]          = CALL(V, {IN_LEN, 2}, V),
	[SYS_listen]        = CALL(V, V),
	[SYS_accept]        = CALL(V, {SOCKADDR, 2}, {SOCKLEN, 0}),
	[SYS_accept4]       = CALL(V, {SOCKADDR, 2}, {SOCKLEN, 0}, V),
	[SYS_connect]       = CALL(V, {IN_LEN, 2}, V),
	[SYS_getsockname]   = CALL(V, {SOCKADDR, 2}, {SOCKLEN, 0}),
	[SYS_getpeername]   = CALL(V, {SOCKADDR, 2}, {SOCKLEN, 0}),
	[SYS_setsockopt]    = CALL(V, V, V, {IN_LEN, 4}, V),
	[SYS_getsockopt]    = CALL(V, V, V, {SOCKADDR, 4}, {SOCKLEN, 0}),
	[SYS_shutdown]      = CALL(V, V),
	[SYS_sendto]        = PIPE(V, {IN_LEN, 2}, V, V, {IN_LEN, 5}, V),
	[SYS_recvfrom]      = CALL(V, {OUT_RC, 2}, V, V, {SOCKADDR, 5}, {SOCKLEN, 0}),
	[SYS_uname]         = CALL({OUT, 390}),
	[SYS_getrlimit]     = CALL(V, {OUT, 16}),
	[SYS_setrlimit]     = CALL(V, {IN, 16}),
	[SYS_prlimit64]     = CALL(V, V, {IN, 16}, {OUT, 16}),
	[SYS_getrusage]     = CALL(V, {OUT, 144}),
	[SYS_times]         = CALL({OUT, 32}),
	[SYS_sysinfo]       = CALL({OUT, 112}),
	[SYS_clock_gettime] = CALL(V, {OUT, 16}),
	[SYS_clock_getres]  = CALL(V, {OUT, 16}),
	[SYS_sched_getaffinity] = CALL(V, V, {OUT_RC, 1}),
	[SYS_getpriority]   = CALL(V, V),
	[SYS_getuid]        = CALL(V),
	[SYS_geteuid]       = CALL(V),
	[SYS_getgid]        = CALL(V),
	[SYS_getegid]       = CALL(V),
};
/* clang-format on */

int64_t call_out(struct thread *t, uint64_t nr, const uint64_t arg[6])
{
	for (;;) {
		bool interrupted;
		int64_t rc = ocall(t, OCALL_SYSCALL, nr, arg, &interrupted);
		if (!interrupted)
			return rc;
		if (call_must_park())
			call_park_again(t);
		if (call_must_signal(t)) {
			t->restartable = true;
			return -EINTR;
		}
	}
}

static uint64_t length_of(const uint64_t arg[6], unsigned index)
{
	return arg[index];
}

static int64_t lay_out(struct marshal *m, const struct call *c, const uint64_t in[6], uint64_t out[6])
{
	for (int i = 0; i < 6; i++) {
		uint64_t a = in[i], size = c->arg[i].size;
		switch (c->arg[i].kind) {
		case VALUE:
			break;
		case PATH: {
			int64_t rc = marshal_path(m, a, &out[i]);
			if (rc < 0)
				return rc;
			break;
		}
		case IN:
		case OUT:
		case INOUT:
			if (!a)
				break;
			if (!mm_app_range(a, size))
				return -EFAULT;
			out[i] = marshal_room(m, size);
			if (c->arg[i].kind != OUT)
				host_copy_out(out[i], (void *)a, size);
			break;
		case IN_LEN:
		case OUT_LEN:
		case OUT_RC: {
			uint64_t want = length_of(in, (unsigned)size);
			if (!a) {
				break;
			}
			uint64_t n = want < marshal_left(m) ? want : marshal_left(m);
			if (!mm_app_range(a, n))
				return -EFAULT;
			out[i] = marshal_room(m, n);
			out[size] = n;
			if (c->arg[i].kind == IN_LEN)
				host_copy_out(out[i], (void *)a, n);
			break;
		}
		case SOCKADDR: {
			uint32_t n = 0;
			uint64_t len_at = in[size];
			out[i] = out[size] = 0;
			if (!a || !len_at)
				break;
			if (!mm_app_range(len_at, 4))
				return -EFAULT;
			memcpy(&n, (void *)len_at, 4);
			if (n > 4096)
				n = 4096;
			if (!mm_app_range(a, n))
				return -EFAULT;
			out[i] = marshal_room(m, n);
			out[size] = marshal_room(m, 4);
			host_copy_out(out[size], &n, 4);
			/* getsockopt reads its buffer for some options */
			host_copy_out(out[i], (void *)a, n);
			break;
		}
		case SOCKLEN:
			break;
		}
	}
	return 0;
}

static void take_back(const struct call *c, const uint64_t in[6], const uint64_t out[6], int64_t rc)
{
	for (int i = 0; i < 6; i++) {
		uint64_t size = c->arg[i].size;
		if (!in[i])
			continue;
		switch (c->arg[i].kind) {
		case OUT:
		case INOUT:
			app_write(in[i], out[i], size);
			break;
		case OUT_LEN:
			app_write(in[i], out[i], out[size]);
			break;
		case OUT_RC:
			app_write(in[i], out[i], (uint64_t)rc < out[size] ? (uint64_t)rc : out[size]);
			break;
		case SOCKADDR: {
			if (!out[i])
				break;
			uint32_t room, n;
			memcpy(&room, (void *)in[size], 4);
			host_copy_in(&n, out[size], 4);
			app_write(in[i], out[i], n < room ? n : room);
			memcpy((void *)in[size], &n, 4);
			marks_set(in[size], 4);
			break;
		}
		default:
			break;
		}
	}
}

int64_t calls_host(struct thread *t, uint64_t nr, const uint64_t arg[6])
{
	if (nr >= sizeof table / sizeof table[0] || !table[nr].known)
		return CALL_UNKNOWN;
	const struct call *c = &table[nr];
	struct marshal m = marshal_begin(t);
	uint64_t out[6];
	memcpy(out, arg, sizeof out);
	int64_t rc = lay_out(&m, c, arg, out);
	if (rc < 0)
		return rc;
	rc = call_out(t, nr, out);
	if (rc >= 0)
		take_back(c, arg, out, rc);
	else if (rc == -EPIPE && c->pipe && !(nr == SYS_sendto && arg[3] & MSG_NOSIGNAL))
		signal_sigpipe(t);
	if (rc < -4095)
		rc = -EIO; /* no errno: the host made it up */
	return rc;
}
