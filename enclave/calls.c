/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls the host answers. One table says what each argument is; one function
 * lays arguments out in the call area, goes out, and copies results back in.
 * What comes back is bounded by what was asked for, whatever the host says.
 */
#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
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
	IN_LEN,    /* in: as many bytes as argument `size` says, or what fits */
	IN_XATTR,  /* in: likewise, of an attribute */
	IN_WHOLE,  /* in: as many bytes as argument `size` says: all, for half an option is another one */
	IN_ADDRESS, /* in: likewise, of a socket's address what is one */
	OUT_RC,    /* out: as many bytes as `result` says, up to argument `size` */
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
	uint8_t result;
};

/* What a result can be: a program that is told of more bytes than it has room for writes past its buffer. */
enum result {
	ZERO,
	FD,
	NUMBER,
	AT_MOST, /* + number of the argument that bounds it */
};
#define BYTES(argument) (AT_MOST + (argument))
#define WHOLE_MAX 4096u
#define ADDRESS_MAX 128u /* struct sockaddr_storage */

#define CALL(r, ...) {.known = 1, .result = (r), .arg = {__VA_ARGS__}}
#define PIPE(r, ...) {.known = 1, .pipe = 1, .result = (r), .arg = {__VA_ARGS__}}
#define V {VALUE, 0}
#define P {PATH, 0}

