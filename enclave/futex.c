/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <time.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/futex.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/spin.h"
#include "enclave/thread.h"

#define BUCKETS 256

static struct bucket {
	struct spin lock; /* protects the list and its members' futex_* fields */
	struct thread *first;
} bucket[BUCKETS];

static struct bucket *bucket_of(uint64_t addr)
{
	return &bucket[(addr >> 2) * 0x9e3779b97f4a7c15ull >> 56];
}

static void enqueue(struct bucket *b, struct thread *t)
{
	struct thread **p = &b->first;
	while (*p)
		p = &(*p)->futex_next;
	t->futex_next = NULL;
	__atomic_store_n(&t->futex_queued, 1, __ATOMIC_RELEASE);
	*p = t;
}

static void unlink_at(struct thread **p)
{
	struct thread *t = *p;
	*p = t->futex_next;
	t->futex_next = NULL;
}

/* Was it woken? If not it is taken out of whatever queue it is in: a requeue may have moved it. */
static bool dequeue(struct thread *t)
{
	for (;;) {
		if (!__atomic_load_n(&t->futex_queued, __ATOMIC_ACQUIRE))
			return true;
		uint64_t addr = __atomic_load_n(&t->futex_addr, __ATOMIC_ACQUIRE);
		struct bucket *b = bucket_of(addr);
		spin_lock(&b->lock);
		for (struct thread **p = &b->first; *p; p = &(*p)->futex_next)
			if (*p == t) {
				unlink_at(p);
				__atomic_store_n(&t->futex_queued, 0, __ATOMIC_RELEASE);
				spin_unlock(&b->lock);
				return false;
			}
		spin_unlock(&b->lock);
	}
}

static int64_t futex_wait(struct thread *t, uint64_t addr, uint32_t value, uint32_t bitset)
{
	volatile uint32_t *word = (volatile uint32_t *)addr;
	/* Brings the page in before the lock is taken: a fault may take long. */
	(void)*word;
	struct bucket *b = bucket_of(addr);
	spin_lock(&b->lock);
	if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value) {
		spin_unlock(&b->lock);
		return -EAGAIN;
	}
	t->futex_bitset = bitset;
	__atomic_store_n(&t->futex_addr, addr, __ATOMIC_RELEASE);
	enqueue(b, t);
	spin_unlock(&b->lock);

	for (bool look_first = t->reissued;; look_first = false) {
		if (!look_first)
			ocall1(t, OCALL_WAIT, clock_to_host(t->ctx.deadline_ns));
		if (!__atomic_load_n(&t->futex_queued, __ATOMIC_ACQUIRE))
			return 0;
		if (call_must_park()) {
			if (dequeue(t))
				return 0;
			call_park_again(t);
		}
		if (call_must_signal(t)) {
			if (dequeue(t))
				return 0;
			t->restartable = t->ctx.deadline_ns == ~0ull;
			return -EINTR;
		}
		if (t->ctx.deadline_ns != ~0ull && clock_mono_ns() >= t->ctx.deadline_ns)
			return dequeue(t) ? 0 : -ETIMEDOUT;
	}
}

/* Wakes up to wake waiters of addr, moves up to move others to addr2, if addr still holds *expected. Returns how
 * many it touched. */
