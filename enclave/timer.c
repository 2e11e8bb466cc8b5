/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/spin.h"
#include "enclave/thread.h"
#include "enclave/timer.h"

#define NS_PER_S 1000000000ull
#define NS_MAX (1ull << 62)
#define TIMERS 64 /* timer_create's; then setitimer's, ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF, and one for RLIMIT_CPU */
#define CPU_LIMIT (TIMERS + 3)
#define ALL (TIMERS + 4)
#define OVERRUN_MAX 0x7fffffff

struct timer {
	uint64_t deadline_ns; /* of the enclave's clock; 0: not set */
	uint64_t interval_ns;
	uint64_t value; /* sigev_value */
	uint32_t tid;	/* 0: the process */
	int32_t signum; /* 0: none (SIGEV_NONE) */
	int32_t overrun; /* of the expiry that was delivered last */
	int32_t overrun_next;
	uint8_t used, calendar, raised;
	uint8_t clock; /* MONO, or CPU() of one of clock.h */
	uint8_t reserved[4];
};
#define MONO 0
#define CPU(which) ((which) + 1)
#define CLOCKS (1 + CPU_CLOCKS)

static struct spin lock; /* protects the following */
static struct timer timer[ALL] = {[TIMERS + ITIMER_REAL] = {.used = 1, .signum = SIGALRM},
				  [TIMERS + ITIMER_VIRTUAL] = {.used = 1, .signum = SIGVTALRM, .clock = CPU(CPU_USER)},
				  [TIMERS + ITIMER_PROF] = {.used = 1, .signum = SIGPROF, .clock = CPU(CPU_ALL)},
				  [CPU_LIMIT] = {.used = 1, .signum = SIGXCPU, .clock = CPU(CPU_ALL)}};
static uint64_t cpu_hard_ns = ~0ull;

void timers_lock(void)
{
	spin_lock(&lock);
}

void timers_unlock(void)
{
	spin_unlock(&lock);
}

/* ---- expiry ---- */

static uint64_t now_of(int clock)
{
	return clock == MONO ? clock_mono_ns() : clock_cpu_ns(clock - CPU(0));
}

static struct timer *first_due(int clock)
{
	struct timer *first = NULL;
	for (unsigned i = 0; i < ALL; i++)
		if (timer[i].used && timer[i].clock == clock && timer[i].deadline_ns &&
		    (!first || timer[i].deadline_ns < first->deadline_ns))
			first = &timer[i];
	return first;
}

/* Under the lock. Expiries that nobody was there for are one signal and a count. */
static int64_t ring(struct timer *t, uint64_t now)
{
	uint64_t more = t->interval_ns ? (now - t->deadline_ns) / t->interval_ns : 0;
	t->deadline_ns = t->interval_ns ? t->deadline_ns + (more + 1) * t->interval_ns : 0;
	if (t->raised)
		more += 1 + (uint64_t)t->overrun_next;
	t->overrun_next = more < OVERRUN_MAX ? (int32_t)more : OVERRUN_MAX;
	if (!t->signum)
		return -1;
	if (t == &timer[CPU_LIMIT] && now >= cpu_hard_ns)
		return signal_process(SIGKILL, false);
	t->raised = 1;
	return t->tid ? signal_raise(t->tid, t->signum) : signal_process(t->signum, false);
}

uint64_t timers_look(int64_t *slot, uint64_t cpu[2])
{
	uint64_t next[CLOCKS];
	bool rung = false, more = false;
	*slot = -1;
	spin_lock(&lock);
	for (int clock = 0; clock < CLOCKS; clock++) {
		struct timer *t = stop_word() & STOP_MOVE || state_is_destination() ? NULL : first_due(clock);
		uint64_t now = now_of(clock);
		if (t && t->deadline_ns <= now && !rung) {
			rung = true;
			*slot = ring(t, now);
			t = first_due(clock);
		}
		next[clock] = t ? t->deadline_ns : ~0ull;
		more |= t && t->deadline_ns <= now;
	}
	spin_unlock(&lock);
	for (int i = 0; i < CPU_CLOCKS; i++)
		cpu[i] = clock_cpu_to_host(i, next[CPU(i)]);
	return more ? 0 : clock_to_host(next[MONO]);
}

bool timer_raised(int signum, uint32_t tid, struct timer_rung *out)
{
	bool found = false;
	for (unsigned i = 0; i < ALL && !found; i++) {
		struct timer *t = &timer[i];
		found = t->used && t->raised && t->signum == signum && (t->tid == 0 || t->tid == tid);
		if (!found)
			continue;
		t->raised = 0;
		t->overrun = t->overrun_next;
		*out = (struct timer_rung){i >= TIMERS ? SI_KERNEL : SI_TIMER, (int32_t)i, t->overrun, t->value};
	}
	return found;
}