/* clang-format off */
static const struct call table[] = {
	[SYS_read]          = CALL(BYTES(2), V, {OUT_RC, 2}, V),
	[SYS_write]         = PIPE(BYTES(2), V, {IN_LEN, 2}, V),
	[SYS_pread64]       = CALL(BYTES(2), V, {OUT_RC, 2}, V, V),
	[SYS_pwrite64]      = CALL(BYTES(2), V, {IN_LEN, 2}, V, V),
	[SYS_lseek]         = CALL(NUMBER, V, V, V),
	[SYS_sendfile]      = CALL(BYTES(3), V, V, {INOUT, 8}, V),
	[SYS_copy_file_range] = CALL(BYTES(4), V, {INOUT, 8}, V, {INOUT, 8}, V, V),
	[SYS_open]          = CALL(FD, P, V, V),
	[SYS_openat]        = CALL(FD, V, P, V, V),
	[SYS_splice]        = CALL(BYTES(4), V, {INOUT, 8}, V, {INOUT, 8}, V, V),
	[SYS_tee]           = CALL(BYTES(2), V, V, V, V),
	[SYS_readahead]     = CALL(ZERO, V, V, V),
	[SYS_getxattr]      = CALL(BYTES(3), P, P, {OUT_RC, 3}, V),
	[SYS_lgetxattr]     = CALL(BYTES(3), P, P, {OUT_RC, 3}, V),
	[SYS_fgetxattr]     = CALL(BYTES(3), V, P, {OUT_RC, 3}, V),
	[SYS_setxattr]      = CALL(ZERO, P, P, {IN_XATTR, 3}, V, V),
	[SYS_lsetxattr]     = CALL(ZERO, P, P, {IN_XATTR, 3}, V, V),
	[SYS_fsetxattr]     = CALL(ZERO, V, P, {IN_XATTR, 3}, V, V),
	[SYS_listxattr]     = CALL(BYTES(2), P, {OUT_RC, 2}, V),
	[SYS_llistxattr]    = CALL(BYTES(2), P, {OUT_RC, 2}, V),
	[SYS_flistxattr]    = CALL(BYTES(2), V, {OUT_RC, 2}, V),
	[SYS_removexattr]   = CALL(ZERO, P, P),
	[SYS_lremovexattr]  = CALL(ZERO, P, P),
	[SYS_fremovexattr]  = CALL(ZERO, V, P),
	[SYS_memfd_create]  = CALL(FD, P, V),
	[SYS_creat]         = CALL(FD, P, V),
	[SYS_close]         = CALL(ZERO, V),
	[SYS_close_range]   = CALL(ZERO, V, V, V),
	[SYS_dup]           = CALL(FD, V),
	[SYS_dup2]          = CALL(FD, V, V),
	[SYS_dup3]          = CALL(FD, V, V, V),
	[SYS_pipe]          = CALL(ZERO, {OUT, 8}),
	[SYS_pipe2]         = CALL(ZERO, {OUT, 8}, V),
	[SYS_eventfd]       = CALL(FD, V),
	[SYS_eventfd2]      = CALL(FD, V, V),
	[SYS_timerfd_create] = CALL(FD, V, V),
	[SYS_timerfd_settime] = CALL(ZERO, V, V, {IN, 32}, {OUT, 32}),
	[SYS_timerfd_gettime] = CALL(ZERO, V, {OUT, 32}),
	[SYS_fstat]         = CALL(ZERO, V, {OUT, 144}),
	[SYS_stat]          = CALL(ZERO, P, {OUT, 144}),
	[SYS_lstat]         = CALL(ZERO, P, {OUT, 144}),
	[SYS_newfstatat]    = CALL(ZERO, V, P, {OUT, 144}, V),
	[SYS_statx]         = CALL(ZERO, V, P, V, V, {OUT, 256}),
	[SYS_statfs]        = CALL(ZERO, P, {OUT, 120}),
	[SYS_fstatfs]       = CALL(ZERO, V, {OUT, 120}),
	[SYS_access]        = CALL(ZERO, P, V),
	[SYS_faccessat]     = CALL(ZERO, V, P, V),
	[SYS_faccessat2]    = CALL(ZERO, V, P, V, V),
	[SYS_readlink]      = CALL(BYTES(2), P, {OUT_RC, 2}, V),
	[SYS_readlinkat]    = CALL(BYTES(3), V, P, {OUT_RC, 3}, V),
	[SYS_getdents64]    = CALL(BYTES(2), V, {OUT_RC, 2}, V),
	[SYS_getcwd]        = CALL(BYTES(1), {OUT_RC, 1}, V),
	[SYS_chdir]         = CALL(ZERO, P),
	[SYS_fchdir]        = CALL(ZERO, V),
	[SYS_rename]        = CALL(ZERO, P, P),
	[SYS_renameat]      = CALL(ZERO, V, P, V, P),
	[SYS_renameat2]     = CALL(ZERO, V, P, V, P, V),
	[SYS_unlink]        = CALL(ZERO, P),
	[SYS_unlinkat]      = CALL(ZERO, V, P, V),
	[SYS_mkdir]         = CALL(ZERO, P, V),
	[SYS_mkdirat]       = CALL(ZERO, V, P, V),
	[SYS_mknod]         = CALL(ZERO, P, V, V),
	[SYS_mknodat]       = CALL(ZERO, V, P, V, V),
	[SYS_rmdir]         = CALL(ZERO, P),
	[SYS_symlink]       = CALL(ZERO, P, P),
	[SYS_symlinkat]     = CALL(ZERO, P, V, P),
	[SYS_link]          = CALL(ZERO, P, P),
	[SYS_linkat]        = CALL(ZERO, V, P, V, P, V),
	[SYS_chmod]         = CALL(ZERO, P, V),
	[SYS_fchmod]        = CALL(ZERO, V, V),
	[SYS_fchmodat]      = CALL(ZERO, V, P, V),
	[SYS_chown]         = CALL(ZERO, P, V, V),
	[SYS_lchown]        = CALL(ZERO, P, V, V),
	[SYS_fchown]        = CALL(ZERO, V, V, V),
	[SYS_fchownat]      = CALL(ZERO, V, P, V, V, V),
	[SYS_utimensat]     = CALL(ZERO, V, P, {IN, 32}, V),
	[SYS_truncate]      = CALL(ZERO, P, V),
	[SYS_ftruncate]     = CALL(ZERO, V, V),
	[SYS_fsync]         = CALL(ZERO, V),
	[SYS_fdatasync]     = CALL(ZERO, V),
	[SYS_sync]          = CALL(ZERO, V),
	[SYS_syncfs]        = CALL(ZERO, V),
	[SYS_sync_file_range] = CALL(ZERO, V, V, V, V),
	[SYS_fallocate]     = CALL(ZERO, V, V, V, V),
	[SYS_fadvise64]     = CALL(ZERO, V, V, V, V),
	[SYS_flock]         = CALL(ZERO, V, V),
	[SYS_umask]         = CALL(NUMBER, V),
	[SYS_epoll_create]  = CALL(FD, V),
	[SYS_epoll_create1] = CALL(FD, V),
	[SYS_socket]        = CALL(FD, V, V, V),
	[SYS_socketpair]    = CALL(ZERO, V, V, V, {OUT, 8}),
	[SYS_bind]          = CALL(ZERO, V, {IN_ADDRESS, 2}, V),
	[SYS_listen]        = CALL(ZERO, V, V),
	[SYS_accept]        = CALL(FD, V, {SOCKADDR, 2}, {SOCKLEN, 0}),
	[SYS_accept4]       = CALL(FD, V, {SOCKADDR, 2}, {SOCKLEN, 0}, V),
	[SYS_connect]       = CALL(ZERO, V, {IN_ADDRESS, 2}, V),
	[SYS_getsockname]   = CALL(ZERO, V, {SOCKADDR, 2}, {SOCKLEN, 0}),
	[SYS_getpeername]   = CALL(ZERO, V, {SOCKADDR, 2}, {SOCKLEN, 0}),
	[SYS_setsockopt]    = CALL(ZERO, V, V, V, {IN_WHOLE, 4}, V),
	[SYS_getsockopt]    = CALL(ZERO, V, V, V, {SOCKADDR, 4}, {SOCKLEN, 0}),
	[SYS_shutdown]      = CALL(ZERO, V, V),
	[SYS_sendto]        = PIPE(BYTES(2), V, {IN_LEN, 2}, V, V, {IN_ADDRESS, 5}, V),
	[SYS_recvfrom]      = CALL(BYTES(2), V, {OUT_RC, 2}, V, V, {SOCKADDR, 5}, {SOCKLEN, 0}),
	[SYS_uname]         = CALL(ZERO, {OUT, 390}),
	[SYS_getrusage]     = CALL(ZERO, V, {OUT, 144}),
	[SYS_times]         = CALL(NUMBER, {OUT, 32}),
	[SYS_sysinfo]       = CALL(ZERO, {OUT, 112}),
	[SYS_clock_gettime] = CALL(ZERO, V, {OUT, 16}),
	[SYS_clock_getres]  = CALL(ZERO, V, {OUT, 16}),
	[SYS_sched_getaffinity] = CALL(BYTES(1), V, V, {OUT_RC, 1}),
	[SYS_getpriority]   = CALL(NUMBER, V, V),
	[SYS_getuid]        = CALL(NUMBER, V),
	[SYS_geteuid]       = CALL(NUMBER, V),
	[SYS_getgid]        = CALL(NUMBER, V),
	[SYS_getegid]       = CALL(NUMBER, V),
	[SYS_getresuid]     = CALL(ZERO, {OUT, 4}, {OUT, 4}, {OUT, 4}),
	[SYS_getresgid]     = CALL(ZERO, {OUT, 4}, {OUT, 4}, {OUT, 4}),
	[SYS_setuid]        = CALL(ZERO, V),
	[SYS_setgid]        = CALL(ZERO, V),
	[SYS_setreuid]      = CALL(ZERO, V, V),
	[SYS_setregid]      = CALL(ZERO, V, V),
	[SYS_setresuid]     = CALL(ZERO, V, V, V),
	[SYS_setresgid]     = CALL(ZERO, V, V, V),
	[SYS_setgroups]     = CALL(ZERO, V, V),
};
/* clang-format on */

