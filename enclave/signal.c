/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/thread.h"

#define SIGNALS 64
#define BIT(signum) (1ull << ((signum)-1))
/* musl's: a thread that is cancelled must come out of its call, whatever SA_RESTART says */
#define SIGNAL_CANCEL 33
#define UNBLOCKABLE (BIT(SIGKILL) | BIT(SIGSTOP))
#define IGNORED_BY_DEFAULT (BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGCONT) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU))

/* The kernel's struct sigaction, as musl passes it. */
struct action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

static struct action action[SIGNALS + 1]; /* changed by whole words only; a torn read is a racing program's own */
static uint64_t process_pending;

/* On the application's stack while its handler runs. */
struct frame {
	struct context saved;
	uint8_t siginfo[128];
	uint8_t ucontext[968]; /* only its signal mask means something: a handler may change it */
};

#define UCONTEXT_SIGMASK 296
static uint64_t *frame_mask(struct frame *f)
{
	return (uint64_t *)(f->ucontext + UCONTEXT_SIGMASK);
}

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static bool ignored(int signum)
{
	uint64_t h = action[signum].handler;
	return h == (uint64_t)SIG_IGN || (h == (uint64_t)SIG_DFL && IGNORED_BY_DEFAULT & BIT(signum));
}

bool signal_deliverable(struct thread *t)
{
	return (load(&process_pending) | load(&t->signal_pending)) & ~t->ctx.signal_mask;
}

bool signal_restarts(struct thread *t)
{
	uint64_t due = (load(&process_pending) | load(&t->signal_pending)) & ~t->ctx.signal_mask;
	int signum = due ? __builtin_ctzll(due) + 1 : 0;
	return due && signum != SIGNAL_CANCEL && action[signum].flags & SA_RESTART;
}

/* The stop word's signal bit: set while some thread could take something. Pending is written before the
 * bit is set, the bit is cleared before pending is read: never lost. */
static void word_update(void)
{
	stop_signal(false);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		struct thread *t = thread_of_slot(i);
		if (__atomic_load_n(&t->state, __ATOMIC_SEQ_CST) == THREAD_RUNNING && signal_deliverable(t)) {
			stop_signal(true);
			return;
		}
	}
}

static int take(struct thread *t)
{
	for (int s = 1; s <= SIGNALS; s++) {
		if (t->ctx.signal_mask & BIT(s))
			continue;
		if (__atomic_fetch_and(&t->signal_pending, ~BIT(s), __ATOMIC_SEQ_CST) & BIT(s))
			return s;
		if (__atomic_fetch_and(&process_pending, ~BIT(s), __ATOMIC_SEQ_CST) & BIT(s))
			return s;
	}
	return 0;
}

_Noreturn void signal_deliver(struct thread *t)
{
	int signum = take(t);
	word_update();
	if (t->ctx.in_sigsuspend) {
		t->ctx.in_sigsuspend = 0;
	} else {
		t->ctx.sigsuspend_mask = t->ctx.signal_mask;
	}
	if (signum == 0 || ignored(signum)) {
		t->ctx.signal_mask = t->ctx.sigsuspend_mask;
		thread_resume(t);
	}
	struct action a = action[signum];
	if (a.handler == (uint64_t)SIG_DFL) {
		ocall1(t, OCALL_SIGNAL_SELF, (uint64_t)signum);
		rt_die(FATAL_BAD_ENTRY, "the host came back after a deadly signal");
	}
	bool on_alt = t->ctx.outer_rsp != 0;
	uint64_t sp = t->ctx.rsp - 128;
	if (a.flags & SA_ONSTACK && t->ctx.altstack_size && !on_alt)
		sp = t->ctx.altstack + t->ctx.altstack_size;
	sp = (sp - sizeof(struct frame)) & ~15ull;
	struct frame *f = (struct frame *)sp;
	memset(f, 0, sizeof *f);
	f->saved = t->ctx;
	*frame_mask(f) = t->ctx.sigsuspend_mask;
	((int32_t *)f->siginfo)[0] = signum;
	if (a.flags & SA_RESETHAND)
		action[signum].handler = (uint64_t)SIG_DFL;
	if (a.flags & SA_ONSTACK && t->ctx.altstack_size && !on_alt)
		t->ctx.outer_rsp = t->ctx.rsp;
	t->ctx.signal_mask |= a.mask & ~UNBLOCKABLE;
	if (!(a.flags & SA_NODEFER))
		t->ctx.signal_mask |= BIT(signum);
	__asm__ volatile("wrfsbase %0" : : "r"(t->ctx.fs));
	context_signal(sp, a.handler, signum, (uint64_t)f->siginfo, (uint64_t)f->ucontext);
}

