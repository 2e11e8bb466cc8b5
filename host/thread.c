/* SPDX-License-Identifier: Apache-2.0
 *
 * The host thread of an application slot: enter, do what the enclave asks, enter
 * again. Everything it is asked is in the table at the end.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "host/enclave_private.h"
#include "host/fdtable.h"
#include "host/log.h"
#include "host/ocall.h"
#include "host/signals.h"
#include "host/system_calls.h"

#define NS_PER_S 1000000000ull
#define HURRY_NICE (-10)
#define HOST_STACK_SIZE (256u << 10)

/* What becomes of the thread after a request. */
enum next { NEXT_ENTER, NEXT_END };

static enum next do_syscall(struct slot *s)
{
	ocall_syscall(&s->thread, s->thread.enclave->fds);
	return NEXT_ENTER;
}

/* Waits for the token; a kick is the only other reason to come back before the deadline. */
static enum next do_wait(struct slot *s)
{
	struct call_area *area = s->thread.area;
	uint64_t deadline_ns = area->arg[0];
	struct timespec deadline = {deadline_ns / NS_PER_S, deadline_ns % NS_PER_S};

	area->interrupted = 0;
	for (;;) {
		long rc;

		if (atomic_exchange(&s->wake_token, 0)) {
			area->result = 0;
			return NEXT_ENTER;
		}
		/* WAIT_BITSET takes an absolute CLOCK_MONOTONIC deadline */
		rc = kick_syscall(&s->thread.kicked, SYS_futex, (long)&s->wake_token,
				  FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0,
				  deadline_ns == UINT64_MAX ? 0 : (long)&deadline, 0, FUTEX_BITSET_MATCH_ANY);
		if (rc == -EINTR && s->thread.kicked) {
			s->thread.kicked = 0;
			area->interrupted = 1;
			area->result = -EINTR;
			return NEXT_ENTER;
		}
		if (rc == -ETIMEDOUT) {
			area->result = -ETIMEDOUT;
			return NEXT_ENTER;
		}
	}
}

static bool slot_valid(const struct enclave *e, uint64_t slot)
{
	return slot >= THREAD_SLOTS_SERVICE && slot < e->config.slot_count;
}

static enum next do_wake(struct slot *s)
{
	struct enclave *e = s->thread.enclave;
	uint64_t slot = s->thread.area->arg[0];

	if (!slot_valid(e, slot)) {
		s->thread.area->result = -EINVAL;
		return NEXT_ENTER;
	}
	atomic_store(&e->slot[slot].wake_token, 1);
	syscall(SYS_futex, &e->slot[slot].wake_token, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
	if (s->thread.area->arg[1])
		enclave_kick(e, slot);
	s->thread.area->result = 0;
	return NEXT_ENTER;
}

static enum next do_thread_create(struct slot *s)
{
	s->thread.area->result = thread_start(s->thread.enclave, s->thread.area->arg[0]);
	return NEXT_ENTER;
}

static enum next do_exit(struct slot *s)
{
	enclave_finish(s->thread.enclave, ENCLAVE_EXITED, s->thread.area->arg[0] & 0xff);
	return NEXT_END;
}

static enum next do_signal_self(struct slot *s)
{
	enclave_finish(s->thread.enclave, ENCLAVE_SIGNALED, s->thread.area->arg[0] & 0x7f);
	return NEXT_END;
}

/* An unpark that came while this thread was still on its way out counts: it parked before that. One that
 * counts too early only makes the enclave ask again. */
static enum next do_park(struct slot *s)
{
	struct enclave *e = s->thread.enclave;

	atomic_store(&s->parked, true);
	pthread_mutex_lock(&e->lock); /* whoever waits has not seen it, or waits */
	pthread_mutex_unlock(&e->lock);
	pthread_cond_broadcast(&e->changed);
	while (s->entered_generation == atomic_load(&e->unpark_generation))
		syscall(SYS_futex, &e->unpark_generation, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, s->entered_generation, NULL);
	atomic_store(&s->parked, false);
	s->thread.area->result = 0;
	return atomic_load(&e->abandoned) ? NEXT_END : NEXT_ENTER;
}

static int text_size(uint64_t size)
{
	return size < 400 ? size : 400;
}

static enum next do_trace(struct slot *s)
{
	const struct call_area *area = s->thread.area;
	char name[SYSTEM_CALL_NAME_SIZE];