/* ---- time-outs of sockets: what remains of one counts when the call is made again ---- */

static short socket_wait(uint64_t nr)
{
	switch (nr) {
	case SYS_read:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_accept:
	case SYS_accept4:
		return POLLIN;
	case SYS_write:
	case SYS_sendto:
	case SYS_sendmsg:
		return POLLOUT;
	default:
		return 0;
	}
}

/* Behind everything that a call may have laid out: it is to be made again. */
#define LAST_BYTES 64u

static uint64_t socket_deadline(struct thread *t, uint64_t fd, short events, uint64_t began_ns)
{
	uint64_t at = area_data(t) + CALL_DATA_SIZE - LAST_BYTES, size_at = at + 16;
	uint64_t limit[2] = {0, 0};
	uint32_t size = sizeof limit;
	host_copy_out(size_at, &size, sizeof size);
	int64_t rc = ocall(t, OCALL_SYSCALL, SYS_getsockopt,
			   (const uint64_t[6]){fd, SOL_SOCKET, events == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO, at, size_at}, NULL);
	if (rc == 0)
		host_copy_in(limit, at, sizeof limit);
	uint64_t us = limit[0] < 1ull << 30 && limit[1] < 1000000 ? limit[0] * 1000000 + limit[1] : 0;
	return us ? began_ns + us * 1000 : ~0ull;
}

