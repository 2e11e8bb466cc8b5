/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: what musl would ask the kernel arrives here as a function call, on a
 * private stack. What the runtime can answer it answers; the rest goes out
 * through calls.c. On the way back every call is a safepoint.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <sched.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/entry.h"
#include "enclave/files.h"
#include "enclave/futex.h"
#include "enclave/limits.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/signalfd.h"
#include "enclave/start.h"
#include "enclave/text.h"
#include "enclave/thread.h"
#include "enclave/timer.h"

/* entry.S gives these to __optmig_clone and __optmig_unmapself. */
#define CALL_CLONE 0x10000
#define CALL_UNMAPSELF 0x10001

static bool tracing;

void gate_set_tracing(bool on)
{
	tracing = on;
}

/* flags of the only clone a C library makes for a thread */
#define CLONE_THREAD_NEEDS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static int64_t do_clone(struct thread *t, const uint64_t arg[6])
{
	uint64_t fn = arg[0], stack = arg[1], flags = arg[2], start_arg = arg[3], ptid = arg[4];
	uint64_t pair[2]; /* tls, ctid */
	if ((flags & CLONE_THREAD_NEEDS) != CLONE_THREAD_NEEDS)
		return -ENOSYS; /* fork: an enclave cannot be copied */
	memcpy(pair, (const void *)arg[5], sizeof pair);
	struct thread *child;
	int rc = thread_alloc(&child);
	if (rc < 0)
		return rc;
	struct context *c = &child->ctx;
	*c = (struct context){.kind = CONTEXT_START, .mxcsr = t->ctx.mxcsr, .fcw = t->ctx.fcw, .rsp = stack,
		.fs = flags & CLONE_SETTLS ? pair[0] : t->ctx.fs, .call = {fn, start_arg}, .stack_top = stack,
		.clear_tid = flags & CLONE_CHILD_CLEARTID ? pair[1] : 0, .signal_mask = t->ctx.signal_mask,
		.tid = thread_new_tid()};
	memcpy(c->name, t->ctx.name, sizeof c->name);
	if (flags & CLONE_PARENT_SETTID && mm_app_range(ptid, 4)) {
		*(volatile uint32_t *)ptid = c->tid;
		marks_set(ptid, 4);
	}
	uint32_t tid = c->tid;
	uint64_t slot = child->slot;
	__atomic_store_n(&child->state, THREAD_READY, __ATOMIC_SEQ_CST);
	int64_t made = ocall1(t, OCALL_THREAD_CREATE, slot);
	if (made < 0) {
		/* Only if nobody entered it meanwhile is the slot ours to take back. */
		uint32_t ready = THREAD_READY;
		if (__atomic_compare_exchange_n(&child->state, &ready, THREAD_TAKEN, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST)) {
			thread_release(child);
			return -EAGAIN;
		}
	}
	return tid;
}

static int64_t do_nanosleep(struct thread *t, int id, int flags, uint64_t request, uint64_t remain)
{
	if (t->ctx.deadline_ns == 0) {
		int64_t ts[2];
		if (!mm_app_range(request, sizeof ts))
			return -EFAULT;
		memcpy(ts, (void *)request, sizeof ts);
		if (ts[0] < 0 || ts[1] < 0 || ts[1] >= 1000000000)
			return -EINVAL;
		uint64_t ns = ts[0] > 4000000000 ? ~0ull / 4 : (uint64_t)ts[0] * 1000000000 + (uint64_t)ts[1];
		uint64_t now = id == CLOCK_REALTIME ? clock_real_ns() : clock_mono_ns();
		if (flags & TIMER_ABSTIME)
			ns = ns > now ? ns - now : 0;
		t->ctx.deadline_ns = clock_mono_ns() + ns;
	}
	for (bool look_first = t->reissued;; look_first = false) {
		uint64_t now = clock_mono_ns();
		if (now >= t->ctx.deadline_ns)
			return 0;
		if (!look_first)
			ocall1(t, OCALL_WAIT, clock_to_host(t->ctx.deadline_ns));
		if (call_must_park())
			call_park_again(t);
		if (call_must_signal(t)) {
			now = clock_mono_ns();
			uint64_t left = t->ctx.deadline_ns > now ? t->ctx.deadline_ns - now : 0;
			if (remain && !(flags & TIMER_ABSTIME) && mm_app_range(remain, 16)) {
				uint64_t ts[2] = {left / 1000000000, left % 1000000000};
				memcpy((void *)remain, ts, sizeof ts);
				marks_set(remain, sizeof ts);
			}
			return left ? -EINTR : 0;
		}
	}
}

static int64_t do_arch_prctl(struct thread *t, uint64_t code, uint64_t addr)
{
	if (code != ARCH_SET_FS)
		return -EINVAL;
	if (!mm_app_range(addr, 8))
		return -EPERM;
	t->ctx.fs = addr;
	__asm__ volatile("wrfsbase %0" : : "r"(addr));
	return 0;
}

