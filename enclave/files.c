/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/mman.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/files.h"
#include "enclave/interest.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/signal.h"
#include "enclave/signalfd.h"
#include "enclave/thread.h"
#include "enclave/transfer.h"
#include "enclave/waits.h"

/* What the runtime must know of a descriptor; numbers past the table have nothing of it. */
#define TAGGED_FDS 4096
#define TAG_RANDOM 1u   /* /dev/urandom or /dev/random: the host must not choose the bytes */
#define TAG_REALTIME 2u /* a timer of the wall clock */
#define TAG_EPOLL 4u
#define TAG_SIGNAL 8u /* signalfd.c */
#define TAG_OPEN 16u  /* given out, and not closed since */
#define TAG_OWN (TAG_RANDOM | TAG_SIGNAL) /* what is read of it must never be the host's */
static uint8_t fd_tag[TAGGED_FDS];

static uint8_t tag_of(uint64_t fd)
{
	return fd < TAGGED_FDS ? __atomic_load_n(&fd_tag[fd], __ATOMIC_RELAXED) : 0;
}

bool files_is_random(uint64_t fd)
{
	return tag_of((uint32_t)fd) & TAG_RANDOM;
}

bool files_is_signalfd(uint64_t fd)
{
	return tag_of((uint32_t)fd) & TAG_SIGNAL;
}

/* Before the host closes it: the number may be another's right after. */
static void fds_closed(uint64_t first, uint64_t last)
{
	bool sets = last >= TAGGED_FDS;
	uint8_t tags = 0;
	for (uint64_t fd = first; fd <= last && fd < TAGGED_FDS; fd++)
		tags |= __atomic_exchange_n(&fd_tag[fd], 0, __ATOMIC_RELAXED);
	if (tags & TAG_SIGNAL)
		signalfd_closed(first, last);
	interest_closed(first, last, sets || tags & TAG_EPOLL);
}

/* A number the host has just given out. It cannot be one that is open: two files by one number, one of them perhaps a random
 * device, whose next read would give the host's bytes. One that is to be such a device must fit the table. */
