/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots, and the life of a thread in one.
 */
#include <errno.h>
#include <limits.h>
#include "enclave/clock.h"
#include "enclave/futex.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/spin.h"
#include "enclave/thread.h"

/* entry.S */
_Static_assert(offsetof(struct thread, stack_top) == 0x10, "entry.S");
_Static_assert(offsetof(struct thread, ocall_rsp) == 0x20, "entry.S");
_Static_assert(offsetof(struct thread, canary) == 0x28, "stack protector");
_Static_assert(offsetof(struct thread, host_rsp) == 0x30, "entry.S");
_Static_assert(offsetof(struct thread, fault_rsp) == 0x48, "entry.S");
_Static_assert(offsetof(struct thread, saved_fs) == 0x60, "entry.S");
_Static_assert(offsetof(struct thread, ctx) == 0x70, "entry.S");
_Static_assert(offsetof(struct thread, ctx.mxcsr) == 0x74, "entry.S");
_Static_assert(offsetof(struct thread, ctx.rsp) == 0x80, "entry.S");
_Static_assert(offsetof(struct thread, ctx.fs) == 0x88, "entry.S");
_Static_assert(THREAD_STRIDE == 1 << 18, "entry.S");

static struct spin leaving_lock; /* threads leave one after the other */
static uint32_t last_tid = 1;  /* the main thread's is the process id, 1 */

int thread_alloc(struct thread **out)
{
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		struct thread *t = thread_of_slot(i);
		uint32_t none = THREAD_FREE;
		/* A host thread held on its way in since before the program came here may want it, too. */
		if (!__atomic_compare_exchange_n(&t->state, &none, THREAD_TAKEN, false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST))
			continue;
		t->slot = i;
		t->signal_pending = 0;
		t->reissued = t->restartable = false;
		*out = t;
		return 0;
	}
	return -EAGAIN;
}

uint32_t thread_new_tid(void)
{
	return __atomic_add_fetch(&last_tid, 1, __ATOMIC_RELAXED);
}

uint32_t thread_last_tid(uint32_t at_least)
{
	if (at_least > __atomic_load_n(&last_tid, __ATOMIC_RELAXED))
		__atomic_store_n(&last_tid, at_least, __ATOMIC_RELAXED);
	return __atomic_load_n(&last_tid, __ATOMIC_RELAXED);
}

unsigned threads_alive(void)
{
	unsigned n = 0;
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		const struct thread *t = thread_of_slot(i);
		uint32_t s = __atomic_load_n(&t->state, __ATOMIC_ACQUIRE);
		/* one that has moved here counts before its host thread has brought it in */
		n += s == THREAD_READY || s == THREAD_RUNNING || s == THREAD_PARKED ||
		     (s == THREAD_STANDBY && t->ctx.kind != CONTEXT_NONE);
	}
	return n;
}

void thread_release(struct thread *t)
{
	rt_wipe(&t->ctx, sizeof t->ctx);
	t->area = 0;
	__atomic_store_n(&t->state, THREAD_FREE, __ATOMIC_SEQ_CST);
}

_Noreturn void thread_exit(struct thread *t)
{
	uint64_t ctid = t->ctx.clear_tid;
	if (ctid && mm_app_range(ctid, 4)) {
		__atomic_store_n((uint32_t *)ctid, 0, __ATOMIC_SEQ_CST);
		marks_set(ctid, 4);
		futex_wake(ctid, INT_MAX, ~0u);
	}
	/* Under the lock: of two that leave at once, one is the last. */
	spin_lock(&leaving_lock);
	bool last = threads_alive() == 1;
	if (!last)
		thread_release(t);
	spin_unlock(&leaving_lock);
	if (last) {
		ocall1(t, OCALL_EXIT, 0); /* its exit is the program's */
		rt_die(FATAL_BAD_ENTRY, "the host came back after exit");
	}
	final_exit(EEXIT_DONE, 0, 0);
}

_Noreturn void thread_enter(struct thread *t, uint64_t u_area, uint64_t size)
{
	if (t->slot < THREAD_SLOTS_SERVICE || size < CALL_AREA_SIZE || u_area & (PAGE_SIZE - 1) ||
	    !host_range_ok(u_area, CALL_AREA_SIZE))
		final_exit(EEXIT_FATAL, FATAL_BAD_ENTRY, 0);
	uint32_t ready = THREAD_READY, none = THREAD_FREE;
	/* A destination's threads are ready before it may run: not a moment too soon. */
	if (!state_is_destination() &&
	    __atomic_compare_exchange_n(&t->state, &ready, THREAD_RUNNING, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST)) {
		t->area = u_area;
		if (stop_word() & STOP_MOVE)
			park(t);
		thread_resume(t);
	}
	if (state_is_destination() && __atomic_compare_exchange_n(&t->state, &none, THREAD_STANDBY, false,
								  __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		t->area = u_area;
		park(t);
	}
	final_exit(EEXIT_FATAL, FATAL_BAD_ENTRY, 0);
}
