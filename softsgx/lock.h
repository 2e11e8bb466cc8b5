/* SPDX-License-Identifier: Apache-2.0
 *
 * A futex mutex that may lie in memory shared between processes and may be taken
 * in a signal handler. Whoever takes one outside a handler has all signals
 * blocked (signals_off): a handler must never wait for the thread it interrupted.
 */
#ifndef SOFTSGX_LOCK_H
#define SOFTSGX_LOCK_H

#include <linux/futex.h>
#include <signal.h>
#include "softsgx/sys.h"

struct lock {
	uint32_t word; /* 0 free, 1 taken, 2 taken and waited for */
};

static inline void lock_take(struct lock *lock)
{
	uint32_t seen = 0;

	if (__atomic_compare_exchange_n(&lock->word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	for (int spin = 0; spin < 100; spin++) {
		seen = 0;
		if (__atomic_compare_exchange_n(&lock->word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		__builtin_ia32_pause();
	}
	while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE))
		SYS(SYS_futex, &lock->word, FUTEX_WAIT, 2, 0, 0, 0);
}

static inline void lock_drop(struct lock *lock)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		SYS(SYS_futex, &lock->word, FUTEX_WAKE, 1, 0, 0, 0);
}

static inline uint64_t signals_off(void)
{
	uint64_t all = ~0ull, old;

	SYS(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(old));
	return old;
}

static inline void signals_restore(uint64_t old)
{
	SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));
}

#endif
