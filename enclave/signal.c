/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/thread.h"
#include "enclave/timer.h"

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

/* What somebody outside may send: no exception (its handler would see one that never was, between any two instructions), no
 * signal of the C library's own, none that tells of what the runtime does itself. */
#define OUTSIDE_SIGNALS \
	(BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGTERM) | BIT(SIGUSR1) | BIT(SIGUSR2) | BIT(SIGWINCH) | BIT(SIGALRM) | \
	 BIT(SIGCHLD))

static struct action action[SIGNALS + 1]; /* changed by whole words only; a torn read is a racing program's own */
static uint64_t process_pending, sent_by_host; /* of those pending: not by this program itself */

/* On the application's stack while its handler runs. */
struct frame {
	struct context saved;
	uint8_t siginfo[128];
	uint8_t ucontext[968]; /* a handler may change the signal mask, and say where to go on; the rest means nothing */
};

#define UCONTEXT_SIGMASK 296
static uint64_t *frame_mask(struct frame *f)
{
	return (uint64_t *)(f->ucontext + UCONTEXT_SIGMASK);
}

/* The same for a fault: the ucontext is whole, and what the handler changes in it counts. */
#define XSAVE_SIZE 2816u
#define XSAVE_LEGACY 512u
struct fault_frame {
	struct frame frame;
	uint8_t xsave[XSAVE_SIZE];
};
#define UCONTEXT_GREGS 40
#define UCONTEXT_RIP (UCONTEXT_GREGS + 16 * 8)
#define UCONTEXT_FPREGS 224

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

/* What a thread has blocked, now or again once a wait with a mask of its own is over. */
static uint64_t blocked_by(const struct context *c)
{
	return c->signal_mask | (c->in_sigsuspend ? c->sigsuspend_mask : 0);
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

/* The stop word's signal bit: set while some thread could take something. Pending is written before the
 * bit is set, the bit is cleared before pending is read: never lost. */
void signal_word_update(void)
{
	if (!(stop_word() & STOP_SIGNAL) && !(load(&process_pending) | load(&thread_self()->signal_pending)))
		return;
	stop_signal(false);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		struct thread *t = thread_of_slot(i);
		if (__atomic_load_n(&t->state, __ATOMIC_SEQ_CST) == THREAD_RUNNING && signal_deliverable(t)) {
			stop_signal(true);
			return;
		}
	}
}

struct taken {
	int signum; /* 0: another thread was faster */
	int code;   /* SI_USER, SI_TKILL */
	bool outside;
	bool timed; /* a timer's, this one's */
	struct timer_rung rung;
};

static struct taken take_pending(struct thread *t, uint64_t set)
{
	uint64_t due;
	while ((due = (load(&process_pending) | load(&t->signal_pending)) & set)) {
		int s = __builtin_ctzll(due) + 1;
		if (__atomic_fetch_and(&t->signal_pending, ~BIT(s), __ATOMIC_SEQ_CST) & BIT(s))
			return (struct taken){.signum = s, .code = SI_TKILL};
		bool outside = load(&sent_by_host) & BIT(s);
		if (__atomic_fetch_and(&process_pending, ~BIT(s), __ATOMIC_SEQ_CST) & BIT(s))
			return (struct taken){.signum = s, .code = SI_USER, .outside = outside};
	}
	return (struct taken){0};
}

/* Takes one of set. Synchronous senders of this thread come before the process's. No timer rings in between: its
 * expiry would count as missed, and its signal be pending again. */
static struct taken take(struct thread *t, uint64_t set)
{
	timers_lock();
	struct taken s = take_pending(t, set);
	s.timed = s.signum && !s.outside && timer_raised(s.signum, t->ctx.tid, &s.rung);
	timers_unlock();
	return s;
}

/* What a handler or sigwaitinfo() learns: which timer, who of the program sent it, or somebody without a name here. */
static void fill_info(struct thread *t, uint8_t info[128], const struct taken *s)
{
	int32_t w[6] = {s->signum, 0, s->code, 0, s->outside ? 0 : 1, 0};
	if (s->timed) {
		w[2] = s->rung.code;
		w[4] = s->rung.code == SI_TIMER ? s->rung.id : 0;
		w[5] = s->rung.code == SI_TIMER ? s->rung.overrun : 0;
	}
	memset(info, 0, 128);
	memcpy(info, w, sizeof w);
	memcpy(info + sizeof w, &s->rung.value, sizeof s->rung.value);
}