/* ---- setting ---- */

/* Two pairs of seconds and a fraction: interval, value. */
static int64_t spec_get(uint64_t app, uint64_t fractions_per_s, uint64_t *interval_ns, uint64_t *value_ns)
{
	int64_t v[4];
	if (!mm_app_range(app, sizeof v))
		return -EFAULT;
	memcpy(v, (const void *)app, sizeof v);
	for (int i = 0; i < 4; i += 2)
		if (v[i] < 0 || v[i + 1] < 0 || (uint64_t)v[i + 1] >= fractions_per_s)
			return -EINVAL;
	uint64_t unit = NS_PER_S / fractions_per_s;
	*interval_ns = (uint64_t)v[0] < NS_MAX / NS_PER_S ? (uint64_t)v[0] * NS_PER_S + (uint64_t)v[1] * unit : NS_MAX;
	*value_ns = (uint64_t)v[2] < NS_MAX / NS_PER_S ? (uint64_t)v[2] * NS_PER_S + (uint64_t)v[3] * unit : NS_MAX;
	return 0;
}

static void spec_put(uint64_t app, uint64_t fractions_per_s, uint64_t interval_ns, uint64_t value_ns)
{
	uint64_t unit = NS_PER_S / fractions_per_s;
	uint64_t v[4] = {interval_ns / NS_PER_S, interval_ns % NS_PER_S / unit, value_ns / NS_PER_S,
			 value_ns % NS_PER_S / unit};
	memcpy((void *)app, v, sizeof v);
	marks_set(app, sizeof v);
}

/* What remains; for a timer that is set never zero, in microseconds either. */
static uint64_t left(const struct timer *t, uint64_t now)
{
	return !t->deadline_ns ? 0 : t->deadline_ns > now + 1000 ? t->deadline_ns - now : 1000;
}

static void set(struct timer *t, uint64_t deadline_ns, uint64_t interval_ns)
{
	t->deadline_ns = deadline_ns;
	t->interval_ns = interval_ns;
	t->overrun = t->overrun_next = 0;
}

static void tell_host(struct thread *t)
{
	ocall1(t, OCALL_TIMERS, 0);
}

/* The host tells processor times when it looks. */
static uint64_t fresh_now(struct thread *t, int clock)
{
	if (clock != MONO)
		tell_host(t);
	return now_of(clock);
}

static int64_t do_setitimer(struct thread *t, const uint64_t a[6])
{
	uint64_t interval_ns = 0, value_ns = 0;
	if ((uint32_t)a[0] > ITIMER_PROF)
		return -EINVAL;
	if (a[2] && !mm_app_range(a[2], 32))
		return -EFAULT;
	int64_t rc = a[1] ? spec_get(a[1], 1000000, &interval_ns, &value_ns) : 0;
	if (rc < 0)
		return rc;
	struct timer *one = &timer[TIMERS + (uint32_t)a[0]];
	uint64_t now = fresh_now(t, one->clock);
	spin_lock(&lock);
	struct timer old = *one;
	set(one, value_ns ? now + value_ns : 0, interval_ns);
	spin_unlock(&lock);
	if (a[2])
		spec_put(a[2], 1000000, old.interval_ns, left(&old, now));
	tell_host(t);
	return 0;
}

static int64_t do_getitimer(struct thread *t, const uint64_t a[6])
{
	if ((uint32_t)a[0] > ITIMER_PROF)
		return -EINVAL;
	if (!mm_app_range(a[1], 32))
		return -EFAULT;
	spin_lock(&lock);
	struct timer one = timer[TIMERS + (uint32_t)a[0]];
	spin_unlock(&lock);
	spec_put(a[1], 1000000, one.interval_ns, left(&one, fresh_now(t, one.clock)));
	return 0;
}

void timers_cpu_limit(struct thread *t, uint64_t soft_s, uint64_t hard_s)
{
	spin_lock(&lock);
	cpu_hard_ns = hard_s < NS_MAX / NS_PER_S ? hard_s * NS_PER_S : ~0ull;
	set(&timer[CPU_LIMIT], soft_s < NS_MAX / NS_PER_S ? soft_s * NS_PER_S + !soft_s : 0, NS_PER_S);
	spin_unlock(&lock);
	tell_host(t);
}

/* The kernel's struct sigevent. */
struct event {
	uint64_t value;
	int32_t signum, notify, tid;
	int32_t reserved[11];
};
_Static_assert(sizeof(struct event) == 64, "struct sigevent");

