/* SPDX-License-Identifier: Apache-2.0
 *
 * Clocks, the timers that run by them, and signals, in a call and out of one.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void check_clocks(void)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC), last = start;
	struct timespec pause = {0, 30000000}, resolution;
	struct timeval tv;

	for (int i = 0; i < 10000; i++) {
		uint64_t now = now_ns(CLOCK_MONOTONIC);
		CHECK(now >= last);
		last = now;
	}
	CHECK(!nanosleep(&pause, NULL) && now_ns(CLOCK_MONOTONIC) - start >= 30000000);
	CHECK(!gettimeofday(&tv, NULL) && tv.tv_sec > 1700000000 && labs(time(NULL) - tv.tv_sec) <= 1);
	CHECK(!clock_getres(CLOCK_MONOTONIC, &resolution) && resolution.tv_sec == 0);
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL));
	CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) > 0 && clock() != (clock_t)-1);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec -= 1;
	CHECK(!clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
	signals_seen += number == SIGUSR2;
}

static void check_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal}, old;
	sigset_t blocked, pending;

	signals_seen = 0;
	CHECK(!sigaction(SIGUSR2, &action, &old) && !raise(SIGUSR2) && signals_seen == 1);
	CHECK(!kill(getpid(), SIGUSR2));
	for (int i = 0; i < 1000 && signals_seen < 2; i++)
		usleep(1000);
	CHECK(signals_seen == 2);
	CHECK(!sigemptyset(&blocked) && !sigaddset(&blocked, SIGUSR2) && !pthread_sigmask(SIG_BLOCK, &blocked, NULL));
	CHECK(!raise(SIGUSR2) && signals_seen == 2 && !sigpending(&pending) && sigismember(&pending, SIGUSR2));
	CHECK(!pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) && signals_seen == 3);
	CHECK(!sigaction(SIGUSR2, &old, NULL));
	CHECK(signal(SIGTERM, SIG_IGN) != SIG_ERR && !raise(SIGTERM) && signal(SIGTERM, SIG_DFL) == SIG_IGN);
}

static volatile sig_atomic_t alarms_seen, timer_value;

static void see_alarm(int number)
{
	(void)number;
	alarms_seen++;
}

static void see_timer(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	timer_value = info->si_code == SI_TIMER ? info->si_value.sival_int : -1;
}

static void wait_for(volatile sig_atomic_t *what, int at_least)
{
	for (int i = 0; *what < at_least && i < 5000; i++)
		usleep(1000);
}

static void check_timers(void)
{
	struct sigaction action = {.sa_handler = see_alarm}, timed = {.sa_sigaction = see_timer, .sa_flags = SA_SIGINFO};
	struct itimerval every = {{0, 5000}, {0, 5000}}, once = {{0, 0}, {0, 5000}}, off = {{0, 0}, {0, 0}}, left;
	struct sigevent event = {
	    .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 99};
	struct itimerspec soon = {{0, 0}, {0, 5000000}}, later = {{1, 0}, {100, 0}}, at, before;
	timer_t timer, silent;

	CHECK(!sigaction(SIGALRM, &action, NULL) && !sigaction(SIGUSR2, &timed, NULL));
	alarms_seen = 0;
	CHECK(!setitimer(ITIMER_REAL, &every, NULL));
	wait_for(&alarms_seen, 5);
	CHECK(alarms_seen >= 5 && !setitimer(ITIMER_REAL, &off, &left) && left.it_interval.tv_usec == 5000);
	alarms_seen = 0;
	CHECK(!setitimer(ITIMER_REAL, &once, NULL));
	wait_for(&alarms_seen, 1);
	usleep(20000);
	CHECK(alarms_seen == 1 && !getitimer(ITIMER_REAL, &left) && left.it_value.tv_sec == 0 && left.it_value.tv_usec == 0);
	CHECK(alarm(100) == 0 && alarm(0) == 100 && ualarm(0, 0) == 0);
	CHECK(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000000}}, NULL) == -1 && errno == EINVAL);

	for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
		CHECK(!sigaction(which == ITIMER_PROF ? SIGPROF : SIGVTALRM, &action, NULL));
		alarms_seen = 0;
		clock_t begun = clock();
		CHECK(!setitimer(which, &every, NULL));
		usleep(100000);
		CHECK(alarms_seen <= 3); /* asleep, it hardly runs */
		while (alarms_seen < 5 && clock() - begun < 20 * CLOCKS_PER_SEC)
			;
		CHECK(alarms_seen >= 5 && clock() - begun >= 10000); /* a kernel counts by ticks */
		CHECK(!getitimer(which, &left) && left.it_value.tv_usec > 0 && left.it_value.tv_usec <= 5000);
		CHECK(!setitimer(which, &off, &left) && left.it_interval.tv_usec == 5000);
	}
	CHECK(setitimer(3, &off, NULL) == -1 && errno == EINVAL && getitimer(3, &left) == -1 && errno == EINVAL);

	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &soon, NULL));
	wait_for(&timer_value, 1);
	CHECK(timer_value == 99 && timer_getoverrun(timer) == 0);
	CHECK(!timer_settime(timer, 0, &later, NULL) && !timer_gettime(timer, &at) && at.it_interval.tv_sec == 1 &&
	      at.it_value.tv_sec >= 99 && at.it_value.tv_sec <= 100);
	timer_value = 0;
	clock_gettime(CLOCK_MONOTONIC, &soon.it_value);
	CHECK(!timer_settime(timer, TIMER_ABSTIME, &soon, &before) && before.it_interval.tv_sec == 1);
	wait_for(&timer_value, 1);
	CHECK(timer_value == 99 && !timer_delete(timer) && timer_gettime(timer, &at) == -1 && errno == EINVAL);
	event.sigev_notify = SIGEV_NONE;
	CHECK(!timer_create(CLOCK_REALTIME, &event, &silent) && !timer_settime(silent, 0, &later, NULL));
	CHECK(!timer_gettime(silent, &at) && at.it_value.tv_sec >= 99 && !timer_delete(silent));
	signal(SIGALRM, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

static volatile int seen_code, seen_sender, seen_count;

static void note_info(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen_code = info->si_code;
	seen_sender = info->si_pid;
	seen_count++;
}

static void *signal_soon(void *argument)
{
	usleep(30000);
	pthread_kill(*(pthread_t *)argument, SIGUSR1);
	return NULL;
}

static void *write_later(void *argument)
{
	usleep(80000);
	if (write(*(int *)argument, "x", 1) != 1)
		perror("write");
	return NULL;
}

static void check_signals_in_calls(void)
{
	struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO | SA_RESTART};
	pthread_t self = pthread_self(), sender, writer;
	struct timespec wait_10_s = {10, 0}, left;
	int ends[2];
	char c;

	CHECK(!sigaction(SIGUSR1, &action, NULL) && !raise(SIGUSR1) && seen_count == 1 && seen_code == SI_TKILL);
	CHECK(!kill(getpid(), SIGUSR1) && seen_count == 2 && seen_code == SI_USER && seen_sender == getpid());
	CHECK(!pipe(ends) && !pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(!pthread_create(&writer, NULL, write_later, &ends[1]));
	CHECK(read(ends[0], &c, 1) == 1 && seen_count == 3); /* went on after the handler */
	pthread_join(sender, NULL);
	pthread_join(writer, NULL);
	CHECK(!pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(nanosleep(&wait_10_s, &left) == -1 && errno == EINTR && left.tv_sec == 9 && seen_count == 4);
	pthread_join(sender, NULL);
	CHECK(!close(ends[0]) && !close(ends[1]));
}

static void check_signal_masks_of_waits(void)
{
	struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO};
	pthread_t self = pthread_self(), sender;
	struct timespec wait_10_s = {10, 0}, wait_20_ms = {0, 20000000};
	sigset_t usr1, before, now;
	siginfo_t info;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK(!sigaction(SIGUSR1, &action, NULL) && !pthread_sigmask(SIG_BLOCK, &usr1, &before));
	seen_count = 0;
	CHECK(!raise(SIGUSR1) && seen_count == 0);
	CHECK(ppoll(NULL, 0, &wait_20_ms, NULL) == 0 && seen_count == 0);
	CHECK(ppoll(NULL, 0, &wait_10_s, &before) == -1 && errno == EINTR && seen_count == 1);
	CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &now) && sigismember(&now, SIGUSR1));
	CHECK(!pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(pselect(0, NULL, NULL, NULL, &wait_10_s, &before) == -1 && errno == EINTR && seen_count == 2);
	pthread_join(sender, NULL);
	CHECK(!pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(sigwaitinfo(&usr1, &info) == SIGUSR1 && info.si_signo == SIGUSR1 && seen_count == 2);
	pthread_join(sender, NULL);
	CHECK(sigtimedwait(&usr1, &info, &wait_20_ms) == -1 && errno == EAGAIN);
	CHECK(!pthread_sigmask(SIG_SETMASK, &before, NULL) && seen_count == 2);
}

const struct check checks_of_signals[] = {
	{"clocks", check_clocks},
	{"signals", check_signals},
	{"timers", check_timers},
	{"signals_in_calls", check_signals_in_calls},
	{"signal_masks_of_waits", check_signal_masks_of_waits},
	{0},
};
