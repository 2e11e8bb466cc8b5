/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "host/enclave_private.h"
#include "host/fdtable.h"
#include "host/log.h"
#include "host/signals.h"

#define TIMER_SIGNAL (SIGRTMIN + 4)
#define CPU_LOOK_US_MIN 1000

/* SIGTSTP and SIGCONT stay with the process: they stop and continue it as a whole. The enclave takes these and no
 * others (OUTSIDE_SIGNALS in enclave/signal.c). */
static const int forwarded[] = {SIGHUP,	 SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
				SIGUSR2, SIGWINCH, SIGALRM, SIGCHLD};

static void forwarded_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, TIMER_SIGNAL);
	sigaddset(set, SIGVTALRM);
	sigaddset(set, SIGPROF);
	for (unsigned i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(set, forwarded[i]);
}

void signals_block(void)
{
	sigset_t set;

	forwarded_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the following; one call of the enclave at a time */
static bool held;
static uint64_t kept, turns;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static timer_t timer;
static bool has_timer;
static struct enclave *forwarded_to;

static void hand_in(struct enclave *e, int number)
{
	struct service_call call = {.op = SERVICE_SIGNAL, .arg = {number}};

	if (!enclave_service(e, &call) && !call.result) {
		enclave_kick(e, call.ret[0]);
		if (call.ret[1])
			fdtable_bells(enclave_fds(e), call.ret[1], 0);
	}
}

static void hand_in_set(struct enclave *e, uint64_t set)
{
	for (int number = 1; number <= 64; number++)
		if (set & 1ull << (number - 1))
			hand_in(e, number);
}

static void forward(struct enclave *e, int number)
{
	pthread_mutex_lock(&lock);
	if (held)
		kept |= 1ull << (number - 1);
	else
		hand_in(e, number);
	pthread_mutex_unlock(&lock);
}

/* Our own other threads use processors too: it may ring early, and is set again. */
static void cpu_timer(int which, uint64_t deadline_ns, uint64_t now_ns)
{
	uint64_t us = deadline_ns > now_ns ? (deadline_ns - now_ns) / 1000 : 0;
	struct itimerval at = {{0, 0}, {0, 0}};

	if (us < CPU_LOOK_US_MIN)
		us = CPU_LOOK_US_MIN;
	if (deadline_ns != UINT64_MAX)
		at.it_value = (struct timeval){us / 1000000, us % 1000000};
	setitimer(which, &at, NULL);
}

/* Under the lock, so that of two that ask, the later answer counts. */
static void timers_look(struct enclave *e)
{
	uint64_t bells = 0;
	struct service_call call = {.op = SERVICE_TIMERS, .out = (uintptr_t)&bells, .out_size = sizeof(bells)};
	struct itimerspec at = {{0, 0}, {0, 0}};
	uint64_t cpu_ns[2];

	if (!has_timer || held)
		return;
	enclave_cpu_tell(e, cpu_ns);
	if (enclave_service(e, &call) || call.result)
		return;
	enclave_kick(e, call.ret[0]);
	if (bells)
		fdtable_bells(enclave_fds(e), bells, 0);
	if (call.ret[1] != UINT64_MAX)
		at.it_value = (struct timespec){call.ret[1] / 1000000000, call.ret[1] % 1000000000 + !call.ret[1]};
	timer_settime(timer, TIMER_ABSTIME, &at, NULL);
	cpu_timer(ITIMER_VIRTUAL, call.ret[2], cpu_ns[0]);
	cpu_timer(ITIMER_PROF, call.ret[3], cpu_ns[1]);
}

void signals_timers(struct enclave *e)
{
	pthread_mutex_lock(&lock);
	timers_look(e);
	pthread_mutex_unlock(&lock);
}

void signals_hold(void)
{
	uint64_t cpu_ns[2];

	pthread_mutex_lock(&lock);
	held = true;
	if (forwarded_to)
		enclave_cpu_tell(forwarded_to, cpu_ns);
	pthread_mutex_unlock(&lock);
}

/* What was sent is with the kernel, or with the forwarding thread, or kept. The kernel gives lower numbers first: when the
 * thread has come to this one, it had all that were sent before. */
uint64_t signals_take(void)
{
	struct timespec soon;

	clock_gettime(CLOCK_MONOTONIC, &soon);
	soon.tv_sec++;
	pthread_mutex_lock(&lock);
	uint64_t until = turns + 1;
	bool awake = has_timer && sigqueue(getpid(), TIMER_SIGNAL, (union sigval){0}) == 0;
	while (awake && turns < until && pthread_cond_clockwait(&turned, &lock, CLOCK_MONOTONIC, &soon) == 0)
		;
	uint64_t set = kept;
	kept = 0;
	pthread_mutex_unlock(&lock);
	return set;
}

void signals_release(struct enclave *e)
{
	pthread_mutex_lock(&lock);
	held = false;
	hand_in_set(e, kept);
	kept = 0;
	timers_look(e);
	pthread_mutex_unlock(&lock);
}

void signals_give(struct enclave *e, uint64_t set)
{
	sigset_t ours;

	forwarded_set(&ours);
	for (int number = 1; number <= 64; number++)
		if (set & 1ull << (number - 1) && number < SIGRTMIN && sigismember(&ours, number))
			forward(e, number);
}

static void *forward_loop(void *arg)
{
	struct enclave *e = arg;
	uint64_t last_ms = 0;
	sigset_t set;

	forwarded_set(&set);
	for (;;) {
		siginfo_t info;
		int number = sigwaitinfo(&set, &info);

		if (number < 0)
			continue;
		if (number == TIMER_SIGNAL && info.si_code == SI_QUEUE) {
			pthread_mutex_lock(&lock);
			turns++;
			pthread_cond_broadcast(&turned);
			pthread_mutex_unlock(&lock);
			continue;
		}
		if (number == TIMER_SIGNAL || number == SIGVTALRM || number == SIGPROF) {
			signals_timers(e);
			continue;
		}
		if (number == SIGINT || number == SIGTERM) {
			uint64_t at_ms = now_ms();

			if (last_ms && at_ms - last_ms < SIGNALS_IMPATIENCE_MS) {
				log_line("second %s: the program is ended", strsignal(number));
				enclave_finish(e, ENCLAVE_SIGNALED, number);
			}
			last_ms = at_ms;
		}
		forward(e, number);
	}
	return NULL;
}

int signals_forward(struct enclave *e)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = TIMER_SIGNAL};
	pthread_t thread;
	int rc = timer_create(CLOCK_MONOTONIC, &event, &timer) ? -errno : 0;

	has_timer = !rc;
	forwarded_to = e;
	if (!rc)
		rc = -pthread_create(&thread, NULL, forward_loop, e);
	if (rc)
		return rc;
	pthread_detach(thread);
	signals_timers(e); /* those that came along, or were set before */
	return 0;
}