int64_t signal_return(struct thread *t, uint64_t frame)
{
	if (!mm_app_range(frame, sizeof(struct frame)))
		rt_die(FATAL_SEGV, "sigreturn without a signal frame");
	struct frame f = *(const struct frame *)frame;
	if (f.saved.kind != CONTEXT_DONE && f.saved.kind != CONTEXT_AGAIN && f.saved.kind != CONTEXT_SAFEPOINT)
		rt_die(FATAL_SEGV, "sigreturn with a damaged signal frame");
	/* What the handler may have changed for good stays. */
	f.saved.altstack = t->ctx.altstack;
	f.saved.altstack_size = t->ctx.altstack_size;
	f.saved.clear_tid = t->ctx.clear_tid;
	f.saved.tid = t->ctx.tid;
	f.saved.signal_mask = *frame_mask(&f) & ~UNBLOCKABLE;
	t->ctx = f.saved;
	word_update();
	if (call_must_park())
		park(t);
	thread_resume(t);
}

int64_t signal_action(struct thread *t, int signum, uint64_t app_new, uint64_t app_old)
{
	if (signum < 1 || signum > SIGNALS || (app_new && UNBLOCKABLE & BIT(signum)))
		return -EINVAL;
	if ((app_new && !mm_app_range(app_new, sizeof(struct action))) ||
	    (app_old && !mm_app_range(app_old, sizeof(struct action))))
		return -EFAULT;
	struct action old = action[signum];
	if (app_new)
		memcpy(&action[signum], (const void *)app_new, sizeof(struct action));
	if (app_old) {
		memcpy((void *)app_old, &old, sizeof old);
		marks_set(app_old, sizeof old);
	}
	return 0;
}

int64_t signal_procmask(struct thread *t, int how, uint64_t app_set, uint64_t app_old)
{
	uint64_t old = t->ctx.signal_mask;
	if ((app_set && !mm_app_range(app_set, 8)) || (app_old && !mm_app_range(app_old, 8)))
		return -EFAULT;
	if (app_set) {
		uint64_t set = *(const uint64_t *)app_set & ~UNBLOCKABLE;
		if (how == SIG_BLOCK)
			t->ctx.signal_mask = old | set;
		else if (how == SIG_UNBLOCK)
			t->ctx.signal_mask = old & ~set;
		else if (how == SIG_SETMASK)
			t->ctx.signal_mask = set;
		else
			return -EINVAL;
	}
	if (app_old) {
		*(uint64_t *)app_old = old;
		marks_set(app_old, 8);
	}
	return 0;
}

int64_t signal_pending_call(struct thread *t, uint64_t app_set)
{
	if (!mm_app_range(app_set, 8))
		return -EFAULT;
	*(uint64_t *)app_set = (load(&process_pending) | load(&t->signal_pending)) & t->ctx.signal_mask;
	marks_set(app_set, 8);
	return 0;
}

static int64_t wait_for_signal(struct thread *t)
{
	for (;;) {
		if (call_must_signal(t))
			return -EINTR;
		if (call_must_park())
			call_park_again(t);
		ocall1(t, OCALL_WAIT, ~0ull);
	}
}