static int64_t new_fd(struct thread *t, int64_t fd, uint8_t tag)
{
	if (fd < 0)
		return fd;
	if (fd >= TAGGED_FDS) {
		if (!(tag & TAG_OWN))
			return fd;
		ocall(t, OCALL_SYSCALL, SYS_close, (const uint64_t[6]){(uint64_t)fd}, NULL);
		return -EMFILE;
	}
	uint8_t closed = 0;
	return __atomic_compare_exchange_n(&fd_tag[fd], &closed, tag | TAG_OPEN, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
		       ? fd
		       : -EIO;
}

int64_t files_new(struct thread *t, int64_t fd)
{
	return new_fd(t, fd, 0);
}

bool files_own(uint64_t fd)
{
	return tag_of(fd) & ~TAG_OPEN;
}

static int64_t new_dup(struct thread *t, int64_t fd, uint64_t from)
{
	fd = new_fd(t, fd, tag_of((uint32_t)from));
	if (fd >= 0)
		interest_duped((int)from, (int)fd);
	if (fd >= 0 && files_is_signalfd(from) && signalfd_duped((int)from, (int)fd) < 0) {
		fds_closed((uint64_t)fd, (uint64_t)fd);
		ocall(t, OCALL_SYSCALL, SYS_close, (const uint64_t[6]){(uint64_t)fd}, NULL);
		return -EMFILE;
	}
	return fd;
}

static bool same_text(uint64_t app, const char *text)
{
	uint64_t n = strlen(text) + 1;
	return mm_app_range(app, n) && memcmp((const void *)app, text, n) == 0;
}

static bool random_path(uint64_t path)
{
	return same_text(path, "/dev/urandom") || same_text(path, "/dev/random");
}

int64_t files_read_random(uint64_t buf, uint64_t size)
{
	if (size > 1 << 20)
		size = 1 << 20;
	if (!mm_app_range(buf, size))
		return -EFAULT;
	rt_random((void *)buf, size);
	marks_set(buf, size);
	return (int64_t)size;
}

/* ---- control ---- */

/* Of the argument, the host sees what the request reads, and the program gets all of it if `out`. */
static const struct {
	uint32_t request;
	uint8_t size, in_at, in_size;
	bool out;
} ioctls[] = {
	{0x541b, 4, 0, 0, true},    /* FIONREAD */
	{0x5421, 4, 0, 4, false},   /* FIONBIO */
	{0x5411, 4, 0, 0, true},    /* TIOCOUTQ */
	{0x540f, 4, 0, 0, true},    /* TIOCGPGRP */
	{0x5401, 36, 0, 0, true},   /* TCGETS */
	{0x5402, 36, 0, 36, false}, /* TCSETS, TCSETSW, TCSETSF */
	{0x5403, 36, 0, 36, false}, {0x5404, 36, 0, 36, false},
	{0x5413, 8, 0, 0, true},    /* TIOCGWINSZ */
	{0x5451, 0, 0, 0, false}, {0x5450, 0, 0, 0, false}, /* FIOCLEX, FIONCLEX */
	/* of an interface by its name: SIOCGIFINDEX, FLAGS, ADDR, NETMASK, HWADDR, MTU, BRDADDR */
	{0x8933, 40, 0, 16, true}, {0x8913, 40, 0, 16, true}, {0x8915, 40, 0, 16, true}, {0x891b, 40, 0, 16, true},
	{0x8927, 40, 0, 16, true}, {0x8921, 40, 0, 16, true}, {0x8919, 40, 0, 16, true},
	{0x8910, 40, 16, 4, true},  /* SIOCGIFNAME, by its number */
};

static int64_t do_ioctl(struct thread *t, const uint64_t a[6])
{
	for (unsigned i = 0; i < sizeof ioctls / sizeof ioctls[0]; i++) {
		if (ioctls[i].request != (uint32_t)a[1])
			continue;
		if (ioctls[i].size && !mm_app_range(a[2], ioctls[i].size))
			return -EFAULT;
		struct marshal m = marshal_begin(t);
		uint64_t at = marshal_room(&m, ioctls[i].size);
		if (ioctls[i].in_size)
			host_copy_out(at + ioctls[i].in_at, (const void *)(a[2] + ioctls[i].in_at), ioctls[i].in_size);
		int64_t rc = call_out(t, SYS_ioctl, (const uint64_t[6]){a[0], a[1], at});
		if (rc >= 0 && ioctls[i].out)
			app_write(a[2], at, ioctls[i].size);
		return call_bounded(rc, INT_MAX);
	}
	return -ENOTTY;
}

#define GROUPS_MAX 512 /* more than anybody is in */

static int64_t do_getgroups(struct thread *t, const uint64_t a[6])
{
	int32_t room = (int32_t)a[0];
	if (room < 0)
		return -EINVAL;
	if (room > GROUPS_MAX)
		room = GROUPS_MAX;
	if (room && !mm_app_range(a[1], (uint64_t)room * 4))
		return -EFAULT;
	struct marshal m = marshal_begin(t);
	uint64_t at = marshal_room(&m, (uint64_t)room * 4);
	int64_t rc = call_bounded(call_out(t, SYS_getgroups, (const uint64_t[6]){(uint64_t)room, at}), room ? room : GROUPS_MAX);
	if (rc > 0 && room)
		app_write(a[1], at, (uint64_t)rc * 4);
	return rc;
}

static int64_t do_fcntl(struct thread *t, const uint64_t a[6])
{
	switch ((int)a[1]) {
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case 36 /* F_OFD_GETLK */:
	case 37:
	case 38: {
		struct flock app, lock;
		if (!mm_app_range(a[2], sizeof app))
			return -EFAULT;
		memcpy(&app, (const void *)a[2], sizeof app);
		memset(&lock, 0, sizeof lock); /* what lies between its members stays inside */
		lock.l_type = app.l_type, lock.l_whence = app.l_whence, lock.l_pid = app.l_pid;
		lock.l_start = app.l_start, lock.l_len = app.l_len;
		struct marshal m = marshal_begin(t);
		uint64_t at = marshal_room(&m, sizeof lock);
		host_copy_out(at, &lock, sizeof lock);
		int64_t rc = call_out(t, SYS_fcntl, (const uint64_t[6]){a[0], a[1], at});
		if (rc >= 0)
			app_write(a[2], at, sizeof lock);
		return call_bounded(rc, INT_MAX);
	}
	case F_DUPFD:
	case F_DUPFD_CLOEXEC: {
		int64_t rc = call_bounded(call_out(t, SYS_fcntl, a), INT_MAX);
		return new_dup(t, rc, a[0]);
	}
	case F_SETFL:
		if (a[2] & O_ASYNC) /* its signal would be the host process's */
			return -EINVAL;
		return call_bounded(call_out(t, SYS_fcntl, a), INT_MAX);
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
	case F_ADD_SEALS:
	case F_GET_SEALS:
		return call_bounded(call_out(t, SYS_fcntl, a), INT_MAX);
	default:
		return -EINVAL;
	}
}

/* ---- mappings of files: a private copy ---- */

int64_t files_mmap(struct thread *t, const uint64_t a[6])
{
	uint64_t size = a[1], fd = a[4], offset = a[5];
	if (a[3] & MAP_SHARED && a[2] & PROT_WRITE)
		return -ENODEV; /* memory shared with the host is not the enclave's */
	if (offset & (PAGE_SIZE - 1))
		return -EINVAL;
	if (a[2] & PROT_EXEC)
		return -EACCES;
	if (files_is_random(fd))
		return -ENODEV;
	int64_t addr = mm_mmap(a[0], size, PROT_READ | PROT_WRITE, (int)a[3]);
	if (addr < 0)
		return addr;
	for (uint64_t done = 0; done < size;) {
		struct marshal m = marshal_begin(t);
		uint64_t n = size - done < marshal_left(&m) ? size - done : marshal_left(&m);
		uint64_t at = marshal_room(&m, n);
		int64_t rc = ocall(t, OCALL_SYSCALL, SYS_pread64, (const uint64_t[6]){fd, at, n, offset + done}, NULL);
		if (rc == -EINTR)
			continue;
		if (rc < 0 || (uint64_t)rc > n) {
			mm_munmap((uint64_t)addr, size);
			return rc < -4095 || rc >= 0 ? -EIO : rc == -ESPIPE ? -ENODEV : rc;
		}
		if (rc == 0)
			break; /* past the end of the file: zero, as the last page's rest would be */
		app_write((uint64_t)addr + done, at, (uint64_t)rc);
		done += (uint64_t)rc;
	}
	if (!(a[2] & PROT_WRITE))
		mm_mprotect((uint64_t)addr, size, (int)a[2]);
	return addr;
}

/* ---- what the host says and a C library believes ---- */

#define DIRENT_NAME 19 /* struct linux_dirent64: number, offset, length (16 bits), type, name */
static bool entries_ok(const uint8_t *p, uint64_t size)
{
	for (uint64_t at = 0; at < size;) {
		uint16_t length;
		if (size - at < DIRENT_NAME + 1)
			return false;
		memcpy(&length, p + at + 16, sizeof length);
		if (length <= DIRENT_NAME || length > size - at)
			return false;
		uint64_t n = DIRENT_NAME;
		while (n < length && p[at + n])
			n++;
		if (n == length)
			return false;
		at += length;
	}
	return true;
}

static int64_t do_getdents(struct thread *t, const uint64_t a[6])
{
	int64_t rc = calls_host(t, SYS_getdents64, a);
	return rc > 0 && !entries_ok((const uint8_t *)a[1], (uint64_t)rc) ? -EIO : rc;
}

static int64_t do_getcwd(struct thread *t, const uint64_t a[6])
{
	int64_t rc = calls_host(t, SYS_getcwd, a);
	return rc == 0 || (rc > 0 && ((const char *)a[0])[rc - 1]) ? -EIO : rc;
}

#define UTSNAME_FIELD 65
static int64_t do_uname(struct thread *t, const uint64_t a[6])
{
	int64_t rc = calls_host(t, SYS_uname, a);
	for (int i = 1; rc == 0 && i <= 6; i++)
		((char *)a[0])[i * UTSNAME_FIELD - 1] = 0;
	if (rc == 0)
		marks_set(a[0], 6 * UTSNAME_FIELD);
	return rc;
}

/* A pair of new descriptors, written at `app`. */
static int64_t new_pair(struct thread *t, int64_t rc, uint64_t app)
{
	int32_t fd[2];
	if (rc < 0)
		return rc;
	memcpy(fd, (const void *)app, sizeof fd);
	if (fd[0] < 0 || fd[1] < 0 || fd[0] == fd[1] || new_fd(t, fd[0], 0) < 0 || new_fd(t, fd[1], 0) < 0)
		return -EIO;
	return 0;
}

/* ---- timers: absolute times are the enclave's, the host's clock is another ---- */

static int64_t do_timerfd_create(struct thread *t, const uint64_t a[6])
{
	uint64_t id = a[0] == CLOCK_REALTIME || a[0] == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	int64_t rc = calls_host(t, SYS_timerfd_create, (const uint64_t[6]){id, a[1]});
	return new_fd(t, rc, id == CLOCK_REALTIME ? TAG_REALTIME : 0);
}

static int64_t do_timerfd_settime(struct thread *t, const uint64_t a[6])
{
	uint64_t spec[4]; /* interval, value */
	if (!mm_app_range(a[2], sizeof spec) || (a[3] && !mm_app_range(a[3], sizeof spec)))
		return -EFAULT;
	memcpy(spec, (const void *)a[2], sizeof spec);
	if (a[1] & TFD_TIMER_ABSTIME && !(tag_of((uint32_t)a[0]) & TAG_REALTIME) && (spec[2] | spec[3]) &&
	    spec[2] < 1ull << 33 && spec[3] < 1000000000) {
		int64_t ns = (int64_t)clock_to_host(spec[2] * 1000000000 + spec[3]);
		if (ns < 1)
			ns = 1; /* long past */
		spec[2] = (uint64_t)ns / 1000000000;
		spec[3] = (uint64_t)ns % 1000000000;
	}
	struct marshal m = marshal_begin(t);
	uint64_t in = marshal_room(&m, sizeof spec), old = a[3] ? marshal_room(&m, sizeof spec) : 0;
	host_copy_out(in, spec, sizeof spec);
	int64_t rc = call_bounded(call_out(t, SYS_timerfd_settime, (const uint64_t[6]){a[0], a[1], in, old}), 0);
	if (rc == 0 && a[3])
		app_write(a[3], old, sizeof spec);
	return rc;
}

#define SIGNAL_SET_SIZE 8
static int64_t do_signalfd(struct thread *t, uint64_t fd, uint64_t mask, uint64_t mask_size, int flags)
{
	unsigned file;
	if (mask_size != SIGNAL_SET_SIZE || flags & ~(SFD_NONBLOCK | SFD_CLOEXEC))
		return -EINVAL;
	if ((int)fd != -1) /* the host knows whether there is such a descriptor */
		return files_is_signalfd(fd) ? signalfd_change((uint32_t)fd, mask)
		       : call_out(t, SYS_fcntl, (const uint64_t[6]){fd, F_GETFD}) == -EBADF ? -EBADF
											       : -EINVAL;
	int64_t rc = signalfd_create(t, mask, (uint64_t)flags, &file);
	if (rc < 0)
		return rc;
	rc = new_fd(t, rc, TAG_SIGNAL);
	if (rc < 0)
		signalfd_abandon(file);
	else
		signalfd_open((int)rc, file);
	return rc;
}

int64_t files_call(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	switch (nr) {
	case SYS_signalfd:
		return do_signalfd(t, a[0], a[1], a[2], 0);
	case SYS_signalfd4:
		return do_signalfd(t, a[0], a[1], a[2], (int)a[3]);
	case SYS_read:
	case SYS_pread64:
		if (files_is_signalfd(a[0]))
			return nr == SYS_read ? signalfd_read(t, a[0], a[1], a[2]) : -ESPIPE;
		return files_is_random(a[0]) ? files_read_random(a[1], a[2]) : transfer_call(t, nr);
	case SYS_write:
	case SYS_pwrite64:
	case SYS_sendto:
	case SYS_recvfrom:
		if (files_is_signalfd(a[0]) && nr != SYS_sendto && nr != SYS_recvfrom)
			return nr == SYS_write ? -EINVAL : -ESPIPE;
		return transfer_call(t, nr);
	case SYS_open:
	case SYS_openat:
		return new_fd(t, calls_host(t, nr, a), random_path(a[nr == SYS_openat]) ? TAG_RANDOM : 0);
	case SYS_creat:
	case SYS_memfd_create:
	case SYS_eventfd:
	case SYS_eventfd2:
	case SYS_socket:
	case SYS_accept:
	case SYS_accept4:
		return new_fd(t, calls_host(t, nr, a), 0);
	case SYS_epoll_create:
	case SYS_epoll_create1:
		return new_fd(t, calls_host(t, nr, a), TAG_EPOLL);
	case SYS_pipe:
	case SYS_pipe2:
		return new_pair(t, calls_host(t, nr, a), a[0]);
	case SYS_socketpair:
		return new_pair(t, calls_host(t, nr, a), a[3]);
	/* Once only: when it is issued again, a hostile host may have given the number to another thread. */
	case SYS_close:
		if (!t->reissued)
			fds_closed((uint32_t)a[0], (uint32_t)a[0]);
		return calls_host(t, nr, a);
	case SYS_close_range:
		if (!t->reissued && !(a[2] & CLOSE_RANGE_CLOEXEC))
			fds_closed((uint32_t)a[0], (uint32_t)a[1]);
		return calls_host(t, nr, a);
	case SYS_dup:
		return new_dup(t, calls_host(t, nr, a), a[0]);
	case SYS_dup2:
	case SYS_dup3: {
		uint32_t from = (uint32_t)a[0], to = (uint32_t)a[1];
		uint8_t tag = tag_of(from) | TAG_OPEN, before = tag_of(to);
		int64_t rc = calls_host(t, nr, a);
		if (rc < 0 || from == to)
			return rc;
		if (rc != to)
			return -EIO;
		interest_closed(to, to, before & TAG_EPOLL || to >= TAGGED_FDS);
		interest_duped((int)from, (int)to);
		if (to < TAGGED_FDS)
			__atomic_store_n(&fd_tag[to], tag, __ATOMIC_RELAXED);
		if ((tag | before) & TAG_SIGNAL && to < TAGGED_FDS && signalfd_duped((int)from, (int)to) < 0)
			return -EMFILE;
		return to >= TAGGED_FDS && tag & TAG_OWN ? -EMFILE : rc;
	}
	case SYS_timerfd_create:
		return do_timerfd_create(t, a);
	case SYS_timerfd_settime:
		return do_timerfd_settime(t, a);
	case SYS_epoll_ctl:
		return interest_control(t, a);
	case SYS_getdents64:
		return do_getdents(t, a);
	case SYS_getcwd:
		return do_getcwd(t, a);
	case SYS_uname:
		return do_uname(t, a);
	case SYS_sched_getaffinity: /* of whom: the host knows no thread by our number */
		return calls_host(t, nr, (const uint64_t[6]){0, a[1], a[2]});
	case SYS_readv:
		return transfer_readv(t, (const uint64_t[6]){a[0], a[1], a[2], 0}, SYS_read);
	case SYS_preadv:
		return transfer_readv(t, (const uint64_t[6]){a[0], a[1], a[2], a[3]}, SYS_pread64);
	case SYS_writev:
		return transfer_writev(t, (const uint64_t[6]){a[0], a[1], a[2], 0}, SYS_write);
	case SYS_pwritev:
		return transfer_writev(t, (const uint64_t[6]){a[0], a[1], a[2], a[3]}, SYS_pwrite64);
	case SYS_sendmsg:
		return transfer_message(t, a, true);
	case SYS_recvmsg:
		return transfer_message(t, a, false);
	case SYS_sendmmsg:
		return transfer_messages(t, a, true);
	case SYS_recvmmsg:
		return transfer_messages(t, a, false);
	case SYS_getgroups:
		return do_getgroups(t, a);
	case SYS_ioctl:
		return do_ioctl(t, a);
	case SYS_fcntl:
		return do_fcntl(t, a);
	case SYS_poll:
	case SYS_ppoll:
	case SYS_select:
	case SYS_pselect6:
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
		return waits_call(t, nr, a);
	default:
		return calls_host(t, nr, a);
	}
}

void files_export(struct writer *w)
{
	put_sparse(w, fd_tag, sizeof fd_tag);
	interest_export(w);
	signalfd_export(w);
}

void files_import(struct reader *r)
{
	get_sparse(r, fd_tag, sizeof fd_tag);
	interest_import(r);
	signalfd_import(r);
}