static int64_t wake_and_move(uint64_t addr, uint32_t wake, uint32_t bitset, uint64_t addr2, uint32_t move,
			     const uint32_t *expected)
{
	/* The slots to wake once no lock is held. */
	uint16_t woken[64];
	int64_t total = 0;
	bool more = true;
	if (addr2 == addr)
		move = 0; /* they would be met again and again */
	if (expected)
		(void)*(volatile uint32_t *)addr; /* brings the page in before the lock is taken */
	while (more) {
		unsigned n = 0;
		struct bucket *b = bucket_of(addr), *b2 = bucket_of(addr2);
		struct bucket *low = b < b2 ? b : b2, *high = b < b2 ? b2 : b;
		spin_lock(&low->lock);
		if (high != low)
			spin_lock(&high->lock);
		if (expected && __atomic_load_n((uint32_t *)addr, __ATOMIC_SEQ_CST) != *expected) {
			if (high != low)
				spin_unlock(&high->lock);
			spin_unlock(&low->lock);
			return total ? total : -EAGAIN;
		}
		more = false;
		for (struct thread **p = &b->first; *p;) {
			struct thread *w = *p;
			if (w->futex_addr != addr || !(w->futex_bitset & bitset)) {
				p = &w->futex_next;
				continue;
			}
			if (wake > 0) {
				if (n == sizeof woken / sizeof woken[0]) {
					more = true;
					break;
				}
				unlink_at(p);
				woken[n++] = (uint16_t)w->slot;
				__atomic_store_n(&w->futex_queued, 0, __ATOMIC_RELEASE);
				wake--;
			} else if (move > 0) {
				unlink_at(p);
				__atomic_store_n(&w->futex_addr, addr2, __ATOMIC_RELEASE);
				enqueue(b2, w);
				move--;
			} else {
				break;
			}
			total++;
		}
		if (high != low)
			spin_unlock(&high->lock);
		spin_unlock(&low->lock);
		struct thread *self = thread_self();
		for (unsigned i = 0; i < n; i++)
			ocall1(self, OCALL_WAKE, woken[i]);
	}
	return total;
}

int64_t futex_wake(uint64_t addr, uint32_t count, uint32_t bitset)
{
	return wake_and_move(addr, count, bitset, addr, 0, NULL);
}

/* The deadline is worked out once: a wait issued again keeps what remains of its time. */
static int64_t set_deadline(struct thread *t, uint64_t timespec, bool absolute, bool realtime)
{
	if (t->ctx.deadline_ns)
		return 0;
	if (!timespec) {
		t->ctx.deadline_ns = ~0ull;
		return 0;
	}
	if (!mm_app_range(timespec, 16))
		return -EFAULT;
	int64_t ts[2];
	memcpy(ts, (void *)timespec, sizeof ts);
	if (ts[0] < 0 || ts[1] < 0 || ts[1] >= 1000000000)
		return -EINVAL;
	uint64_t ns = ts[0] > LLONG_MAX / 2000000000 ? ~0ull / 4 : (uint64_t)ts[0] * 1000000000 + (uint64_t)ts[1];
	uint64_t now = clock_mono_ns();
	if (absolute && realtime) {
		uint64_t real = clock_real_ns();
		ns = ns > real ? ns - real : 0;
		absolute = false;
	}
	t->ctx.deadline_ns = absolute ? ns + !ns : now + ns;
	return 0;
}

int64_t futex_call(struct thread *t, const uint64_t arg[6])
{
	uint64_t addr = arg[0];
	uint32_t op = (uint32_t)arg[1], value = (uint32_t)arg[2];
	int64_t rc;
	if (addr & 3)
		return -EINVAL;
	if (!mm_app_range(addr, 4))
		return -EFAULT;
	switch (op & (uint32_t)FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
		rc = set_deadline(t, arg[3], false, false);
		return rc < 0 ? rc : futex_wait(t, addr, value, ~0u);
	case FUTEX_WAIT_BITSET:
		if (!(uint32_t)arg[5])
			return -EINVAL;
		rc = set_deadline(t, arg[3], true, op & FUTEX_CLOCK_REALTIME);
		return rc < 0 ? rc : futex_wait(t, addr, value, (uint32_t)arg[5]);
	case FUTEX_WAKE:
		return futex_wake(addr, value, ~0u);
	case FUTEX_WAKE_BITSET:
		return (uint32_t)arg[5] ? futex_wake(addr, value, (uint32_t)arg[5]) : -EINVAL;
	case FUTEX_CMP_REQUEUE:
	case FUTEX_REQUEUE: {
		uint32_t expected = (uint32_t)arg[5];
		bool compare = (op & (uint32_t)FUTEX_CMD_MASK) == FUTEX_CMP_REQUEUE;
		if (!mm_app_range(arg[4], 4) || arg[4] & 3)
			return -EFAULT;
		return wake_and_move(addr, value, ~0u, arg[4], (uint32_t)arg[3], compare ? &expected : NULL);
	}
	default:
		return -ENOSYS;
	}
}