int signal_take(struct thread *t, uint64_t set, uint8_t info[128])
{
	struct taken s = take(t, set & ~UNBLOCKABLE);
	if (s.signum) {
		fill_info(t, info, &s);
		signal_word_update();
	}
	return s.signum;
}

uint64_t signal_pending_anywhere(void)
{
	uint64_t pending = load(&process_pending);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++)
		if (thread_of_slot(i)->ctx.kind != CONTEXT_NONE)
			pending |= load(&thread_of_slot(i)->signal_pending);
	return pending;
}

/* Whether the handler of what came at rsp moves to the alternate stack. */
static bool moves_to_altstack(const struct context *c, const struct action *a, uint64_t rsp)
{
	return a->flags & SA_ONSTACK && c->altstack_size && !context_altstack_has(c, rsp);
}

/* What holds while the handler runs. What it interrupted, at rsp, is saved by now. */
static void handler_begins(struct context *c, const struct action *a, int signum, uint64_t rsp)
{
	if (a->flags & SA_RESETHAND)
		action[signum].handler = (uint64_t)SIG_DFL;
	if (moves_to_altstack(c, a, rsp))
		c->outer_rsp = rsp;
	c->signal_mask |= a->mask & ~UNBLOCKABLE;
	if (!(a->flags & SA_NODEFER))
		c->signal_mask |= BIT(signum);
}

_Noreturn void signal_deliver(struct thread *t)
{
	struct taken s = take(t, ~t->ctx.signal_mask);
	int signum = s.signum;
	signal_word_update();
	bool gave_way = t->ctx.kind == CONTEXT_DONE && t->ctx.result == -EINTR;
	if (signum == 0 || ignored(signum)) {
		if (gave_way) { /* for nothing */
			t->ctx.kind = CONTEXT_AGAIN;
			t->ctx.result = 0;
		}
		thread_resume(t);
	}
	struct action a = action[signum];
	/* The interrupted call fails, unless it may be issued again and its handler wants that. */
	if (gave_way && t->restartable && a.flags & SA_RESTART && signum != SIGNAL_CANCEL) {
		t->ctx.kind = CONTEXT_AGAIN;
		t->ctx.result = 0;
	}
	t->restartable = false;
	if (t->ctx.in_sigsuspend)
		t->ctx.in_sigsuspend = 0;
	else
		t->ctx.sigsuspend_mask = t->ctx.signal_mask;
	if (a.handler == (uint64_t)SIG_DFL) {
		ocall1(t, OCALL_SIGNAL_SELF, (uint64_t)signum);
		rt_die(FATAL_BAD_ENTRY, "the host came back after a deadly signal");
	}
	uint64_t sp = t->ctx.rsp - 128;
	if (moves_to_altstack(&t->ctx, &a, t->ctx.rsp))
		sp = t->ctx.altstack + t->ctx.altstack_size;
	sp = (sp - sizeof(struct frame)) & ~15ull;
	struct frame *f = (struct frame *)sp;
	memset(f, 0, sizeof *f);
	f->saved = t->ctx;
	*frame_mask(f) = t->ctx.sigsuspend_mask;
	fill_info(t, f->siginfo, &s);
	marks_set(sp, sizeof *f); /* not every stack is one that always counts as dirty */
	handler_begins(&t->ctx, &a, signum, t->ctx.rsp);
	__asm__ volatile("wrfsbase %0" : : "r"(t->ctx.fs));
	context_signal(sp, a.handler, signum, (uint64_t)f->siginfo, (uint64_t)f->ucontext);
}

/* ---- exceptions ---- */

/* In the order of ucontext's gregs. */
static void gregs_get(const struct sgx_gprsgx *g, uint64_t r[18])
{
	const uint64_t all[18] = {g->r8,  g->r9,  g->r10, g->r11, g->r12, g->r13, g->r14, g->r15, g->rdi,
				  g->rsi, g->rbp, g->rbx, g->rdx, g->rax, g->rcx, g->rsp, g->rip, g->rflags};
	memcpy(r, all, sizeof all);
}

#define FLAGS_OF_PROGRAMS 0xcd5u /* carry, parity, adjust, zero, sign, direction, overflow */
#define FLAGS_ALWAYS 0x202u

static void gregs_set(struct sgx_gprsgx *g, const uint64_t r[18])
{
	g->r8 = r[0], g->r9 = r[1], g->r10 = r[2], g->r11 = r[3], g->r12 = r[4], g->r13 = r[5], g->r14 = r[6], g->r15 = r[7];
	g->rdi = r[8], g->rsi = r[9], g->rbp = r[10], g->rbx = r[11], g->rdx = r[12], g->rax = r[13], g->rcx = r[14];
	g->rsp = r[15], g->rip = r[16], g->rflags = (r[17] & FLAGS_OF_PROGRAMS) | FLAGS_ALWAYS;
}

