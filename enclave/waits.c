/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include "enclave/calls.h"
#include "enclave/interest.h"
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/signal.h"
#include "enclave/thread.h"
#include "enclave/waits.h"

#define NS_PER_MS 1000000ull
#define POLL_MAX 65536u
#define EPOLL_EVENT_SIZE 12u
#define SELECT_MAX 1024u

static void deadline_from_ms(struct thread *t, int64_t ms)
{
	if (t->ctx.deadline_ns)
		return;
	t->ctx.deadline_ns = ms < 0 ? ~0ull : clock_mono_ns() + (uint64_t)ms * NS_PER_MS;
}

static int64_t deadline_from_pair(struct thread *t, uint64_t app, uint64_t unit_ns)
{
	int64_t v[2];
	if (t->ctx.deadline_ns)
		return 0;
	if (!app) {
		t->ctx.deadline_ns = ~0ull;
		return 0;
	}
	if (!mm_app_range(app, sizeof v))
		return -EFAULT;
	memcpy(v, (const void *)app, sizeof v);
	if (v[0] < 0 || v[1] < 0 || (unit_ns == 1 && v[1] >= 1000000000))
		return -EINVAL;
	if (v[1] > 1000000000) { /* select() takes any number of microseconds */
		v[0] += v[1] / 1000000;
		v[1] %= 1000000;
	}
	if (v[0] > 4000000000)
		v[0] = 4000000000;
	t->ctx.deadline_ns = clock_mono_ns() + (uint64_t)v[0] * 1000000000 + (uint64_t)v[1] * unit_ns;
	return 0;
}

