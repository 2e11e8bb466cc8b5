/* SPDX-License-Identifier: Apache-2.0
 *
 * Stopping all threads, and the one way they go on.
 *
 * A thread and the stopper never miss each other: each writes its own word (the
 * thread's state, the stop word), then reads the other's, both with sequentially
 * consistent order. Application code runs only in state RUNNING and only after
 * the stop word was seen clear in that state.
 *
 *   RUNNING --stop word seen--> PARKED --host unparks, no stop--> RUNNING
 *   phase:   LIVE --stop_commit()--> COMMITTED (for good)
 *   destination: STANDBY --state_go()--> RUNNING, in the context that came
 */
#include <errno.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/files.h"
#include "enclave/limits.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/start.h"
#include "enclave/thread.h"
#include "enclave/timer.h"
#include "enclave/wire.h"

enum phase { PHASE_FRESH, PHASE_LIVE, PHASE_DESTINATION, PHASE_COMMITTED };
static uint32_t phase;

static bool phase_move(uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&phase, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static uint32_t phase_now(void)
{
	return __atomic_load_n(&phase, __ATOMIC_SEQ_CST);
}

bool state_is_fresh(void)
{
	return phase_now() == PHASE_FRESH;
}

bool state_is_destination(void)
{
	return phase_now() == PHASE_DESTINATION;
}

int state_become_live(void)
{
	return phase_move(PHASE_FRESH, PHASE_LIVE) ? 0 : -EBUSY;
}

int state_become_destination(void)
{
	if (!phase_move(PHASE_FRESH, PHASE_DESTINATION))
		return -EBUSY;
	/* So that state_go() meets none of these pages for the first time (mm_touch_image()). */
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++)
		(void)__atomic_load_n(&thread_of_slot(i)->state, __ATOMIC_RELAXED);
	return 0;
}

/* ---- threads ---- */

static void resume_on_private_stack(struct thread *t)
{
	struct context *c = &t->ctx;
	__asm__ volatile("wrfsbase %0" : : "r"(c->fs));
	__asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(c->mxcsr), "m"(c->fcw));
	signal_word_update(); /* something may be pending for this thread since it parked */
	switch (c->kind) {
	case CONTEXT_START:
		context_start(c->rsp, c->call[0], c->call[1]);
	case CONTEXT_ENTRY:
		context_entry(c->rsp, c->call[0]);
	case CONTEXT_AGAIN: {
		t->reissued = true;
		int64_t rc = gate_answer(t);
		context_return(t->ctx.rsp, rc);
	}
	case CONTEXT_DONE:
	case CONTEXT_SAFEPOINT:
		if (signal_deliverable(t))
			signal_deliver(t);
		signal_mask_back(t);
		if (c->kind == CONTEXT_DONE)
			context_return(c->rsp, c->result);
		context_safepoint(c->rsp);
	default:
		rt_die(FATAL_INTERNAL, "a thread without a context was resumed");
	}
}

_Noreturn void thread_resume(struct thread *t)
{
	private_stack_call(resume_on_private_stack, t);
}

static void park_on_private_stack(struct thread *t)
{
	bool standby = __atomic_load_n(&t->state, __ATOMIC_SEQ_CST) == THREAD_STANDBY;
	for (;;) {
		if (!standby)
			__atomic_store_n(&t->state, THREAD_PARKED, __ATOMIC_SEQ_CST);
		ocall1(t, OCALL_PARK, 0);
		if (phase_now() == PHASE_COMMITTED)
			final_exit(EEXIT_FATAL, FATAL_MOVED, 0);
		if (standby) {
			if (phase_now() != PHASE_LIVE)
				continue;
			if (t->ctx.kind == CONTEXT_NONE) {
				/* Nothing came for this slot. */
				t->area = 0;
				__atomic_store_n(&t->state, THREAD_FREE, __ATOMIC_SEQ_CST);
				final_exit(EEXIT_DONE, 0, 0);
			}
			standby = false;
		}
		__atomic_store_n(&t->state, THREAD_RUNNING, __ATOMIC_SEQ_CST);
		if (!(stop_word() & STOP_MOVE))
			thread_resume(t);
	}
}

_Noreturn void park(struct thread *t)
{
	private_stack_call(park_on_private_stack, t);
}

/* ---- the stopper ---- */

static void stop_word_change(uint8_t set, uint8_t clear)
{
	if (set)
		__atomic_fetch_or((uint8_t *)STOP_WORD, set, __ATOMIC_SEQ_CST);
	if (clear)
		__atomic_fetch_and((uint8_t *)STOP_WORD, (uint8_t)~clear, __ATOMIC_SEQ_CST);
}