/* Before it is made again: false once its time is over. *interrupted: look at what for, first. */
static bool socket_ready(struct thread *t, uint64_t fd, short events, bool *interrupted)
{
	if (t->ctx.deadline_ns == ~0ull)
		return true;
	uint64_t at = area_data(t) + CALL_DATA_SIZE - LAST_BYTES, now = clock_mono_ns();
	uint64_t left_ms = t->ctx.deadline_ns > now ? (t->ctx.deadline_ns - now + 999999) / 1000000 : 0;
	struct pollfd p = {.fd = (int)fd, .events = events};
	host_copy_out(at, &p, sizeof p);
	int64_t rc = ocall(t, OCALL_SYSCALL, SYS_poll, (const uint64_t[6]){at, 1, left_ms}, interrupted);
	return rc != 0 || *interrupted || clock_mono_ns() < t->ctx.deadline_ns;
}

int64_t call_out(struct thread *t, uint64_t nr, const uint64_t arg[6])
{
	bool interrupted = t->reissued;
	short events = socket_wait(nr);
	uint64_t began_ns = events ? clock_mono_ns() : 0;
	for (;;) {
		if (interrupted) {
			/* First: it may be a move that it is interrupted for. */
			if (events && !t->ctx.deadline_ns)
				t->ctx.deadline_ns = socket_deadline(t, arg[0], events, began_ns);
			if (call_must_park())
				call_park_again(t);
			if (call_must_signal(t)) {
				t->restartable = true;
				return -EINTR;
			}
			interrupted = false;
			if (events && !socket_ready(t, arg[0], events, &interrupted))
				return -EAGAIN;
			if (interrupted)
				continue;
		}
		int64_t rc = ocall(t, OCALL_SYSCALL, nr, arg, &interrupted);
		if (!interrupted)
			return rc;
	}
}

uint64_t address_used(const void *address, uint64_t size)
{
	const char *path = (const char *)address + sizeof(sa_family_t);
	uint64_t used = 0, room = size < sizeof(sa_family_t) ? 0 : size - sizeof(sa_family_t);
	if (room == 0 || *(const sa_family_t *)address != AF_UNIX || !path[0]) /* abstract names have no end */
		return size;
	while (used < room && path[used])
		used++;
	return sizeof(sa_family_t) + (used < room ? used + 1 : used);
}

/* How much of its buffer getsockopt() reads, for the few options that do: what is to be looked for. */
static uint32_t option_reads(uint64_t nr, const uint64_t in[6])
{
	static const struct {
		int level, name;
		uint32_t size;
	} options[] = {
		{IPPROTO_TCP, 35 /* TCP_ZEROCOPY_RECEIVE */, 64},
		{IPPROTO_IP, 41 /* IP_MSFILTER */, 16},
		{IPPROTO_IP, 48 /* MCAST_MSFILTER */, 144},
		{IPPROTO_IPV6, 48, 144},
	};
	for (unsigned i = 0; nr == SYS_getsockopt && i < sizeof options / sizeof options[0]; i++)
		if (options[i].level == (int)in[1] && options[i].name == (int)in[2])
			return options[i].size;
	return 0;
}

