/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/transfer.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "enclave/ancillary.h"
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/files.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/signalfd.h"
#include "enclave/thread.h"

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

/* What the kernel would do in one go may take several: more than the call area holds, or a write that a kick cut short when
 * part of it was done. How far it is stands in the context, so that a move or a signal in between loses nothing; an error
 * after the first part is the next call's. */
static int64_t so_far(struct thread *t, int64_t rc)
{
	return t->ctx.result ? t->ctx.result : rc;
}

/* Of so few bytes that all or none are written: an eventfd's number is no stream. */
#define WRITE_WHOLE 64

int64_t transfer_readv(struct thread *t, const uint64_t a[6], uint64_t nr)
{
	struct marshal m = marshal_begin(t);
	int64_t size = capacity(&m, a[1], a[2], (uint64_t)t->ctx.result);
	if (size < 0)
		return so_far(t, size);
	if (files_is_signalfd(a[0])) {
		struct vector v;
		int64_t rc = nr == SYS_pread64 ? -ESPIPE : a[2] ? vector_get(a[1], a[2], 0, &v) : -EINVAL;
		return rc < 0 ? rc : signalfd_read(t, a[0], v.base, v.size);
	}
	if (files_is_random(a[0])) {
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
		int64_t rc = call_bounded(call_out(t, nr, (const uint64_t[6]){a[0], at, (uint64_t)size, a[3] + done}), size);
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

int64_t transfer_writev(struct thread *t, const uint64_t a[6], uint64_t nr)
{
	if (files_is_signalfd(a[0]))
		return -EINVAL;
	for (;;) {
		struct marshal m = marshal_begin(t);
		uint64_t at, done = (uint64_t)t->ctx.result;
		int64_t size = gather(&m, a[1], a[2], done, &at);
		if (size < 0 || (size == 0 && done))
			return so_far(t, size);
		int64_t rc = call_bounded(call_out(t, nr, (const uint64_t[6]){a[0], at, (uint64_t)size, a[3] + done}), size);
		if (rc == -EPIPE)
			signal_self(t, SIGPIPE);
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

/* *more: a part of it went, and the rest is to follow. */
static int64_t message_part(struct thread *t, const uint64_t a[6], bool send, bool *more)
{
	*more = false;
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
			host_copy_out(out.name, (const void *)app.name, address_used((const void *)app.name, name_size));
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
			signal_self(t, SIGPIPE);
		rc = call_bounded(rc, size);
		if (rc <= 0)
			return so_far(t, rc);
		t->ctx.result += rc;
		*more = !app.name && (rc == size || size > WRITE_WHOLE);
		return t->ctx.result;
	}
	rc = call_bounded(rc, a[2] & MSG_TRUNC ? INT_MAX : size);
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

int64_t transfer_message(struct thread *t, const uint64_t a[6], bool send)
{
	bool more = true;
	int64_t rc = 0;
	while (more)
		rc = message_part(t, a, send, &more);
	return rc;
}

/* struct mmsghdr: a message and how much of it went. */
#define MANY_SIZE 64u
#define MANY_COUNT_AT 56u
#define MANY_MAX 1024u

/* One after another; where it is stands in the context. The time-out of recvmmsg() is looked at between messages only, as
 * the kernel does. */
int64_t transfer_messages(struct thread *t, const uint64_t a[6], bool send)
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
		int64_t rc = transfer_message(t, one, send);
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

int64_t transfer_call(struct thread *t, uint64_t nr)
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
