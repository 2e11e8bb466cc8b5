/* SPDX-License-Identifier: Apache-2.0
 *
 * A spinlock for short, private sections. Never held while application memory
 * is touched or the enclave is left.
 */
#ifndef ENCLAVE_SPIN_H
#define ENCLAVE_SPIN_H

#include <stdint.h>

struct spin {
	uint32_t taken;
};

static inline void spin_lock(struct spin *s)
{
	while (__atomic_exchange_n(&s->taken, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(&s->taken, __ATOMIC_RELAXED))
			__asm__ volatile("pause");
}

static inline void spin_unlock(struct spin *s)
{
	__atomic_store_n(&s->taken, 0, __ATOMIC_RELEASE);
}

#endif