/* Makes the pages of a frame exist: the fault handler cannot fault. *wanted: one that has yet to come. */
static int frame_room(uint64_t sp, uint64_t size, uint64_t *wanted)
{
	if (!mm_app_range(sp, size))
		return -EFAULT;
	for (uint64_t page = sp >> PAGE_SHIFT; page <= (sp + size - 1) >> PAGE_SHIFT; page++) {
		int rc = mm_fault(page << PAGE_SHIFT);
		if (rc == -EINPROGRESS)
			*wanted = page;
		if (rc < 0 && rc != -EEXIST)
			return rc == -EBUSY || rc == -EINPROGRESS ? -EAGAIN : -EFAULT;
	}
	return 0;
}

int signal_fault(struct thread *t, struct sgx_gprsgx *g, uint8_t *xsave, const struct fault *fault, uint64_t *wanted)
{
	int signum = fault->signum;
	struct action a = action[signum];
	if (a.handler == (uint64_t)SIG_DFL || a.handler == (uint64_t)SIG_IGN || t->ctx.signal_mask & BIT(signum))
		return -EFAULT;
	uint64_t sp = g->rsp - 128;
	bool to_alt = moves_to_altstack(&t->ctx, &a, g->rsp);
	if (to_alt)
		sp = t->ctx.altstack + t->ctx.altstack_size;
	sp = (sp - sizeof(struct fault_frame)) & ~15ull;
	if (to_alt && sp - 128 < t->ctx.altstack)
		return -EFAULT;
	int rc = frame_room(sp - 128, sizeof(struct fault_frame) + 128, wanted);
	if (rc < 0)
		return rc;

	struct fault_frame *f = (struct fault_frame *)sp;
	memset(&f->frame, 0, sizeof f->frame);
	f->frame.saved = t->ctx;
	f->frame.saved.kind = CONTEXT_FAULT;
	*frame_mask(&f->frame) = t->ctx.signal_mask;
	gregs_get(g, (uint64_t *)(f->frame.ucontext + UCONTEXT_GREGS));
	uint64_t rest[5] = {0x33, fault->error, fault->vector, t->ctx.signal_mask, fault->addr}; /* csgsfs ... cr2 */
	memcpy(f->frame.ucontext + UCONTEXT_GREGS + 18 * 8, rest, sizeof rest);
	*(uint64_t *)(f->frame.ucontext + UCONTEXT_FPREGS) = (uint64_t)f->xsave;
	memcpy(f->xsave, xsave, XSAVE_SIZE);
	int32_t info[4] = {signum, 0, fault->code, 0};
	memcpy(f->frame.siginfo, info, sizeof info);
	memcpy(f->frame.siginfo + sizeof info, &fault->addr, 8);
	/* A store just before may have its mark still to come, behind whatever its handler does. */
	marks_set_all();

	handler_begins(&t->ctx, &a, signum, g->rsp);

	const uint64_t start[18] = {[4] = 0, [8] = sp, [9] = a.handler, [12] = (uint64_t)signum,
				    [14] = (uint64_t)f->frame.siginfo, [0] = (uint64_t)f->frame.ucontext,
				    [15] = sp, [16] = (uint64_t)context_signal};
	gregs_set(g, start);
	/* Vector and floating-point registers as at a program's start. */
	const uint32_t mxcsr = 0x1f80;
	memset(xsave + XSAVE_LEGACY, 0, 64);
	memcpy(xsave + 24, &mxcsr, sizeof mxcsr);
	return 0;
}

/* All registers can only be set by ERESUME: an exception, and the fault handler puts them into the SSA. */
static _Noreturn void fault_return(struct thread *t, uint64_t frame)
{
	t->fault_frame = frame;
	__asm__ volatile("ud2" : : : "memory");
	rt_die(FATAL_BAD_ENTRY, "the host went past an exception");
}

bool signal_fault_return(struct thread *t, struct sgx_gprsgx *g, uint8_t *xsave)
{
	const struct fault_frame *f = (const struct fault_frame *)t->fault_frame;
	uint64_t header[8] = {0};
	if (!f)
		return false;
	t->fault_frame = 0;
	gregs_set(g, (const uint64_t *)(f->frame.ucontext + UCONTEXT_GREGS));
	memcpy(xsave, f->xsave, XSAVE_SIZE);
	/* What the processor would not load would be the runtime's own fault. */
	uint32_t mxcsr;
	memcpy(&mxcsr, xsave + 24, sizeof mxcsr);
	mxcsr &= 0xffff;
	memcpy(xsave + 24, &mxcsr, sizeof mxcsr);
	memcpy(header, xsave + XSAVE_LEGACY, sizeof header[0]);
	header[0] &= CONFIG->xfrm;
	memcpy(xsave + XSAVE_LEGACY, header, sizeof header);
	return true;
}