	system_call_name(area->arg[0], name);
	log_line("trace: %s is %s", name, area->arg[1] == 1 ? "not supported" : "refused");
	return NEXT_ENTER;
}

static enum next do_die(struct slot *s)
{
	const struct call_area *area = s->thread.area;

	log_line("the enclave stopped itself: %.*s", text_size(area->arg[1]), (const char *)area->data);
	enclave_finish(s->thread.enclave, ENCLAVE_DIED, area->arg[0]);
	return NEXT_END;
}

static enum next do_timers(struct slot *s)
{
	signals_timers(s->thread.enclave);
	s->thread.area->result = 0;
	return NEXT_ENTER;
}

static enum next do_bells(struct slot *s)
{
	const struct call_area *area = s->thread.area;

	fdtable_bells(s->thread.enclave->fds, area->arg[0], area->arg[1]);
	s->thread.area->result = 0;
	return NEXT_ENTER;
}

/* clang-format off */
static enum next (*const requests[])(struct slot *s) = {
    [OCALL_SYSCALL] = do_syscall,
    [OCALL_WAIT] = do_wait,
    [OCALL_WAKE] = do_wake,
    [OCALL_THREAD_CREATE] = do_thread_create,
    [OCALL_EXIT] = do_exit,
    [OCALL_PARK] = do_park,
    [OCALL_TRACE] = do_trace,
    [OCALL_SIGNAL_SELF] = do_signal_self,
    [OCALL_DIE] = do_die,
    [OCALL_TIMERS] = do_timers,
    [OCALL_BELLS] = do_bells,
};
/* clang-format on */

static enum next request_serve(struct slot *s)
{
	uint32_t op = s->thread.area->op;