static int64_t do_prctl(struct thread *t, const uint64_t a[6])
{
	switch (a[0]) {
	case PR_SET_NAME:
		if (!mm_app_range(a[1], sizeof t->ctx.name))
			return -EFAULT;
		memcpy(t->ctx.name, (const void *)a[1], sizeof t->ctx.name - 1); /* its last byte stays 0 */
		return 0;
	case PR_GET_NAME:
		if (!mm_app_range(a[1], sizeof t->ctx.name))
			return -EFAULT;
		memcpy((void *)a[1], t->ctx.name, sizeof t->ctx.name);
		marks_set(a[1], sizeof t->ctx.name);
		return 0;
	case PR_SET_DUMPABLE: /* memory of an enclave is in no dump */
	case PR_SET_PDEATHSIG:
		return 0;
	case PR_GET_DUMPABLE:
		return 0;
	case PR_SET_NO_NEW_PRIVS: /* where nothing is executed, nothing gains any */
		return a[1] == 1 && !a[2] && !a[3] && !a[4] ? 0 : -EINVAL;
	case PR_GET_NO_NEW_PRIVS:
		return 1;
	default:
		return -EINVAL;
	}
}

static int64_t do_mmap(struct thread *t, const uint64_t a[6])
{
	int flags = (int)a[3];
	if (!limits_memory(a[1]))
		return -ENOMEM;
	if (flags & 0x20 /* MAP_ANONYMOUS */)
		return mm_mmap(a[0], a[1], (int)a[2], flags);
	return files_mmap(t, a);
}

static int64_t do_brk(uint64_t end)
{
	uint64_t now = (uint64_t)mm_brk(0);
	return (int64_t)(end > now && !limits_memory(end - now) ? now : (uint64_t)mm_brk(end));
}

/* A file that would become larger than the program may make one. */
static int64_t on_files(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	int64_t rc = files_call(t, nr, a);
	if (rc == -EFBIG && limits_file(t))
		signal_self(t, SIGXFSZ);
	return rc;
}

static int64_t do_getcpu(uint64_t cpu, uint64_t node)
{
	if (cpu && mm_app_range(cpu, 4)) {
		*(uint32_t *)cpu = 0;
		marks_set(cpu, 4);
	}
	if (node && mm_app_range(node, 4)) {
		*(uint32_t *)node = 0;
		marks_set(node, 4);
	}
	return 0;
}

static int64_t cpu_time(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	int64_t rc = calls_host(t, nr, a);
	if (rc >= 0)
		clock_cpu_add(nr, a);
	return rc;
}

