/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>
#include "abi/layout.h"
#include "host/timepage.h"

#define NS_PER_S 1000000000ull
#define UPDATE_INTERVAL_MS 20
/* Two clock readings 50 ns uncertain each, this far apart: 25 parts in a million. It improves with every
 * update. */
#define CALIBRATION_NS_MIN 4000000ull

struct sample {
	uint64_t tsc, mono_ns, real_ns;
};

struct timepage {
	struct time_page *page;
	struct sample first;
	pthread_t thread;
	pthread_mutex_t lock; /* protects the following */
	pthread_cond_t stop_changed;
	bool started, stopping;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* The counter is read on both sides of the clock; of a few tries the one least disturbed counts. */
static struct sample sample_take(void)
{
	struct sample best = {0, 0, 0};
	uint64_t best_width = UINT64_MAX;

	for (int i = 0; i < 5; i++) {
		uint64_t before = __rdtsc(), mono = clock_ns(CLOCK_MONOTONIC), after = __rdtsc();
		uint64_t real = clock_ns(CLOCK_REALTIME);

		if (after - before < best_width) {
			best_width = after - before;
			best = (struct sample){before + best_width / 2, mono, real};
		}
	}
	return best;
}

static void publish(struct timepage *t, const struct sample *s)
{
	struct time_page *p = t->page;
	uint32_t seq = p->seq;

	__atomic_store_n(&p->seq, seq + 1, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
	p->tsc = s->tsc;
	p->mono_ns = s->mono_ns;
	p->real_ns = s->real_ns;
	p->tsc_hz = (unsigned __int128)(s->tsc - t->first.tsc) * NS_PER_S / (s->mono_ns - t->first.mono_ns);
	__atomic_store_n(&p->seq, seq + 2, __ATOMIC_RELEASE);
}

static void *update_loop(void *arg)
{
	struct timepage *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		struct sample s = sample_take();
		struct timespec until;

		publish(t, &s);
		s.mono_ns += UPDATE_INTERVAL_MS * 1000000ull;
		until = (struct timespec){s.mono_ns / NS_PER_S, s.mono_ns % NS_PER_S};
		pthread_cond_timedwait(&t->stop_changed, &t->lock, &until);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int timepage_create(struct timepage **out)
{
	struct timepage *t = calloc(1, sizeof(*t));
	pthread_condattr_t monotonic;

	if (!t)
		return -ENOMEM;
	t->page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (t->page == MAP_FAILED) {
		free(t);
		return -ENOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&t->stop_changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	t->first = sample_take();
	*out = t;
	return 0;
}

static void calibrate(struct timepage *t)
{
	uint64_t ready = t->first.mono_ns + CALIBRATION_NS_MIN;
	struct timespec until = {ready / NS_PER_S, ready % NS_PER_S};
	struct sample s;

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	s = sample_take();
	publish(t, &s);
}

int timepage_start(struct timepage *t)
{
	sigset_t all, old;
	int rc = 0;

	pthread_mutex_lock(&t->lock);
	if (!t->started) {
		calibrate(t);
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		rc = -pthread_create(&t->thread, NULL, update_loop, t);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		t->started = !rc;
	}
	pthread_mutex_unlock(&t->lock);
	return rc;
}

void timepage_destroy(struct timepage *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_signal(&t->stop_changed);
	pthread_mutex_unlock(&t->lock);
	if (t->started)
		pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->stop_changed);
	pthread_mutex_destroy(&t->lock);
	munmap(t->page, PAGE_SIZE);
	free(t);
}

struct time_page *timepage_page(struct timepage *t)
{
	return t->page;
}