void stop_signal(bool on)
{
	stop_word_change(on ? STOP_SIGNAL : 0, on ? 0 : STOP_SIGNAL);
}

/*
 * Application code tests the track word behind its stores, and marks them if it is set. The processor may do
 * that test before others see the store, so a page could be read before a store that is not marked reaches it.
 * Not any more once the thread has passed a fence: at a safepoint (tracking_seen), or in an ocall, which it was
 * seen in after its stores and leaves by a fence (entry.S).
 */
static uint32_t tracking; /* odd: on */
static bool tracking_complete;

void tracking_seen(struct thread *t)
{
	__atomic_store_n(&t->tracking, __atomic_load_n(&tracking, __ATOMIC_SEQ_CST), __ATOMIC_SEQ_CST);
}

static bool tracks(struct thread *t, uint32_t now)
{
	if (__atomic_load_n(&t->state, __ATOMIC_SEQ_CST) == THREAD_RUNNING &&
	    __atomic_load_n(&t->tracking, __ATOMIC_SEQ_CST) != now &&
	    __atomic_load_n(&t->ocall_rsp, __ATOMIC_SEQ_CST) == 0)
		return false;
	/* what it does from now on is marked, so it need not be seen again */
	__atomic_store_n(&t->tracking, now, __ATOMIC_SEQ_CST);
	return true;
}

unsigned tracking_begin(void)
{
	unsigned missing = 0;
	if (!(tracking & 1)) {
		__atomic_store_n(&tracking, tracking + 1, __ATOMIC_SEQ_CST);
		__atomic_store_n((uint8_t *)TRACK_WORD, 1, __ATOMIC_SEQ_CST);
		stop_word_change(STOP_TRACK, 0);
	}
	if (tracking_complete)
		return 0;
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++)
		missing += !tracks(thread_of_slot(i), tracking);
	if (missing == 0) {
		tracking_complete = true;
		stop_word_change(0, STOP_TRACK);
	}
	return missing;
}

void tracking_end(void)
{
	if (!(tracking & 1))
		return;
	__atomic_store_n((uint8_t *)TRACK_WORD, 0, __ATOMIC_SEQ_CST);
	stop_word_change(0, STOP_TRACK);
	tracking_complete = false;
	__atomic_store_n(&tracking, tracking + 1, __ATOMIC_SEQ_CST);
}

void stop_begin(void)
{
	stop_word_change(STOP_MOVE, 0);
}

unsigned stop_pending(void)
{
	unsigned running = 0;
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++)
		running += __atomic_load_n(&thread_of_slot(i)->state, __ATOMIC_SEQ_CST) == THREAD_RUNNING;
	return running;
}

void stop_undo(void)
{
	if (phase_now() == PHASE_LIVE)
		stop_word_change(0, STOP_MOVE);
}

int stop_commit(void)
{
	if (phase_now() == PHASE_COMMITTED)
		return -EALREADY;
	if (rt_dead())
		return -EIO;
	/* The stop word stays set: a thread that is woken behind our back parks again before it runs. */
	if (!(stop_word() & STOP_MOVE) || stop_pending())
		return -EBUSY;
	return phase_move(PHASE_LIVE, PHASE_COMMITTED) ? 0 : -EBUSY;
}

int stop_uncommit(void)
{
	if (!phase_move(PHASE_COMMITTED, PHASE_LIVE))
		return -EINVAL;
	stop_undo();
	return 0;
}

static void add_range(void (*add)(void *, uint64_t, uint64_t), void *ctx, uint64_t start, uint64_t end)
{
	if (start < end)
		add(ctx, start >> PAGE_SHIFT, ((end - 1) >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1);
}

/* Is there a thread in this slot? One that was moved here and waits for its host thread still is one. */
static bool has_context(const struct thread *t, uint32_t state)
{
	return state == THREAD_PARKED || state == THREAD_READY || state == THREAD_RUNNING ||
	       (state == THREAD_STANDBY && t->ctx.kind != CONTEXT_NONE);
}

/* struct pthread of musl is under a page, thread-local storage lies below it. */
#define THREAD_CONTROL_BLOCK 512

void stop_always_dirty(void (*add)(void *ctx, uint64_t page, uint64_t count), void *ctx)
{
	add_range(add, ctx, CONFIG->small.start, CONFIG->small.end);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		const struct thread *t = thread_of_slot(i);
		uint32_t state = __atomic_load_n(&t->state, __ATOMIC_SEQ_CST);
		if (!has_context(t, state))
			continue;
		uint64_t low = context_stack_low(&t->ctx);
		add_range(add, ctx, low - 128, t->ctx.stack_top);
		add_range(add, ctx, t->ctx.fs - CONFIG->tls_size, t->ctx.fs + THREAD_CONTROL_BLOCK);
		if (t->ctx.altstack_size)
			add_range(add, ctx, t->ctx.altstack, t->ctx.altstack + t->ctx.altstack_size);
	}
}