/* Milliseconds left, rounded up: a wait never ends early. */
static uint64_t left_ms(struct thread *t)
{
	if (t->ctx.deadline_ns == ~0ull)
		return (uint64_t)-1;
	uint64_t now = clock_mono_ns();
	uint64_t left = t->ctx.deadline_ns > now ? (t->ctx.deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
	return left < 0x7fffffff ? left : 0x7fffffff;
}

/* One wait outside; time-out argument number `at` is brought up to date before each try. again: what the last one brought
 * was nothing. */
static int64_t wait_out(struct thread *t, uint64_t nr, uint64_t out[6], int at, bool again)
{
	/* With a mask of its own, what was pending before counts as well. */
	bool interrupted = again || t->reissued || t->ctx.in_sigsuspend;
	for (;;) {
		if (interrupted) {
			if (call_must_park())
				call_park_again(t);
			if (call_must_signal(t))
				return -EINTR;
		}
		out[at] = left_ms(t);
		int64_t rc = ocall(t, OCALL_SYSCALL, nr, out, &interrupted);
		/* Nothing, but not for as long as was asked: what the host takes for a time-out is bounded. */
		if (!interrupted && (rc != 0 || clock_mono_ns() >= t->ctx.deadline_ns))
			return rc;
	}
}

static int64_t poll_out(struct thread *t, uint64_t u_fds, uint64_t count, bool again)
{
	int64_t rc = wait_out(t, SYS_poll, (uint64_t[6]){u_fds, count}, 2, again);
	return rc > (int64_t)count || rc < -4095 ? -EIO : rc;
}

static int64_t do_poll(struct thread *t, uint64_t app_fds, uint64_t count)
{
	struct marshal m = marshal_begin(t);
	if (count > POLL_MAX)
		return -EINVAL;
	if (count && !mm_app_range(app_fds, count * sizeof(struct pollfd)))
		return -EFAULT;
	uint64_t at = marshal_room(&m, count * sizeof(struct pollfd));
	for (bool again = false;; again = true) {
		for (uint64_t i = 0; i < count; i++) {
			struct pollfd p = ((const struct pollfd *)app_fds)[i];
			p.revents = 0; /* whatever was there before */
			host_copy_out(at + i * sizeof p, &p, sizeof p);
		}
		int64_t rc = poll_out(t, at, count, again), ready = 0;
		if (rc < 0)
			return rc;
		/* How many there are is counted here: who trusts the number looks for what is not there. */
		for (uint64_t i = 0; i < count; i++) {
			struct pollfd *p = (struct pollfd *)app_fds + i;
			short got = ((const volatile struct pollfd *)at)[i].revents;
			got = p->fd < 0 ? 0 : got & (p->events | POLLERR | POLLHUP | POLLNVAL);
			p->revents = got;
			ready += got != 0;
		}
		marks_set(app_fds, count * sizeof(struct pollfd));
		if (ready || clock_mono_ns() >= t->ctx.deadline_ns)
			return ready;
	}
}

static const short select_events[3] = {POLLIN, POLLOUT, POLLPRI};
static const short select_ready[3] = {POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI};

static int64_t do_select(struct thread *t, uint64_t count, const uint64_t app_set[3])
{
	uint64_t set[3][SELECT_MAX / 64] = {0};
	if (count > SELECT_MAX)
		return -EINVAL;
	uint64_t bytes = (count + 63) / 64 * 8;
	for (int k = 0; k < 3; k++) {
		if (app_set[k] && !mm_app_range(app_set[k], bytes))
			return -EFAULT;
		if (app_set[k])
			memcpy(set[k], (const void *)app_set[k], bytes);
	}
	struct marshal m = marshal_begin(t);
	uint64_t at = marshal_room(&m, count * sizeof(struct pollfd)), n = 0;
	for (uint64_t fd = 0; fd < count; fd++) {
		struct pollfd p = {.fd = (int)fd};
		for (int k = 0; k < 3; k++)
			if (set[k][fd / 64] >> (fd % 64) & 1)
				p.events |= select_events[k];
		if (p.events)
			host_copy_out(at + n++ * sizeof p, &p, sizeof p);
	}
	int64_t rc = poll_out(t, at, n, false);
	if (rc < 0)
		return rc;
	uint64_t got[3][SELECT_MAX / 64] = {0};
	int64_t total = 0;
	uint64_t next = 0;
	for (uint64_t fd = 0; fd < count && next < n; fd++) {
		short asked = 0;
		for (int k = 0; k < 3; k++)
			if (set[k][fd / 64] >> (fd % 64) & 1)
				asked |= select_events[k];
		if (!asked)
			continue;
		struct pollfd p;
		host_copy_in(&p, at + next++ * sizeof p, sizeof p);
		if (p.revents & POLLNVAL)
			return -EBADF;
		for (int k = 0; k < 3; k++)
			if (set[k][fd / 64] >> (fd % 64) & 1 && p.revents & select_ready[k]) {
				got[k][fd / 64] |= 1ull << (fd % 64);
				total++;
			}
	}
	for (int k = 0; k < 3; k++)
		if (app_set[k]) {
			memcpy((void *)app_set[k], got[k], bytes);
			marks_set(app_set[k], bytes);
		}
	return total;
}

static int64_t do_epoll_wait(struct thread *t, const uint64_t a[6])
{
	struct marshal m = marshal_begin(t);
	int64_t most = (int)a[2];
	if (most <= 0)
		return -EINVAL;
	if (most > POLL_MAX)
		most = POLL_MAX;
	if (!mm_app_range(a[1], (uint64_t)most * EPOLL_EVENT_SIZE))
		return -EFAULT;
	uint64_t at = marshal_room(&m, (uint64_t)most * EPOLL_EVENT_SIZE);
	for (bool again = false;; again = true) {
		int64_t rc = wait_out(t, SYS_epoll_wait, (uint64_t[6]){a[0], at, (uint64_t)most}, 3, again), found = 0;
		if (rc > most || rc < -4095)
			return -EIO;
		if (rc < 0)
			return rc;
		uint64_t answer = interest_answer();
		for (int64_t i = 0; i < rc; i++) {
			struct epoll_event event;
			host_copy_in(&event, at + (uint64_t)i * EPOLL_EVENT_SIZE, sizeof event);
			uint32_t events = event.events;
			uint64_t data = event.data.u64;
			if (!interest_event((int)a[0], answer, &events, &data))
				continue;
			event = (struct epoll_event){.events = events, .data.u64 = data};
			memcpy((void *)(a[1] + (uint64_t)found++ * EPOLL_EVENT_SIZE), &event, sizeof event);
		}
		marks_set(a[1], (uint64_t)found * EPOLL_EVENT_SIZE);
		if (found || clock_mono_ns() >= t->ctx.deadline_ns)
			return found;
	}
}

/* With another signal mask until it is over, which its own -EINTR hands to the handler's frame. */
static int64_t masked(struct thread *t, uint64_t app_mask, int64_t (*wait)(struct thread *t, const uint64_t a[6]),
		      const uint64_t a[6])
{
	if (!app_mask)
		return wait(t, a);
	int64_t rc = signal_mask_for(t, app_mask);
	if (rc < 0)
		return rc;
	rc = wait(t, a);
	if (rc != -EINTR)
		signal_mask_back(t);
	return rc;
}

static int64_t poll_masked(struct thread *t, const uint64_t a[6])
{
	return do_poll(t, a[0], a[1]);
}

static int64_t select_masked(struct thread *t, const uint64_t a[6])
{
	return do_select(t, a[0], a + 1);
}

/* pselect6's sixth argument points at the mask's address and size. */
static int64_t pselect_mask(uint64_t app, uint64_t *mask)
{
	*mask = 0;
	if (!app)
		return 0;
	if (!mm_app_range(app, 16))
		return -EFAULT;
	memcpy(mask, (const void *)app, 8);
	return 0;
}

int64_t waits_call(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	int64_t rc = 0;
	uint64_t mask;
	switch (nr) {
	case SYS_poll:
		deadline_from_ms(t, (int)a[2]);
		return do_poll(t, a[0], a[1]);
	case SYS_ppoll:
		rc = deadline_from_pair(t, a[2], 1);
		return rc < 0 ? rc : masked(t, a[3], poll_masked, a);
	case SYS_select:
		rc = deadline_from_pair(t, a[4], 1000);
		return rc < 0 ? rc : do_select(t, a[0], a + 1);
	case SYS_pselect6:
		rc = deadline_from_pair(t, a[4], 1);
		if (rc == 0)
			rc = pselect_mask(a[5], &mask);
		return rc < 0 ? rc : masked(t, mask, select_masked, a);
	case SYS_epoll_pwait2:
		rc = deadline_from_pair(t, a[3], 1);
		return rc < 0 ? rc : masked(t, a[4], do_epoll_wait, a);
	case SYS_epoll_pwait:
		deadline_from_ms(t, (int)a[3]);
		return masked(t, a[4], do_epoll_wait, a);
	default:
		deadline_from_ms(t, (int)a[3]);
		return do_epoll_wait(t, a);
	}
}
