/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "enclave/calls.h"
#include "enclave/files.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/signal.h"
#include "enclave/thread.h"
#include "enclave/waits.h"

/* Descriptors that are /dev/urandom or /dev/random: the host must not choose the bytes. */
#define RANDOM_FDS 4096
static uint64_t random_fd[RANDOM_FDS / 64];

static bool is_random(uint64_t fd)
{
	return fd < RANDOM_FDS && __atomic_load_n(&random_fd[fd / 64], __ATOMIC_RELAXED) >> (fd % 64) & 1;
}

static void set_random(int64_t fd, bool on)
{
	if (fd < 0 || fd >= RANDOM_FDS)
		return;
	uint64_t bit = 1ull << (fd % 64);
	if (on)
		__atomic_fetch_or(&random_fd[fd / 64], bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&random_fd[fd / 64], ~bit, __ATOMIC_RELAXED);
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

static int64_t read_random(uint64_t buf, uint64_t size)
{
	if (size > 1 << 20)
		size = 1 << 20;
	if (!mm_app_range(buf, size))
		return -EFAULT;
	rt_random((void *)buf, size);
	marks_set(buf, size);
	return (int64_t)size;
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

/* Lays the vector's bytes out one after another; as many as fit. */
static int64_t gather(struct marshal *m, uint64_t iov, uint64_t count, uint64_t *at)
{
	uint64_t total = 0, left = marshal_left(m);
	*at = m->base + m->used;
	for (uint64_t i = 0; i < count && left; i++) {
		struct vector v;
		int64_t rc = vector_get(iov, count, i, &v);
		if (rc < 0)
			return rc;
		uint64_t n = v.size < left ? v.size : left;
		host_copy_out(*at + total, (const void *)v.base, n);
		total += n;
		left -= n;
	}
	marshal_room(m, total);
	return (int64_t)total;
}

static int64_t capacity(const struct marshal *m, uint64_t iov, uint64_t count)
{
	uint64_t total = 0, left = marshal_left(m);
	for (uint64_t i = 0; i < count && total < left; i++) {
		struct vector v;
		int64_t rc = vector_get(iov, count, i, &v);
		if (rc < 0)
			return rc;
		total += v.size < left ? v.size : left;
	}
	return (int64_t)(total < left ? total : left);
}

static void scatter(uint64_t iov, uint64_t count, uint64_t u_from, uint64_t size)
{
	for (uint64_t i = 0; i < count && size; i++) {
		struct vector v;
		if (vector_get(iov, count, i, &v) < 0)
			return;
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

static int64_t do_readv(struct thread *t, const uint64_t a[6], uint64_t nr)
{
	struct marshal m = marshal_begin(t);
	int64_t size = capacity(&m, a[1], a[2]);
	if (size < 0)
		return size;
	if (is_random(a[0])) {
		struct vector v;
		int64_t rc = vector_get(a[1], a[2], 0, &v);
		return rc < 0 ? rc : read_random(v.base, v.size);
	}
	uint64_t at = marshal_room(&m, (uint64_t)size);
	int64_t rc = bounded(call_out(t, nr, (const uint64_t[6]){a[0], at, (uint64_t)size, a[3]}), size);
	if (rc > 0)
		scatter(a[1], a[2], at, (uint64_t)rc);
	return rc;
}

static int64_t do_writev(struct thread *t, const uint64_t a[6], uint64_t nr)
{
	struct marshal m = marshal_begin(t);
	uint64_t at;
	int64_t size = gather(&m, a[1], a[2], &at);
	if (size < 0)
		return size;
	int64_t rc = bounded(call_out(t, nr, (const uint64_t[6]){a[0], at, (uint64_t)size, a[3]}), size);
	if (rc == -EPIPE)
		signal_sigpipe(t);
	return rc;
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
	if (send && app.control_size)
		return -EINVAL; /* descriptors cannot be passed */
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
	uint64_t at;
	int64_t size;
	if (send) {
		size = gather(&m, app.iov, app.iov_count, &at);
	} else {
		size = capacity(&m, app.iov, app.iov_count);
		at = size < 0 ? 0 : marshal_room(&m, (uint64_t)size);
	}
	if (size < 0)
		return size;
	struct vector v = {at, (uint64_t)size};
	host_copy_out(u_iov, &v, sizeof v);
	out.iov = u_iov;
	out.iov_count = 1;
	host_copy_out(u_msg, &out, sizeof out);
	int64_t rc = call_out(t, send ? SYS_sendmsg : SYS_recvmsg, (const uint64_t[6]){a[0], u_msg, a[2]});
	if (send) {
		if (rc == -EPIPE && !(a[2] & MSG_NOSIGNAL))
			signal_sigpipe(t);
		return bounded(rc, size);
	}
	if (rc < 0)
		return bounded(rc, size);
	struct message back;
	host_copy_in(&back, u_msg, sizeof back);
	uint64_t got = (uint64_t)rc < (uint64_t)size ? (uint64_t)rc : (uint64_t)size;
	scatter(app.iov, app.iov_count, at, got);
	if (app.name)
		app_write(app.name, out.name, back.name_size < name_size ? back.name_size : name_size);
	app.name_size = app.name ? back.name_size : 0;
	app.control_size = 0;
	app.flags = back.flags;
	memcpy((void *)a[1], &app, sizeof app);
	marks_set(a[1], sizeof app);
	return rc;
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
};

static int64_t do_ioctl(struct thread *t, const uint64_t a[6])
{
	for (unsigned i = 0; i < sizeof ioctls / sizeof ioctls[0]; i++) {
		if (ioctls[i].request != (uint32_t)a[1])
			continue;
		if (!mm_app_range(a[2], ioctls[i].size))
			return -EFAULT;
		struct marshal m = marshal_begin(t);
		uint64_t at = marshal_room(&m, ioctls[i].size);
		if (ioctls[i].in)
			host_copy_out(at, (const void *)a[2], ioctls[i].size);
		int64_t rc = call_out(t, SYS_ioctl, (const uint64_t[6]){a[0], a[1], at});
		if (rc >= 0 && ioctls[i].out)
			app_write(a[2], at, ioctls[i].size);
		return bounded(rc, 0x7fffffff);
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
		return bounded(rc, 0x7fffffff);
	}
	case F_DUPFD:
	case F_DUPFD_CLOEXEC: {
		int64_t rc = bounded(call_out(t, SYS_fcntl, a), 0x7fffffff);
		set_random(rc, is_random(a[0]));
		return rc;
	}
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
	case F_SETFL:
		return bounded(call_out(t, SYS_fcntl, a), 0x7fffffff);
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
	/* A call parked half-way starts afresh: the mapping it made is given back first. */
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
		mm_mprotect((uint64_t)addr, size, (int)a[2] & ~PROT_EXEC);
	return addr;
}

int64_t files_call(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	int64_t rc;
	switch (nr) {
	case SYS_read:
		if (is_random(a[0]))
			return read_random(a[1], a[2]);
		return calls_host(t, nr, a);
	case SYS_open:
	case SYS_openat:
		rc = calls_host(t, nr, a);
		if (rc >= 0)
			set_random(rc, random_path(a[nr == SYS_openat]));
		return rc;
	case SYS_close:
		set_random((int64_t)a[0], false);
		return calls_host(t, nr, a);
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
		rc = calls_host(t, nr, a);
		set_random(rc, is_random(a[0]));
		return rc;
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
		return waits_call(t, nr, a);
	default:
		return calls_host(t, nr, a);
	}
}

void files_export(struct writer *w)
{
	put_bytes(w, random_fd, sizeof random_fd);
}

void files_import(struct reader *r)
{
	get_bytes(r, random_fd, sizeof random_fd);
}