static int64_t do_create(const uint64_t a[6])
{
	struct event e = {.signum = SIGALRM, .notify = SIGEV_SIGNAL};
	int clock = (int)a[0];
	bool monotonic = clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME, cpu = clock == CLOCK_PROCESS_CPUTIME_ID;
	if (!monotonic && !cpu && clock != CLOCK_REALTIME)
		return clock < 0 || clock == CLOCK_THREAD_CPUTIME_ID ? -ENOTSUP : -EINVAL;
	if ((a[1] && !mm_app_range(a[1], sizeof e)) || !mm_app_range(a[2], 4))
		return -EFAULT;
	if (a[1])
		memcpy(&e, (const void *)a[1], sizeof e);
	bool silent = e.notify == SIGEV_NONE, to_thread = e.notify == SIGEV_THREAD_ID;
	if ((!silent && !to_thread && e.notify != SIGEV_SIGNAL) || (!silent && (e.signum < 1 || e.signum > 64)))
		return -EINVAL;
	if (to_thread && (e.tid < 1 || signal_raise((uint32_t)e.tid, 0) == -ESRCH))
		return -EINVAL;
	unsigned i = 0;
	spin_lock(&lock);
	while (i < TIMERS && timer[i].used)
		i++;
	if (i < TIMERS)
		timer[i] = (struct timer){.used = 1,
					  .calendar = clock == CLOCK_REALTIME,
					  .clock = cpu ? CPU(CPU_ALL) : MONO,
					  .signum = silent ? 0 : e.signum,
					  .tid = to_thread ? (uint32_t)e.tid : 0,
					  .value = a[1] ? e.value : i};
	spin_unlock(&lock);
	if (i == TIMERS)
		return -EAGAIN;
	memcpy((void *)a[2], &i, 4);
	marks_set(a[2], 4);
	return 0;
}

/* Under the lock. NULL: no such timer. */
static struct timer *lookup(uint64_t id)
{
	return (uint32_t)id < TIMERS && timer[(uint32_t)id].used ? &timer[(uint32_t)id] : NULL;
}

static int64_t do_settime(struct thread *t, const uint64_t a[6])
{
	uint64_t interval_ns, value_ns;
	struct timer old = {0};
	if (a[3] && !mm_app_range(a[3], 32))
		return -EFAULT;
	int64_t rc = spec_get(a[2], NS_PER_S, &interval_ns, &value_ns);
	if (rc < 0)
		return rc;
	uint64_t real = clock_real_ns(), now = 0;
	fresh_now(t, CPU(CPU_ALL));
	spin_lock(&lock);
	struct timer *one = lookup(a[0]);
	if (one) {
		old = *one;
		now = now_of(one->clock);
		uint64_t deadline = now + value_ns;
		if (a[1] & TIMER_ABSTIME)
			deadline = !one->calendar ? value_ns : value_ns > real ? now + (value_ns - real) : now;
		set(one, value_ns ? deadline : 0, interval_ns);
	}
	spin_unlock(&lock);
	if (!one)
		return -EINVAL;
	if (a[3])
		spec_put(a[3], NS_PER_S, old.interval_ns, left(&old, now));
	tell_host(t);
	return 0;
}

static int64_t do_gettime(struct thread *t, const uint64_t a[6])
{
	if (!mm_app_range(a[1], 32))
		return -EFAULT;
	struct timer now = {0};
	spin_lock(&lock);
	const struct timer *one = lookup(a[0]);
	if (one)
		now = *one;
	spin_unlock(&lock);
	if (!one)
		return -EINVAL;
	spec_put(a[1], NS_PER_S, now.interval_ns, left(&now, fresh_now(t, now.clock)));
	return 0;
}

static int64_t do_overrun(const uint64_t a[6])
{
	spin_lock(&lock);
	const struct timer *one = lookup(a[0]);
	int64_t rc = one ? one->overrun : -EINVAL;
	spin_unlock(&lock);
	return rc;
}

static int64_t do_delete(const uint64_t a[6])
{
	spin_lock(&lock);
	struct timer *one = lookup(a[0]);
	if (one)
		one->used = 0;
	spin_unlock(&lock);
	return one ? 0 : -EINVAL;
}

int64_t timer_call(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	switch (nr) {
	case SYS_setitimer:
		return do_setitimer(t, a);
	case SYS_getitimer:
		return do_getitimer(t, a);
	case SYS_timer_create:
		return do_create(a);
	case SYS_timer_settime:
		return do_settime(t, a);
	case SYS_timer_gettime:
		return do_gettime(t, a);
	case SYS_timer_getoverrun:
		return do_overrun(a);
	case SYS_timer_delete:
		return do_delete(a);
	default:
		return CALL_UNKNOWN;
	}
}

/* ---- hand-over ---- */

void timers_export(struct writer *w)
{
	put_sparse(w, timer, sizeof timer);
	put_u64(w, cpu_hard_ns);
}

void timers_import(struct reader *r)
{
	get_sparse(r, timer, sizeof timer);
	cpu_hard_ns = get_u64(r);
}