/* room: what the SOCKADDR's buffer holds. */
static int64_t lay_out(struct marshal *m, const struct call *c, uint64_t nr, const uint64_t in[6], uint64_t out[6],
		       uint32_t *room)
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
		case IN_WHOLE:
		case IN_ADDRESS:
		case IN_XATTR:
		case OUT_RC: {
			uint64_t n = in[size];
			if (!a)
				break;
			bool whole = c->arg[i].kind == IN_WHOLE || c->arg[i].kind == IN_ADDRESS;
			if (whole && n > WHOLE_MAX)
				return -EINVAL;
			if (c->arg[i].kind == IN_XATTR && n > XATTR_SIZE_MAX)
				return -E2BIG;
			if (!whole && n > marshal_left(m))
				n = marshal_left(m);
			if (!mm_app_range(a, n))
				return -EFAULT;
			out[i] = marshal_room(m, n);
			out[size] = n;
			if (c->arg[i].kind == IN_ADDRESS)
				n = address_used((void *)a, n);
			if (c->arg[i].kind != OUT_RC)
				host_copy_out(out[i], (void *)a, n);
			break;
		}
		case SOCKADDR: {
			uint64_t len_at = in[size];
			out[i] = out[size] = 0;
			if (!a || !len_at)
				break;
			if (!mm_app_range(len_at, 4))
				return -EFAULT;
			memcpy(room, (void *)len_at, 4);
			if (*room > WHOLE_MAX)
				*room = WHOLE_MAX;
			if (!mm_app_range(a, *room))
				return -EFAULT;
			out[i] = marshal_room(m, *room);
			out[size] = marshal_room(m, 4);
			host_copy_out(out[size], room, 4);
			/* What else is in the buffer is nobody's: it may be an old secret. */
			uint32_t reads = option_reads(nr, in);
			host_copy_out(out[i], (void *)a, reads < *room ? reads : *room);
			break;
		}
		case SOCKLEN:
			break;
		}
	}
	return 0;
}

static void take_back(const struct call *c, uint64_t nr, const uint64_t in[6], const uint64_t out[6], uint32_t room,
		      int64_t rc)
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
		case OUT_RC:
			app_write(in[i], out[i], (uint64_t)rc < out[size] ? (uint64_t)rc : out[size]);
			break;
		case SOCKADDR: {
			if (!out[i])
				break;
			/* An address may be longer than its buffer and says so; an option is cut. */
			uint32_t most = nr == SYS_getsockopt ? room : ADDRESS_MAX, n;
			host_copy_in(&n, out[size], 4);
			if (n > most)
				n = most;
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

/* Of those that tell how much room they need when they have none. */
static bool is_xattr_get(uint64_t nr)
{
	return nr == SYS_getxattr || nr == SYS_lgetxattr || nr == SYS_fgetxattr || nr == SYS_listxattr ||
	       nr == SYS_llistxattr || nr == SYS_flistxattr;
}
_Static_assert(XATTR_SIZE_MAX == XATTR_LIST_MAX, "one bound for both");

/* The host's word, if it is one the kernel could have said. */
static int64_t believe(const struct call *c, uint64_t nr, const uint64_t in[6], const uint64_t out[6], int64_t rc)
{
	if (rc < 0)
		return rc < -4095 ? -EIO : rc;
	switch (c->result) {
	case ZERO:
		return rc == 0 ? 0 : -EIO;
	case FD:
		return rc <= INT_MAX ? rc : -EIO;
	case NUMBER:
		return rc;
	default:
		if (nr == SYS_recvfrom && in[3] & MSG_TRUNC) /* the real size is asked for */
			return rc <= INT_MAX ? rc : -EIO;
		if (!in[c->result - AT_MOST] && is_xattr_get(nr)) /* likewise */
			return rc <= XATTR_SIZE_MAX ? rc : -EIO;
		return (uint64_t)rc <= out[c->result - AT_MOST] ? rc : -EIO;
	}
}

int64_t calls_host(struct thread *t, uint64_t nr, const uint64_t arg[6])
{
	if (nr >= sizeof table / sizeof table[0] || !table[nr].known)
		return CALL_UNKNOWN;
	const struct call *c = &table[nr];
	struct marshal m = marshal_begin(t);
	uint64_t out[6];
	uint32_t room = 0;
	memcpy(out, arg, sizeof out);
	int64_t rc = lay_out(&m, c, nr, arg, out, &room);
	if (rc < 0)
		return rc;
	rc = believe(c, nr, arg, out, call_out(t, nr, out));
	if (rc >= 0)
		take_back(c, nr, arg, out, room, rc);
	else if (rc == -EPIPE && c->pipe && !(nr == SYS_sendto && arg[3] & MSG_NOSIGNAL))
		signal_self(t, SIGPIPE);
	return rc;
}
