/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>
#include "enclave/clock.h"
#include "enclave/mm.h"

#define NS_PER_S 1000000000ull
/* An update takes far less, unless its thread loses its processor: then at most some tens of milliseconds are spent. */
#define READ_TRIES 500000

static uint64_t u_page;
static int64_t mono_offset; /* enclave = host + offset */
static uint64_t mono_last;
static uint64_t imported_mono;
static uint64_t arrived_ns; /* on the host's clock */

int clock_init(uint64_t u_time_page)
{
	uint64_t none = 0;
	return __atomic_compare_exchange_n(&u_page, &none, u_time_page, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
		       ? 0
		       : -EBUSY;
}

static uint64_t rdtsc(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/* The host's clocks now. A host that lies here lies about the time of day: no worse than any clock of its. One whose
 * writer was interrupted in the middle of an update, and stays so, stops the clock for as long; it does not turn it back. */
static void host_now(uint64_t *mono, uint64_t *real)
{
	static uint64_t known_mono, known_real;
	for (int tries = 0; u_page && tries < READ_TRIES; tries++) {
		const volatile struct time_page *u = (const volatile struct time_page *)u_page;
		uint32_t seq = u->seq;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		struct time_page p = {.tsc = u->tsc, .mono_ns = u->mono_ns, .real_ns = u->real_ns, .tsc_hz = u->tsc_hz};
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq & 1 || u->seq != seq || p.tsc_hz == 0) {
			__asm__ volatile("pause");
			continue;
		}
		uint64_t now = rdtsc(), ticks = now > p.tsc ? now - p.tsc : 0;
		uint64_t ns = (uint64_t)((unsigned __int128)ticks * NS_PER_S / p.tsc_hz);
		*mono = p.mono_ns + ns;
		*real = p.real_ns + ns;
		__atomic_store_n(&known_mono, *mono, __ATOMIC_RELAXED);
		__atomic_store_n(&known_real, *real, __ATOMIC_RELAXED);
		return;
	}
	*mono = __atomic_load_n(&known_mono, __ATOMIC_RELAXED);
	*real = __atomic_load_n(&known_real, __ATOMIC_RELAXED);
}

uint64_t clock_mono_ns(void)
{
	uint64_t mono, real;
	host_now(&mono, &real);
	uint64_t now = mono + (uint64_t)mono_offset;
	uint64_t last = __atomic_load_n(&mono_last, __ATOMIC_RELAXED);
	/* as signed: before its beginning is not in the far future. By itself, for a difference goes round: steps forwards
	 * would lead back in the end. */
	while ((int64_t)now > (int64_t)last)
		if (__atomic_compare_exchange_n(&mono_last, &last, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return now;
	return last;
}

uint64_t clock_real_ns(void)
{
	uint64_t mono, real;
	host_now(&mono, &real);
	return real;
}

uint64_t clock_to_host(uint64_t deadline_ns)
{
	return deadline_ns == ~0ull ? ~0ull : deadline_ns - (uint64_t)mono_offset;
}

static uint64_t cpu_offset[CPU_CLOCKS], cpu_last[CPU_CLOCKS];

uint64_t clock_cpu_ns(int which)
{
	const volatile struct time_page *u = (const volatile struct time_page *)u_page;
	uint64_t now = (u ? u->cpu_ns[which] & ~(1ull << 63) : 0) + cpu_offset[which];
	uint64_t last = __atomic_load_n(&cpu_last[which], __ATOMIC_RELAXED);
	while ((int64_t)now > (int64_t)last)
		if (__atomic_compare_exchange_n(&cpu_last[which], &last, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return now;
	return last;
}

uint64_t clock_cpu_to_host(int which, uint64_t deadline_ns)
{
	return deadline_ns == ~0ull ? ~0ull : deadline_ns > cpu_offset[which] ? deadline_ns - cpu_offset[which] : 0;
}

static void add_timeval(uint64_t app, uint64_t ns)
{
	int64_t tv[2];
	memcpy(tv, (const void *)app, sizeof tv);
	uint64_t us = (uint64_t)tv[0] * 1000000 + (uint64_t)tv[1] + ns / 1000;
	tv[0] = (int64_t)(us / 1000000);
	tv[1] = (int64_t)(us % 1000000);
	memcpy((void *)app, tv, sizeof tv);
	marks_set(app, sizeof tv);
}

void clock_cpu_add(uint64_t nr, const uint64_t a[6])
{
	uint64_t user = cpu_offset[CPU_USER], system = cpu_offset[CPU_ALL] - user;
	if (nr == SYS_clock_gettime && (int)a[0] == CLOCK_PROCESS_CPUTIME_ID) {
		uint64_t ts[2];
		memcpy(ts, (const void *)a[1], sizeof ts);
		uint64_t ns = ts[0] * NS_PER_S + ts[1] + user + system;
		ts[0] = ns / NS_PER_S;
		ts[1] = ns % NS_PER_S;
		memcpy((void *)a[1], ts, sizeof ts);
		marks_set(a[1], sizeof ts);
	} else if (nr == SYS_getrusage && (int)a[0] == RUSAGE_SELF) {
		add_timeval(a[1], user);
		add_timeval(a[1] + 16, system);
	} else if (nr == SYS_times && a[0]) {
		int64_t ticks[2];
		memcpy(ticks, (const void *)a[0], sizeof ticks);
		ticks[0] += (int64_t)(user / (NS_PER_S / 100));
		ticks[1] += (int64_t)(system / (NS_PER_S / 100));
		memcpy((void *)a[0], ticks, sizeof ticks);
		marks_set(a[0], sizeof ticks);
	}
}

int64_t clock_gettime_call(int id, uint64_t app_timespec)
{
	uint64_t ns;
	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_TAI:
		ns = clock_real_ns();
		break;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		ns = clock_mono_ns();
		break;
	default:
		return -ENOSYS; /* CPU clocks: the host is asked */
	}
	uint64_t ts[2] = {ns / NS_PER_S, ns % NS_PER_S};
	if (!mm_app_range(app_timespec, sizeof ts))
		return -EFAULT;
	memcpy((void *)app_timespec, ts, sizeof ts);
	marks_set(app_timespec, sizeof ts);
	return 0;
}

void clock_export(struct writer *w)
{
	put_u64(w, clock_mono_ns());
	for (int i = 0; i < CPU_CLOCKS; i++)
		put_u64(w, clock_cpu_ns(i));
}

void clock_import(struct reader *r)
{
	imported_mono = get_u64(r);
	for (int i = 0; i < CPU_CLOCKS; i++)
		cpu_offset[i] = cpu_last[i] = get_u64(r);
}

void clock_arrives(void)
{
	uint64_t real;
	if (!arrived_ns)
		host_now(&arrived_ns, &real);
}

/* How long the hand-over took is what passed here since the state came. What two hosts call the time of day may lie hours
 * apart: all that waits would ring. */
void clock_go(void)
{
	uint64_t mono, real;
	host_now(&mono, &real);
	uint64_t gone = arrived_ns && mono > arrived_ns ? mono - arrived_ns : 0;
	mono_offset = (int64_t)(imported_mono + gone - mono);
	mono_last = imported_mono;
}