int64_t signal_suspend(struct thread *t, uint64_t app_set)
{
	if (!mm_app_range(app_set, 8))
		return -EFAULT;
	if (!t->ctx.in_sigsuspend) {
		t->ctx.in_sigsuspend = 1;
		t->ctx.sigsuspend_mask = t->ctx.signal_mask;
		t->ctx.signal_mask = *(const uint64_t *)app_set & ~UNBLOCKABLE;
	}
	return wait_for_signal(t);
}

int64_t signal_pause(struct thread *t)
{
	return wait_for_signal(t);
}

int64_t signal_altstack(struct thread *t, uint64_t app_new, uint64_t app_old)
{
	uint64_t s[3];
	if ((app_new && !mm_app_range(app_new, sizeof s)) || (app_old && !mm_app_range(app_old, sizeof s)))
		return -EFAULT;
	if (app_old) {
		uint64_t o[3] = {t->ctx.altstack, t->ctx.altstack_size ? 0 : SS_DISABLE, t->ctx.altstack_size};
		memcpy((void *)app_old, o, sizeof o);
		marks_set(app_old, sizeof o);
	}
	if (app_new) {
		if (t->ctx.outer_rsp)
			return -EPERM;
		memcpy(s, (const void *)app_new, sizeof s);
		if ((uint32_t)s[1] & SS_DISABLE)
			s[0] = s[2] = 0;
		else if (!mm_app_range(s[0], s[2]) || s[2] < 2048)
			return -ENOMEM;
		t->ctx.altstack = s[0];
		t->ctx.altstack_size = s[2];
	}
	return 0;
}

static bool takes(const struct thread *t, int signum)
{
	uint32_t state = __atomic_load_n(&t->state, __ATOMIC_SEQ_CST);
	return (state == THREAD_RUNNING || state == THREAD_PARKED) && !(t->ctx.signal_mask & BIT(signum));
}

int64_t signal_from_host(int signum)
{
	if (signum < 1 || signum > SIGNALS)
		return -EINVAL;
	if (ignored(signum))
		return -1;
	__atomic_fetch_or(&process_pending, BIT(signum), __ATOMIC_SEQ_CST);
	stop_signal(true);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++)
		if (takes(thread_of_slot(i), signum))
			return i;
	return -1;
}

int64_t signal_send(struct thread *t, int signum)
{
	if (signum == 0)
		return 0;
	int64_t slot = signal_from_host(signum);
	if (slot == -EINVAL)
		return -EINVAL;
	if (slot >= 0 && (uint64_t)slot != t->slot)
		ocall(t, OCALL_WAKE, 0, (const uint64_t[6]){(uint64_t)slot, 1}, NULL);
	return 0;
}

int64_t signal_thread(struct thread *t, uint32_t tid, int signum)
{
	if (signum < 0 || signum > SIGNALS)
		return -EINVAL;
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		struct thread *to = thread_of_slot(i);
		uint32_t state = __atomic_load_n(&to->state, __ATOMIC_SEQ_CST);
		if (state == THREAD_FREE || to->ctx.kind == CONTEXT_NONE || to->ctx.tid != tid)
			continue;
		if (signum == 0 || ignored(signum))
			return 0;
		__atomic_fetch_or(&to->signal_pending, BIT(signum), __ATOMIC_SEQ_CST);
		stop_signal(true);
		if (to != t && takes(to, signum))
			ocall(t, OCALL_WAKE, 0, (const uint64_t[6]){i, 1}, NULL);
		return 0;
	}
	return -ESRCH;
}

void signal_sigpipe(struct thread *t)
{
	if (!ignored(SIGPIPE))
		__atomic_fetch_or(&t->signal_pending, BIT(SIGPIPE), __ATOMIC_SEQ_CST);
}

void signal_export(struct writer *w)
{
	put_bytes(w, action, sizeof action);
	put_u64(w, load(&process_pending));
}

void signal_import(struct reader *r)
{
	get_bytes(r, action, sizeof action);
	process_pending = get_u64(r);
	if (process_pending)
		stop_signal(true);
}