int64_t signal_return(struct thread *t, uint64_t frame)
{
	if (!mm_app_range(frame, sizeof(struct frame)))
		rt_die(FATAL_SEGV, "sigreturn without a signal frame");
	struct frame f = *(const struct frame *)frame;
	uint64_t to;
	if (f.saved.kind == CONTEXT_FAULT && mm_app_range(frame, sizeof(struct fault_frame))) {
		t->ctx.outer_rsp = f.saved.outer_rsp;
		t->ctx.signal_mask = *frame_mask(&f) & ~UNBLOCKABLE;
		signal_word_update();
		/* All of it is here: whoever reads it next is the fault handler. */
		for (uint64_t at = frame; at < frame + sizeof(struct fault_frame); at = (at | (PAGE_SIZE - 1)) + 1)
			(void)*(const volatile uint8_t *)at;
		fault_return(t, frame);
	}
	if (f.saved.kind != CONTEXT_DONE && f.saved.kind != CONTEXT_AGAIN && f.saved.kind != CONTEXT_SAFEPOINT)
		rt_die(FATAL_SEGV, "sigreturn with a damaged signal frame");
	/* What the handler may have changed for good stays. */
	f.saved.altstack = t->ctx.altstack;
	f.saved.altstack_size = t->ctx.altstack_size;
	f.saved.clear_tid = t->ctx.clear_tid;
	f.saved.tid = t->ctx.tid;
	f.saved.signal_mask = *frame_mask(&f) & ~UNBLOCKABLE;
	/* A handler that sends the thread elsewhere (musl's does, to cancel it): a call there, on the stack it interrupted. */
	memcpy(&to, f.ucontext + UCONTEXT_RIP, sizeof to);
	if (to) {
		f.saved.kind = CONTEXT_START;
		f.saved.rsp -= 128;
		f.saved.call[0] = to;
		f.saved.call[1] = 0;
	}
	t->ctx = f.saved;
	signal_word_update();
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
	if (app_new && ignored(signum)) {
		__atomic_fetch_and(&process_pending, ~BIT(signum), __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&t->signal_pending, ~BIT(signum), __ATOMIC_SEQ_CST);
	}
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

static void mask_for(struct thread *t, uint64_t mask)
{
	if (t->ctx.in_sigsuspend)
		return; /* issued again */
	t->ctx.in_sigsuspend = 1;
	t->ctx.sigsuspend_mask = t->ctx.signal_mask;
	t->ctx.signal_mask = mask & ~UNBLOCKABLE;
}

int64_t signal_mask_for(struct thread *t, uint64_t app_set)
{
	if (!mm_app_range(app_set, 8))
		return -EFAULT;
	mask_for(t, *(const uint64_t *)app_set);
	return 0;
}

void signal_mask_back(struct thread *t)
{
	if (t->ctx.in_sigsuspend)
		t->ctx.signal_mask = t->ctx.sigsuspend_mask;
	t->ctx.in_sigsuspend = 0;
}

int64_t signal_suspend(struct thread *t, uint64_t app_set)
{
	int64_t rc = signal_mask_for(t, app_set);
	return rc < 0 ? rc : wait_for_signal(t);
}

/* While it waits what it waits for is not blocked, so that it is woken; it takes that itself, without a handler. */
int64_t signal_timedwait(struct thread *t, uint64_t app_set, uint64_t app_info, uint64_t app_timeout)
{
	int64_t ts[2];
	if (!mm_app_range(app_set, 8) || (app_info && !mm_app_range(app_info, 128)) ||
	    (app_timeout && !mm_app_range(app_timeout, sizeof ts)))
		return -EFAULT;
	if (t->ctx.deadline_ns == 0) {
		t->ctx.deadline_ns = ~0ull;
		if (app_timeout) {
			memcpy(ts, (const void *)app_timeout, sizeof ts);
			if (ts[0] < 0 || ts[1] < 0 || ts[1] >= 1000000000)
				return -EINVAL;
			t->ctx.deadline_ns = clock_mono_ns() + 1;
			t->ctx.deadline_ns += ts[0] > 4000000000 ? ~0ull / 4 : (uint64_t)(ts[0] * 1000000000 + ts[1]);
		}
	}
	uint64_t set = *(const uint64_t *)app_set & ~UNBLOCKABLE;
	mask_for(t, t->ctx.signal_mask & ~set);
	for (;;) {
		struct taken s = take(t, set);
		int64_t rc = s.signum;
		if (!rc && call_must_park())
			call_park_again(t);
		if (!rc && call_must_signal(t))
			rc = -EINTR;
		if (!rc && clock_mono_ns() >= t->ctx.deadline_ns)
			rc = -EAGAIN;
		if (!rc) {
			ocall1(t, OCALL_WAIT, clock_to_host(t->ctx.deadline_ns));
			continue;
		}
		signal_mask_back(t);
		signal_word_update();
		if (rc > 0 && app_info) {
			uint8_t info[128];
			fill_info(t, info, &s);
			memcpy((void *)app_info, info, sizeof info);
			marks_set(app_info, sizeof info);
		}
		return rc;
	}
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
		uint64_t on = context_on_altstack(&t->ctx) ? SS_ONSTACK : 0;
		uint64_t o[3] = {t->ctx.altstack, t->ctx.altstack_size ? on : SS_DISABLE, t->ctx.altstack_size};
		memcpy((void *)app_old, o, sizeof o);
		marks_set(app_old, sizeof o);
	}
	if (app_new) {
		if (context_on_altstack(&t->ctx))
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

/* Is there a thread that has it blocked? Then it may be waiting for it: it stays, ignored or not. */
static bool blocked_somewhere(int signum)
{
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		const struct context *c = &thread_of_slot(i)->ctx;
		if (c->kind != CONTEXT_NONE && blocked_by(c) & BIT(signum))
			return true;
	}
	return false;
}

int64_t signal_process(int signum, bool from_host)
{
	if (signum < 1 || signum > SIGNALS || (from_host && (!(OUTSIDE_SIGNALS & BIT(signum)) || state_is_destination())))
		return -EINVAL;
	if (ignored(signum) && !blocked_somewhere(signum))
		return -1;
	if (from_host)
		__atomic_fetch_or(&sent_by_host, BIT(signum), __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&sent_by_host, ~BIT(signum), __ATOMIC_SEQ_CST);
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
	int64_t slot = signal_process(signum, false);
	if (slot == -EINVAL)
		return -EINVAL;
	if (slot >= 0 && (uint64_t)slot != t->slot)
		ocall(t, OCALL_WAKE, 0, (const uint64_t[6]){(uint64_t)slot, 1}, NULL);
	return 0;
}

int64_t signal_raise(uint32_t tid, int signum)
{
	for (unsigned i = THREAD_SLOTS_SERVICE; i < CONFIG->slot_count; i++) {
		struct thread *to = thread_of_slot(i);
		uint32_t state = __atomic_load_n(&to->state, __ATOMIC_SEQ_CST);
		if (state == THREAD_FREE || state == THREAD_TAKEN || to->ctx.kind == CONTEXT_NONE || to->ctx.tid != tid)
			continue;
		bool blocked = signum && blocked_by(&to->ctx) & BIT(signum);
		if (signum == 0 || (ignored(signum) && !blocked))
			return -1;
		__atomic_fetch_or(&to->signal_pending, BIT(signum), __ATOMIC_SEQ_CST);
		stop_signal(true);
		return takes(to, signum) ? i : -1;
	}
	return -ESRCH;
}

int64_t signal_thread(struct thread *t, uint32_t tid, int signum)
{
	if (signum < 0 || signum > SIGNALS)
		return -EINVAL;
	int64_t slot = signal_raise(tid, signum);
	if (slot == -ESRCH)
		return slot;
	if (slot >= 0 && (uint64_t)slot != t->slot)
		ocall(t, OCALL_WAKE, 0, (const uint64_t[6]){(uint64_t)slot, 1}, NULL);
	return 0;
}

void signal_self(struct thread *t, int signum)
{
	if (!ignored(signum))
		__atomic_fetch_or(&t->signal_pending, BIT(signum), __ATOMIC_SEQ_CST);
}

void signal_export(struct writer *w)
{
	put_sparse(w, action, sizeof action);
	put_u64(w, load(&process_pending));
	put_u64(w, load(&sent_by_host));
}

void signal_import(struct reader *r)
{
	get_sparse(r, action, sizeof action);
	process_pending = get_u64(r);
	sent_by_host = get_u64(r);
	if (process_pending)
		stop_signal(true);
}