	if (op < sizeof(requests) / sizeof(requests[0]) && requests[op])
		return requests[op](s);
	log_line(
	    "the enclave asks for something unknown (%u): is this optmig older than the one that signed?",
	    op);
	enclave_finish(s->thread.enclave, ENCLAVE_DIED, FATAL_INTERNAL);
	return NEXT_END;
}

static void run_slot(struct slot *s)
{
	struct enclave *e = s->thread.enclave;
	uint64_t words[3] = {ECALL_THREAD, (uintptr_t)s->thread.area, CALL_AREA_SIZE};
	uint64_t status;

	while (!atomic_load(&e->ending)) {
		enum eexit exit;

		s->entered_generation = atomic_load(&e->unpark_generation);
		atomic_store(&s->outside, 0);
		exit = border_enter(e, s->thread.slot, words, &status);
		/* An exchange, so that a kick either sees the thread outside or its flag is seen here. */
		atomic_exchange(&s->outside, 1);
		if (exit == EEXIT_DONE)
			return;
		if (exit != EEXIT_OCALL) {
			if (!atomic_load(&e->ending))
				enclave_dead(e, exit, status);
			return;
		}
		if (request_serve(s) == NEXT_END)
			return;
		words[0] = ECALL_RETURN;
	}
}

#define CPU_CLOCK(tid, which) ((clockid_t)(~(unsigned)(tid) << 3 | 4u | (which))) /* the kernel's, of a thread */
#define CPU_CLOCK_USER 1u
#define CPU_CLOCK_ALL 2u

static void cpu_add(pid_t tid, uint64_t sum[2])
{
	struct timespec user = {0, 0}, all = {0, 0};

	clock_gettime(CPU_CLOCK(tid, CPU_CLOCK_USER), &user);
	clock_gettime(CPU_CLOCK(tid, CPU_CLOCK_ALL), &all);
	sum[0] += user.tv_sec * NS_PER_S + user.tv_nsec;
	sum[1] += all.tv_sec * NS_PER_S + all.tv_nsec;
}

void enclave_cpu_ns(struct enclave *e, uint64_t out[2])
{
	pthread_mutex_lock(&e->lock);
	memcpy(out, e->cpu_past_ns, sizeof(e->cpu_past_ns));
	for (unsigned i = THREAD_SLOTS_SERVICE; i < e->config.slot_count; i++)
		if (e->slot[i].state == SLOT_RUNNING && e->slot[i].tid)
			cpu_add(e->slot[i].tid, out);
	pthread_mutex_unlock(&e->lock);
	/* The kernel counts user mode by ticks, all of it exactly. */
	if (out[0] > out[1])
		out[0] = out[1];
}

void enclave_cpu_tell(struct enclave *e, uint64_t out[2])
{
	enclave_cpu_ns(e, out);
	memcpy(timepage_page(e->time)->cpu_ns, out, sizeof(timepage_page(e->time)->cpu_ns));
}

static void *slot_main(void *arg)
{
	struct slot *s = arg;
	struct enclave *e = s->thread.enclave;

	pthread_mutex_lock(&e->lock);
	s->tid = gettid();
	s->kicks = kick_taken();
	pthread_mutex_unlock(&e->lock);
	run_slot(s);
	pthread_mutex_lock(&e->lock);
	cpu_add(s->tid, e->cpu_past_ns);
	s->state = SLOT_FINISHED;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

/* Everything blocked but the kick and what the thread's own instructions raise. */
static void signals_of_slots(sigset_t *set)
{
	static const int open[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};

	sigfillset(set);
	sigdelset(set, KICK_SIGNAL);
	for (unsigned i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		sigdelset(set, open[i]);
}

static int area_make(struct slot *s)
{
	void *area;

	if (s->thread.area)
		return 0;
	area = mmap(NULL, CALL_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return -ENOMEM;
	s->thread.area = area;
	return 0;
}

static int pthread_start(struct slot *s)
{
	pthread_attr_t attr;
	sigset_t mask;
	int rc;

	signals_of_slots(&mask);
	rc = -pthread_attr_init(&attr);
	if (rc)
		return rc;
	pthread_attr_setstacksize(&attr, HOST_STACK_SIZE);
	pthread_attr_setsigmask_np(&attr, &mask);
	rc = -pthread_create(&s->pthread, &attr, slot_main, s);
	pthread_attr_destroy(&attr);
	return rc;
}

/* Waits for the slot's thread to end. It may still be on its way out of the enclave, its TCS busy until then.
 */
static void slot_join(struct slot *s)
{
	struct enclave *e = s->thread.enclave;
	bool joinable;

	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	joinable = s->state != SLOT_UNUSED;
	pthread_mutex_unlock(&e->lock);
	if (joinable)
		pthread_join(s->pthread, NULL);
	s->state = SLOT_UNUSED;
	s->tid = 0;
}

int thread_start(struct enclave *e, uint64_t slot)
{
	struct slot *s;
	int rc;

	if (!slot_valid(e, slot))
		return -EINVAL;
	s = &e->slot[slot];
	slot_join(s);
	rc = area_make(s);
	if (rc)
		return rc;
	s->thread.enclave = e;
	s->thread.slot = slot;
	s->thread.cpu_ns = enclave_cpu_ns;
	s->thread.kicked = 0;
	atomic_store(&s->outside, 1);
	atomic_store(&s->wake_token, 0);
	pthread_mutex_lock(&e->lock);
	rc = pthread_start(s);
	if (!rc)
		s->state = SLOT_RUNNING;
	pthread_mutex_unlock(&e->lock);
	return rc;
}

void thread_join_all(struct enclave *e)
{
	for (unsigned i = 0; i < e->config.slot_count; i++) {
		struct slot *s = &e->slot[i];

		slot_join(s);
		if (s->thread.area)
			munmap(s->thread.area, CALL_AREA_SIZE);
		s->thread.area = NULL;
	}
}

static void slot_kick(struct enclave *e, struct slot *s)
{
	if (s->state != SLOT_RUNNING || s->parked)
		return;
	s->thread.kicked = 1;
	atomic_thread_fence(memory_order_seq_cst);
	/* A thread that has not noted its number yet has made no call either: the flag is enough. */
	if (s->tid && atomic_load(&s->outside))
		syscall(SYS_tgkill, getpid(), s->tid, KICK_SIGNAL);
}

void enclave_kick(struct enclave *e, uint64_t slot)
{
	if (!slot_valid(e, slot))
		return;
	pthread_mutex_lock(&e->lock);
	slot_kick(e, &e->slot[slot]);
	pthread_mutex_unlock(&e->lock);
}

void enclave_kick_all(struct enclave *e)
{
	pthread_mutex_lock(&e->lock);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < e->config.slot_count; i++)
		slot_kick(e, &e->slot[i]);
	pthread_mutex_unlock(&e->lock);
}

/* The nice values of the threads are the process's own. */
void enclave_hurry(struct enclave *e, bool hurry)
{
	int usual = getpriority(PRIO_PROCESS, (id_t)getpid());

	pthread_mutex_lock(&e->lock);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < e->config.slot_count; i++) {
		struct slot *s = &e->slot[i];

		if (s->state == SLOT_RUNNING && s->tid && (!hurry || !atomic_load(&s->parked)))
			setpriority(PRIO_PROCESS, (id_t)s->tid, hurry ? HURRY_NICE : usual);
	}
	pthread_mutex_unlock(&e->lock);
}

void enclave_unpark_all(struct enclave *e)
{
	atomic_fetch_add(&e->unpark_generation, 1);
	syscall(SYS_futex, &e->unpark_generation, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX);
}

bool enclave_any_parked(struct enclave *e)
{
	bool any = false;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < e->config.slot_count && !any; i++)
		any = e->slot[i].state == SLOT_RUNNING && atomic_load(&e->slot[i].parked);
	pthread_mutex_unlock(&e->lock);
	return any;
}

void enclave_abandon(struct enclave *e)
{
	atomic_store(&e->abandoned, true);
	enclave_unpark_all(e);
}

static bool all_have_parked(const struct enclave *e)
{
	bool all = true;

	for (unsigned i = THREAD_SLOTS_SERVICE; i < e->config.slot_count && all; i++)
		all = e->slot[i].state != SLOT_RUNNING || atomic_load(&e->slot[i].parked);
	return all;
}

bool enclave_await_parks(struct enclave *e, uint64_t us)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	us += (uint64_t)until.tv_nsec / 1000;
	until.tv_sec += (time_t)(us / 1000000);
	until.tv_nsec = (long)(us % 1000000) * 1000;
	pthread_mutex_lock(&e->lock);
	while (rc == 0 && !all_have_parked(e))
		rc = pthread_cond_clockwait(&e->changed, &e->lock, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&e->lock);
	return rc == 0;
}

/* Have all threads of the bitmap's slots parked (or ended, which is not what was asked)? Under the lock. */
static bool all_settled(const struct enclave *e, const uint8_t *slots, unsigned slot_count, bool *all_parked)
{
	*all_parked = true;
	for (unsigned i = 0; i < slot_count; i++) {
		const struct slot *s = &e->slot[i];

		if (!(slots[i / 8] & 1 << i % 8) || s->parked)
			continue;
		*all_parked = false;
		if (s->state == SLOT_RUNNING && !e->ended)
			return false;
	}
	return true;
}

int enclave_standby(struct enclave *e, const uint8_t *slots, unsigned slot_count)
{
	bool all_parked;

	if (slot_count > e->config.slot_count)
		return -EINVAL;
	for (unsigned i = 0; i < slot_count; i++) {
		int rc = slots[i / 8] & 1 << i % 8 ? thread_start(e, i) : 0;

		if (rc)
			return rc;
	}
	pthread_mutex_lock(&e->lock);
	while (!all_settled(e, slots, slot_count, &all_parked))
		pthread_cond_wait(&e->changed, &e->lock);
	pthread_mutex_unlock(&e->lock);
	return all_parked ? 0 : -EIO;
}
