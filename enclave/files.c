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
#include "enclave/ancillary.h"
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/files.h"
#include "enclave/interest.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/signal.h"
#include "enclave/signalfd.h"
#include "enclave/thread.h"
#include "enclave/waits.h"

/* What the runtime must know of a descriptor; numbers past the table have nothing of it. */
#define TAGGED_FDS 4096
#define TAG_RANDOM 1u   /* /dev/urandom or /dev/random: the host must not choose the bytes */
#define TAG_REALTIME 2u /* a timer of the wall clock */
#define TAG_EPOLL 4u
#define TAG_SIGNAL 8u /* signalfd.c */
#define TAG_OWN (TAG_RANDOM | TAG_SIGNAL) /* what is read of it must never be the host's */
static uint8_t fd_tag[TAGGED_FDS];

static uint8_t tag_of(uint64_t fd)
{
	return fd < TAGGED_FDS ? __atomic_load_n(&fd_tag[fd], __ATOMIC_RELAXED) : 0;
}

static bool is_random(uint64_t fd)
{
	return tag_of((uint32_t)fd) & TAG_RANDOM;
}

static bool is_signalfd(uint64_t fd)
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

/* A number the host has just given out. It cannot be one that is open as a random device, and one that is to be
 * must fit the table: or the next read would give the host's bytes. */
static int64_t new_fd(struct thread *t, int64_t fd, uint8_t tag)
{
	if (fd < 0)
		return fd;
	if (tag_of((uint32_t)fd) & TAG_OWN)
		return -EIO;
	if (fd >= TAGGED_FDS) {
		if (!(tag & TAG_OWN))
			return fd;
		ocall(t, OCALL_SYSCALL, SYS_close, (const uint64_t[6]){(uint64_t)fd}, NULL);
		return -EMFILE;
	}
	__atomic_store_n(&fd_tag[fd], tag, __ATOMIC_RELAXED);
	return fd;
}

int64_t files_new(struct thread *t, int64_t fd)
{
	return new_fd(t, fd, 0);
}

bool files_own(uint64_t fd)
{
	return tag_of(fd) != 0;
}