/* ---- what travels ---- */

long state_export(uint8_t *out, size_t capacity)
{
	struct writer w = {out, capacity, 0};
	clock_export(&w);
	timers_lock();
	signal_export(&w);
	timers_export(&w);
	timers_unlock();
	files_export(&w);
	limits_export(&w);
	put_u64(&w, thread_last_tid(0));
	uint64_t count = 0;
	size_t count_at = w.used;
	put_u64(&w, 0);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		const struct thread *t = thread_of_slot(i);
		uint32_t state = __atomic_load_n(&t->state, __ATOMIC_SEQ_CST);
		/* One that the host woke behind our back looks at the stop word just now, and parks again. */
		if (state == THREAD_RUNNING)
			return -EBUSY;
		if (!has_context(t, state))
			continue;
		put_u64(&w, i);
		put_u64(&w, t->signal_pending);
		put_bytes(&w, &t->ctx, sizeof t->ctx);
		count++;
	}
	if (w.used > w.capacity)
		return -ENOSPC;
	memcpy(out + count_at, &count, sizeof count);
	return (long)w.used;
}

size_t state_export_max(void)
{
	/* Counted, not guessed: with no room a writer only counts. */
	uint8_t none[1];
	struct writer w = {none, 0, 0};
	clock_export(&w);
	signal_export(&w);
	timers_export(&w);
	files_export(&w);
	limits_export(&w);
	size_t threads = CONFIG->thread_count * (sizeof(struct context) + 16) + 64;
	return w.used + threads;
}

static bool context_ok(const struct context *c)
{
	return c->kind >= CONTEXT_START && c->kind <= CONTEXT_ENTRY && mm_app_span(c->rsp - 4096, 4096) &&
	       (c->fs == 0 || mm_app_span(c->fs, 8));
}

int state_import(const uint8_t *in, size_t size)
{
	struct reader r = {in, size, 0, false};
	if (!state_is_destination())
		return -EBUSY;
	clock_import(&r);
	timers_lock(); /* a host may ask when to look while they come */
	signal_import(&r);
	timers_import(&r);
	timers_unlock();
	files_import(&r);
	limits_import(&r);
	uint64_t tid = get_u64(&r), count = get_u64(&r);
	if (r.bad || count > CONFIG->thread_count)
		return -EBADMSG;
	/* Two passes: look at everything, then apply. */
	struct reader first = r;
	uint64_t next = THREAD_SLOTS_SERVICE;
	for (uint64_t i = 0; i < count; i++) {
		struct context c;
		uint64_t slot = get_u64(&first);
		get_u64(&first);
		get_bytes(&first, &c, sizeof c);
		if (first.bad || slot < next || slot >= CONFIG->slot_count || !context_ok(&c))
			return -EBADMSG;
		next = slot + 1;
	}
	if (first.used != size)
		return -EBADMSG;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t slot = get_u64(&r);
		struct thread *t = thread_of_slot((unsigned)slot);
		t->slot = slot;
		t->signal_pending = get_u64(&r);
		get_bytes(&r, &t->ctx, sizeof t->ctx);
	}
	thread_last_tid((uint32_t)tid);
	return 0;
}

void state_slots(uint8_t *out)
{
	memset(out, 0, THREAD_SLOTS_MAX / 8);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++)
		if (thread_of_slot(i)->ctx.kind != CONTEXT_NONE)
			out[i / 8] |= (uint8_t)(1u << (i % 8));
}

void state_go(void)
{
	clock_go();
	/* Threads whose host thread has not come yet: it still may. */
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		struct thread *t = thread_of_slot(i);
		uint32_t none = THREAD_FREE;
		if (t->ctx.kind != CONTEXT_NONE)
			__atomic_compare_exchange_n(&t->state, &none, THREAD_READY, false, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST);
	}
	phase_move(PHASE_DESTINATION, PHASE_LIVE);
}