static int64_t dispatch(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	switch (nr) {
	case CALL_CLONE:
		return do_clone(t, a);
	case CALL_UNMAPSELF:
		mm_munmap(a[0], a[1]);
		thread_exit(t);
	case SYS_exit:
		thread_exit(t);
	case SYS_exit_group:
		ocall1(t, OCALL_EXIT, (uint64_t)(int)a[0]);
		rt_die(FATAL_BAD_ENTRY, "the host came back after exit");
	case SYS_mmap:
		return do_mmap(t, a);
	case SYS_munmap:
		return mm_munmap(a[0], a[1]);
	case SYS_mprotect:
		return mm_mprotect(a[0], a[1], (int)a[2]);
	case SYS_mremap:
		if (a[2] > a[1] && !limits_memory(a[2] - a[1]))
			return -ENOMEM;
		return mm_mremap(a[0], a[1], a[2], (int)a[3], a[4]);
	case SYS_madvise:
		return mm_madvise(a[0], a[1], (int)a[2]);
	case SYS_brk:
		return do_brk(a[0]);
	case SYS_mlock:
	case SYS_munlock:
	case SYS_mlockall:
	case SYS_munlockall:
	case SYS_msync:
	case SYS_set_robust_list:
	case SYS_get_robust_list: /* by which musl asks whether there may be one; it works through it itself when a thread ends */
		return 0;
	case SYS_futex:
		return futex_call(t, a);
	case SYS_arch_prctl:
		return do_arch_prctl(t, a[0], a[1]);
	case SYS_set_tid_address:
		t->ctx.clear_tid = a[0];
		return t->ctx.tid;
	case SYS_gettid:
		return t->ctx.tid;
	case SYS_prctl:
		return do_prctl(t, a);
	case SYS_getpid:
	case SYS_getpgrp:
	case SYS_getpgid:
	case SYS_getsid:
		return 1;
	case SYS_getppid:
		return 0;
	case SYS_sched_yield:
	case SYS_sched_setaffinity:
	case SYS_sched_getscheduler: /* SCHED_OTHER, which has one priority */
	case SYS_sched_get_priority_max:
	case SYS_sched_get_priority_min:
		return 0;
	case SYS_wait4:
	case SYS_waitid:
		return -ECHILD;
	case SYS_clock_settime: /* the machine's, which is not this program's alone */
	case SYS_settimeofday:
	case SYS_sethostname:
	case SYS_setdomainname:
	case SYS_setpriority:
		return -EPERM;
	case SYS_getcpu:
		return do_getcpu(a[0], a[1]);
	case SYS_nanosleep:
		return do_nanosleep(t, CLOCK_MONOTONIC, 0, a[0], a[1]);
	case SYS_clock_nanosleep:
		return do_nanosleep(t, (int)a[0], (int)a[1], a[2], a[3]);
	case SYS_clock_gettime: {
		int64_t rc = clock_gettime_call((int)a[0], a[1]);
		return rc == -ENOSYS ? cpu_time(t, nr, a) : rc;
	}
	case SYS_getrusage:
	case SYS_times:
		return cpu_time(t, nr, a);
	case SYS_gettimeofday: {
		uint64_t us = clock_real_ns() / 1000, tv[2] = {us / 1000000, us % 1000000};
		if (!a[0])
			return 0;
		if (!mm_app_range(a[0], sizeof tv))
			return -EFAULT;
		memcpy((void *)a[0], tv, sizeof tv);
		marks_set(a[0], sizeof tv);
		return 0;
	}
	case SYS_time:
		if (a[0] && mm_app_range(a[0], 8)) {
			*(uint64_t *)a[0] = clock_real_ns() / 1000000000;
			marks_set(a[0], 8);
		}
		return (int64_t)(clock_real_ns() / 1000000000);
	case SYS_getrandom:
		return files_read_random(a[0], a[1]);
	case SYS_rt_sigaction:
		return signal_action(t, (int)a[0], a[1], a[2]);
	case SYS_rt_sigprocmask:
		return signal_procmask(t, (int)a[0], a[1], a[2]);
	case SYS_rt_sigreturn:
		return signal_return(t, a[0]);
	case SYS_rt_sigpending:
		return signal_pending_call(t, a[0]);
	case SYS_rt_sigsuspend:
		return signal_suspend(t, a[0]);
	case SYS_pause:
		return signal_pause(t);
	case SYS_rt_sigtimedwait:
		return signal_timedwait(t, a[0], a[1], a[2]);
	case SYS_setitimer:
	case SYS_getitimer:
	case SYS_timer_create:
	case SYS_timer_settime:
	case SYS_timer_gettime:
	case SYS_timer_getoverrun:
	case SYS_timer_delete:
		return timer_call(t, nr, a);
	case SYS_sigaltstack:
		return signal_altstack(t, a[0], a[1]);
	case SYS_kill:
		return (int64_t)a[0] == 1 || a[0] == 0 ? signal_send(t, (int)a[1]) : -ESRCH;
	case SYS_tkill:
		return signal_thread(t, (uint32_t)a[0], (int)a[1]);
	case SYS_tgkill:
		return a[0] == 1 ? signal_thread(t, (uint32_t)a[1], (int)a[2]) : -ESRCH;
	case SYS_getrlimit:
	case SYS_setrlimit:
	case SYS_prlimit64:
		return limits_call(t, nr, a);
	default:
		return on_files(t, nr, a);
	}
}

bool call_must_park(void)
{
	return stop_word() & STOP_MOVE;
}

bool call_must_signal(struct thread *t)
{
	return signal_deliverable(t);
}

_Noreturn void call_park_again(struct thread *t)
{
	t->ctx.kind = CONTEXT_AGAIN;
	park(t);
}

int64_t gate_answer(struct thread *t)
{
	uint64_t nr = t->ctx.call[0];
	t->restartable = false;
	int64_t rc = dispatch(t, nr, t->ctx.call + 1);
	if (tracing && (rc == CALL_UNKNOWN || rc == -ENOSYS))
		rt_trace(nr, rc == CALL_UNKNOWN);
	if (rc == CALL_UNKNOWN)
		rc = -ENOSYS;
	signalfd_ring(t);
	uint8_t word = stop_word();
	if (word & STOP_TRACK)
		tracking_seen(t);
	if (word & STOP_MOVE) {
		/* One that gave way to a signal does so again where it goes on. */
		t->ctx.kind = rc == -EINTR && t->restartable ? CONTEXT_AGAIN : CONTEXT_DONE;
		t->ctx.result = t->ctx.kind == CONTEXT_AGAIN ? 0 : rc;
		park(t);
	}
	if (signal_deliverable(t)) {
		/* Goes to the handler; its return finishes the call, or issues it again. */
		t->ctx.kind = CONTEXT_DONE;
		t->ctx.result = rc;
		signal_deliver(t);
	}
	signal_mask_back(t);
	return rc;
}

int64_t gate_enter(struct thread *t, const uint64_t call[7])
{
	memcpy(t->ctx.call, call, sizeof t->ctx.call);
	t->ctx.deadline_ns = 0;
	t->ctx.result = 0;
	t->reissued = false;
	return gate_answer(t);
}

/* From the safepoint stub: the stop word was not zero. */
void safepoint_enter(struct thread *t)
{
	uint8_t word = stop_word();
	t->ctx.kind = CONTEXT_SAFEPOINT;
	if (word & STOP_TRACK)
		tracking_seen(t);
	if (word & STOP_MOVE)
		park(t);
	if (signal_deliverable(t))
		signal_deliver(t);
	signal_word_update(); /* not for this thread: for nobody, perhaps */
}