static int64_t new_dup(struct thread *t, int64_t fd, uint64_t from)
{
	fd = new_fd(t, fd, tag_of((uint32_t)from));
	if (fd >= 0)
		interest_duped((int)from, (int)fd);
	if (fd >= 0 && is_signalfd(from) && signalfd_duped((int)from, (int)fd) < 0) {
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

#define PART_MAX (CALL_DATA_SIZE - 0x4000)

static bool is_regular(struct thread *t, uint64_t fd)
{
	struct marshal m = marshal_begin(t);
	struct stat st;
	uint64_t at = marshal_room(&m, sizeof st);
	if (ocall(t, OCALL_SYSCALL, SYS_fstat, (const uint64_t[6]){fd, at}, NULL) != 0)
		return false;
	host_copy_in(&st, at, sizeof st);
	return S_ISREG(st.st_mode);
}

/* ---- vectors ---- */

#define VECTORS_MAX 1024
struct vector {
	uint64_t base, size;
};

/* The vector is the application's memory: one of its other threads may change it, so it is copied once. */
static int64_t vector_get(uint64_t iov, uint64_t count, uint64_t i, struct vector *v)
{
	if (count > VECTORS_MAX)
		return -EINVAL;
	if (!mm_app_range(iov, count * sizeof *v))
		return -EFAULT;
	memcpy(v, (const void *)(iov + i * sizeof *v), sizeof *v);
	return mm_app_range(v->base, v->size) || v->size == 0 ? 0 : -EFAULT;
}

/* Leaves out what of it lies before the first `skip` bytes of its vector, which become as many less. */
static void vector_skip(struct vector *v, uint64_t *skip)
{
	uint64_t n = v->size < *skip ? v->size : *skip;
	v->base += n;
	v->size -= n;
	*skip -= n;
}

/* Lays the vector's bytes from `skip` on out one after another; as many as fit. */
static int64_t gather(struct marshal *m, uint64_t iov, uint64_t count, uint64_t skip, uint64_t *at)
{
	uint64_t total = 0, left = marshal_left(m);
	*at = m->base + m->used;
	for (uint64_t i = 0; i < count && left; i++) {
		struct vector v;
		int64_t rc = vector_get(iov, count, i, &v);
		if (rc < 0)
			return rc;
		vector_skip(&v, &skip);
		uint64_t n = v.size < left ? v.size : left;
		host_copy_out(*at + total, (const void *)v.base, n);
		total += n;
		left -= n;
	}
	marshal_room(m, total);
	return (int64_t)total;
}

static int64_t capacity(const struct marshal *m, uint64_t iov, uint64_t count, uint64_t skip)
{
	uint64_t total = 0, left = marshal_left(m);
	for (uint64_t i = 0; i < count && total < left; i++) {
		struct vector v;
		int64_t rc = vector_get(iov, count, i, &v);
		if (rc < 0)
			return rc;
		vector_skip(&v, &skip);
		total += v.size < left ? v.size : left;
	}
	return (int64_t)(total < left ? total : left);
}

static void scatter(uint64_t iov, uint64_t count, uint64_t skip, uint64_t u_from, uint64_t size)
{
	for (uint64_t i = 0; i < count && size; i++) {
		struct vector v;
		if (vector_get(iov, count, i, &v) < 0)
			return;
		vector_skip(&v, &skip);
		uint64_t n = v.size < size ? v.size : size;
		app_write(v.base, u_from, n);
		u_from += n;
		size -= n;
	}
}

static int64_t bounded(int64_t rc, int64_t most)
{
	return rc > most || rc < -4095 ? -EIO : rc;
}

/* What the kernel would do in one go may take several: more than the call area holds, or a write that a kick cut short when
 * part of it was done. How far it is stands in the context, so that a move or a signal in between loses nothing; an error
 * after the first part is the next call's. */
static int64_t so_far(struct thread *t, int64_t rc)
{
	return t->ctx.result ? t->ctx.result : rc;
}

/* Of so few bytes that all or none are written: an eventfd's number is no stream. */
#define WRITE_WHOLE 64

static int64_t do_readv(struct thread *t, const uint64_t a[6], uint64_t nr)
{
	struct marshal m = marshal_begin(t);
	int64_t size = capacity(&m, a[1], a[2], (uint64_t)t->ctx.result);
	if (size < 0)
		return so_far(t, size);
	if (is_signalfd(a[0])) {
		struct vector v;
		int64_t rc = nr == SYS_pread64 ? -ESPIPE : a[2] ? vector_get(a[1], a[2], 0, &v) : -EINVAL;
		return rc < 0 ? rc : signalfd_read(t, a[0], v.base, v.size);
	}
	if (is_random(a[0])) {
		int64_t total = 0;
		for (uint64_t i = 0; i < a[2] && total < size; i++) {
			struct vector v;
			int64_t rc = vector_get(a[1], a[2], i, &v);
			if (rc == 0)
				rc = files_read_random(v.base, v.size);
			if (rc < 0)
				return rc;
			total += rc;
		}
		return total;
	}
	for (;;) {
		uint64_t done = (uint64_t)t->ctx.result, at = marshal_room(&m, (uint64_t)size);
		int64_t rc = bounded(call_out(t, nr, (const uint64_t[6]){a[0], at, (uint64_t)size, a[3] + done}), size);
		if (rc <= 0)
			return so_far(t, rc);
		scatter(a[1], a[2], done, at, (uint64_t)rc);
		t->ctx.result += rc;
		if (rc < size || (uint64_t)size < PART_MAX || (nr == SYS_read && !is_regular(t, a[0])))
			return t->ctx.result;
		m = marshal_begin(t);
		size = capacity(&m, a[1], a[2], (uint64_t)t->ctx.result);
		if (size <= 0)
			return t->ctx.result;
	}
}

static int64_t do_writev(struct thread *t, const uint64_t a[6], uint64_t nr)
{
	if (is_signalfd(a[0]))
		return -EINVAL;
	for (;;) {
		struct marshal m = marshal_begin(t);
		uint64_t at, done = (uint64_t)t->ctx.result;
		int64_t size = gather(&m, a[1], a[2], done, &at);
		if (size < 0 || (size == 0 && done))
			return so_far(t, size);
		int64_t rc = bounded(call_out(t, nr, (const uint64_t[6]){a[0], at, (uint64_t)size, a[3] + done}), size);
		if (rc == -EPIPE)
			signal_sigpipe(t);
		if (rc <= 0)
			return so_far(t, rc);
		t->ctx.result += rc;
		if (rc < size && size <= WRITE_WHOLE)
			return t->ctx.result;
	}
}

/* ---- messages ---- */

struct message {
	uint64_t name;
	uint32_t name_size, pad1;
	uint64_t iov, iov_count;
	uint64_t control, control_size;
	uint32_t flags, pad2;
};
_Static_assert(sizeof(struct message) == 56, "struct msghdr");

static int64_t do_message(struct thread *t, const uint64_t a[6], bool send)
{
	if (!mm_app_range(a[1], sizeof(struct message)))
		return -EFAULT;
	struct message app, out = {0};
	memcpy(&app, (const void *)a[1], sizeof app);
	if (!send && a[2] & MSG_ERRQUEUE)
		return -EOPNOTSUPP;
	uint64_t control_room = app.control && !send ? app.control_size : 0;
	if (control_room > ANCILLARY_MAX)
		control_room = ANCILLARY_MAX;
	if (control_room && !mm_app_range(app.control, control_room))
		return -EFAULT;
	uint32_t name_size = app.name_size < 256 ? app.name_size : 256;
	if (app.name && !mm_app_range(app.name, name_size))
		return -EFAULT;
	struct marshal m = marshal_begin(t);
	uint64_t u_msg = marshal_room(&m, sizeof out), u_iov = marshal_room(&m, sizeof(struct vector));
	if (app.name) {
		out.name = marshal_room(&m, name_size);
		out.name_size = name_size;
		if (send)
			host_copy_out(out.name, (const void *)app.name, name_size);
	}
	uint64_t at, done = (uint64_t)t->ctx.result;
	int64_t size;
	if (send && app.control_size && !done) { /* goes with the first part */
		int64_t rc = ancillary_out(&m, app.control, app.control_size, &out.control);
		if (rc < 0)
			return rc;
		out.control_size = app.control_size;
	} else if (control_room) {
		out.control = marshal_room(&m, control_room);
		out.control_size = control_room;
	}
	if (send) {
		size = gather(&m, app.iov, app.iov_count, done, &at);
	} else {
		size = capacity(&m, app.iov, app.iov_count, 0);
		at = size < 0 ? 0 : marshal_room(&m, (uint64_t)size);
	}
	if (size < 0 || (size == 0 && done))
		return so_far(t, size);
	struct vector v = {at, (uint64_t)size};
	host_copy_out(u_iov, &v, sizeof v);
	out.iov = u_iov;
	out.iov_count = 1;
	host_copy_out(u_msg, &out, sizeof out);
	int64_t rc = call_out(t, send ? SYS_sendmsg : SYS_recvmsg, (const uint64_t[6]){a[0], u_msg, a[2]});
	if (send) {
		if (rc == -EPIPE && !(a[2] & MSG_NOSIGNAL))
			signal_sigpipe(t);
		rc = bounded(rc, size);
		if (rc <= 0)
			return so_far(t, rc);
		t->ctx.result += rc;
		bool more = !app.name && (rc == size || size > WRITE_WHOLE);
		return more ? do_message(t, a, true) : t->ctx.result;
	}
	rc = bounded(rc, a[2] & MSG_TRUNC ? INT_MAX : size);
	if (rc < 0)
		return rc;
	struct message back;
	host_copy_in(&back, u_msg, sizeof back);
	uint64_t got = (uint64_t)rc < (uint64_t)size ? (uint64_t)rc : (uint64_t)size;
	scatter(app.iov, app.iov_count, 0, at, got);
	if (app.name)
		app_write(app.name, out.name, back.name_size < name_size ? back.name_size : name_size);
	if (back.name_size > sizeof(struct sockaddr_storage))
		back.name_size = sizeof(struct sockaddr_storage);
	app.name_size = app.name ? back.name_size : 0;
	app.control_size = 0;
	app.flags = back.flags;
	if (control_room)
		ancillary_in(t, out.control, back.control_size, app.control, control_room, &app.control_size, &app.flags);
	memcpy((void *)a[1], &app, sizeof app);
	marks_set(a[1], sizeof app);
	return rc;
}

/* struct mmsghdr: a message and how much of it went. */
#define MANY_SIZE 64u
#define MANY_COUNT_AT 56u
#define MANY_MAX 1024u

/* One after another; where it is stands in the context. The time-out of recvmmsg() is looked at between messages only, as
 * the kernel does. */
static int64_t do_messages(struct thread *t, const uint64_t a[6], bool send)
{
	/* the sixth argument's place: neither call has one */
	uint64_t count = (uint32_t)a[2] < MANY_MAX ? (uint32_t)a[2] : MANY_MAX, *next = &t->ctx.call[6];
	int64_t limit[2] = {0, 0};
	if (!mm_app_range(a[1], count * MANY_SIZE) || (!send && a[4] && !mm_app_range(a[4], sizeof limit)))
		return -EFAULT;
	if (!send && a[4] && !t->ctx.deadline_ns) {
		memcpy(limit, (const void *)a[4], sizeof limit);
		if (limit[0] < 0 || limit[0] > 1 << 30 || limit[1] < 0 || limit[1] >= 1000000000)
			return -EINVAL;
		t->ctx.deadline_ns = clock_mono_ns() + (uint64_t)(limit[0] * 1000000000 + limit[1]);
	}
	if (!t->reissued)
		*next = 0;
	while (*next < count) {
		uint64_t at = a[1] + *next * MANY_SIZE, flags = a[3];
		if (!send && flags & MSG_WAITFORONE && *next)
			flags |= MSG_DONTWAIT;
		uint64_t one[6] = {a[0], at, flags & ~(uint64_t)MSG_WAITFORONE};
		int64_t rc = do_message(t, one, send);
		t->ctx.result = 0;
		if (send || !a[4])
			t->ctx.deadline_ns = 0; /* of that message */
		if (rc < 0)
			return *next ? (int64_t)*next : rc;
		uint32_t size = (uint32_t)rc;
		memcpy((void *)(at + MANY_COUNT_AT), &size, sizeof size);
		marks_set(at + MANY_COUNT_AT, sizeof size);
		++*next;
		if (t->ctx.deadline_ns && clock_mono_ns() >= t->ctx.deadline_ns)
			break;
	}
	return (int64_t)*next;
}

/* ---- control ---- */

static const struct {
	uint32_t request;
	uint16_t size;
	uint8_t in, out;
} ioctls[] = {
	{0x541b, 4, 0, 1},  /* FIONREAD */
	{0x5421, 4, 1, 0},  /* FIONBIO */
	{0x5411, 4, 0, 1},  /* TIOCOUTQ */
	{0x540f, 4, 0, 1},  /* TIOCGPGRP */
	{0x5401, 36, 0, 1}, /* TCGETS */
	{0x5402, 36, 1, 0}, /* TCSETS, TCSETSW, TCSETSF */
	{0x5403, 36, 1, 0}, {0x5404, 36, 1, 0},
	{0x5413, 8, 0, 1},  /* TIOCGWINSZ */
	{0x5451, 0, 0, 0}, {0x5450, 0, 0, 0}, /* FIOCLEX, FIONCLEX */
	{0x8933, 40, 1, 1}, {0x8913, 40, 1, 1}, {0x8915, 40, 1, 1}, /* SIOCGIFINDEX, FLAGS, ADDR */
	{0x891b, 40, 1, 1}, {0x8927, 40, 1, 1}, {0x8921, 40, 1, 1}, /* NETMASK, HWADDR, MTU */
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
		if (ioctls[i].in)
			host_copy_out(at, (const void *)a[2], ioctls[i].size);
		int64_t rc = call_out(t, SYS_ioctl, (const uint64_t[6]){a[0], a[1], at});
		if (rc >= 0 && ioctls[i].out)
			app_write(a[2], at, ioctls[i].size);
		return bounded(rc, INT_MAX);
	}
	return -ENOTTY;
}

#define FLOCK_SIZE 32
static int64_t do_fcntl(struct thread *t, const uint64_t a[6])
{
	switch ((int)a[1]) {
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case 36 /* F_OFD_GETLK */:
	case 37:
	case 38: {
		if (!mm_app_range(a[2], FLOCK_SIZE))
			return -EFAULT;
		struct marshal m = marshal_begin(t);
		uint64_t at = marshal_room(&m, FLOCK_SIZE);
		host_copy_out(at, (const void *)a[2], FLOCK_SIZE);
		int64_t rc = call_out(t, SYS_fcntl, (const uint64_t[6]){a[0], a[1], at});
		if (rc >= 0)
			app_write(a[2], at, FLOCK_SIZE);
		return bounded(rc, INT_MAX);
	}
	case F_DUPFD:
	case F_DUPFD_CLOEXEC: {
		int64_t rc = bounded(call_out(t, SYS_fcntl, a), INT_MAX);
		return new_dup(t, rc, a[0]);
	}
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
	case F_SETFL:
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
	case F_ADD_SEALS:
	case F_GET_SEALS:
		return bounded(call_out(t, SYS_fcntl, a), INT_MAX);
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
	if (is_random(fd))
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

/* ---- transfers larger than the call area ---- */

static bool goes_on(struct thread *t, uint64_t nr, const uint64_t a[6], uint64_t done)
{
	if (done == 0 || done >= a[2])
		return false;
	switch (nr) {
	case SYS_write:
	case SYS_pwrite64:
		return a[2] > WRITE_WHOLE;
	case SYS_sendto:
		return a[2] > WRITE_WHOLE && !a[4];
	case SYS_recvfrom:
		return a[3] & MSG_WAITALL && !(a[3] & (MSG_PEEK | MSG_TRUNC)) && !a[4];
	case SYS_pread64:
		return done >= PART_MAX;
	default: /* read() of what is no file gives what there is */
		return done >= PART_MAX && is_regular(t, a[0]);
	}
}

static int64_t transfer(struct thread *t, uint64_t nr)
{
	uint64_t *a = t->ctx.call + 1;
	for (;;) {
		int64_t rc = calls_host(t, nr, a);
		if (rc < 0)
			return so_far(t, rc);
		t->ctx.result += rc;
		if (!goes_on(t, nr, a, (uint64_t)rc))
			return t->ctx.result;
		a[1] += (uint64_t)rc;
		a[2] -= (uint64_t)rc;
		if (nr == SYS_pread64 || nr == SYS_pwrite64)
			a[3] += (uint64_t)rc;
	}
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
	int64_t rc = bounded(call_out(t, SYS_timerfd_settime, (const uint64_t[6]){a[0], a[1], in, old}), 0);
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
		return is_signalfd(fd) ? signalfd_change((uint32_t)fd, mask)
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
		if (is_signalfd(a[0]))
			return nr == SYS_read ? signalfd_read(t, a[0], a[1], a[2]) : -ESPIPE;
		return is_random(a[0]) ? files_read_random(a[1], a[2]) : transfer(t, nr);
	case SYS_write:
	case SYS_pwrite64:
	case SYS_sendto:
	case SYS_recvfrom:
		if (is_signalfd(a[0]) && nr != SYS_sendto && nr != SYS_recvfrom)
			return nr == SYS_write ? -EINVAL : -ESPIPE;
		return transfer(t, nr);
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
	case SYS_close:
		fds_closed((uint32_t)a[0], (uint32_t)a[0]);
		return calls_host(t, nr, a);
	case SYS_close_range:
		if (!(a[2] & CLOSE_RANGE_CLOEXEC))
			fds_closed((uint32_t)a[0], (uint32_t)a[1]);
		return calls_host(t, nr, a);
	case SYS_dup:
		return new_dup(t, calls_host(t, nr, a), a[0]);
	case SYS_dup2:
	case SYS_dup3: {
		uint32_t from = (uint32_t)a[0], to = (uint32_t)a[1];
		uint8_t tag = tag_of(from), before = tag_of(to);
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
		return do_readv(t, (const uint64_t[6]){a[0], a[1], a[2], 0}, SYS_read);
	case SYS_preadv:
		return do_readv(t, (const uint64_t[6]){a[0], a[1], a[2], a[3]}, SYS_pread64);
	case SYS_writev:
		return do_writev(t, (const uint64_t[6]){a[0], a[1], a[2], 0}, SYS_write);
	case SYS_pwritev:
		return do_writev(t, (const uint64_t[6]){a[0], a[1], a[2], a[3]}, SYS_pwrite64);
	case SYS_sendmsg:
		return do_message(t, a, true);
	case SYS_recvmsg:
		return do_message(t, a, false);
	case SYS_sendmmsg:
		return do_messages(t, a, true);
	case SYS_recvmmsg:
		return do_messages(t, a, false);
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
	put_bytes(w, fd_tag, sizeof fd_tag);
	interest_export(w);
	signalfd_export(w);
}

void files_import(struct reader *r)
{
	get_bytes(r, fd_tag, sizeof fd_tag);
	interest_import(r);
	signalfd_import(r);
}
