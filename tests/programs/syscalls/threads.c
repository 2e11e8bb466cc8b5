/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads, what each has of its own, and how they wait for each other.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Thread_local int thread_local_number = 5;
static _Thread_local char thread_local_zeroes[5000];

static void *add_one(void *argument)
{
	bool is_fresh = thread_local_number == 5;

	for (size_t i = 0; i < sizeof(thread_local_zeroes); i++)
		is_fresh = is_fresh && !thread_local_zeroes[i];
	thread_local_number = 6;
	memset(thread_local_zeroes, 1, sizeof(thread_local_zeroes));
	return is_fresh ? (char *)argument + 1 : NULL;
}

static void check_threads(void)
{
	for (int round = 0; round < 20; round++) {
		pthread_t threads[4];
		for (uintptr_t i = 0; i < 4; i++)
			CHECK(!pthread_create(&threads[i], NULL, add_one, (void *)(i + 10)));
		for (uintptr_t i = 0; i < 4; i++) {
			void *result;
			CHECK(!pthread_join(threads[i], &result) && (uintptr_t)result == i + 11);
		}
	}
	CHECK(thread_local_number == 5);
}

static void *detached(void *argument)
{
	sem_post(argument);
	return NULL;
}

static void check_thread_attributes(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sem_t done;

	CHECK(!sem_init(&done, 0, 0) && !pthread_attr_init(&attributes));
	CHECK(!pthread_attr_setstacksize(&attributes, 256 << 10));
	CHECK(!pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
	CHECK(!pthread_create(&thread, &attributes, detached, &done) && !sem_wait(&done));
	CHECK(!pthread_attr_destroy(&attributes) && !sem_destroy(&done));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int shared_number;

static void *count_up(void *unused)
{
	(void)unused;
	for (int i = 0; i < 10000; i++) {
		pthread_mutex_lock(&lock);
		shared_number++;
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_lock(&lock);
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void check_mutex_and_condition(void)
{
	pthread_t threads[4];
	struct timespec soon;

	shared_number = 0;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, count_up, NULL));
	pthread_mutex_lock(&lock);
	while (shared_number < 40000)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(shared_number == 40000);
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 20000000;
	soon.tv_sec += soon.tv_nsec / 1000000000;
	soon.tv_nsec %= 1000000000;
	pthread_mutex_lock(&lock);
	int rc = pthread_cond_timedwait(&changed, &lock, &soon);
	pthread_mutex_unlock(&lock);
	CHECK(rc == ETIMEDOUT);
	pthread_mutexattr_t attributes;
	pthread_mutex_t recursive;
	CHECK(!pthread_mutexattr_init(&attributes) && !pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE));
	CHECK(!pthread_mutex_init(&recursive, &attributes));
	CHECK(!pthread_mutex_lock(&recursive) && !pthread_mutex_lock(&recursive) && !pthread_mutex_unlock(&recursive));
	CHECK(!pthread_mutex_unlock(&recursive) && !pthread_mutex_destroy(&recursive));
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;

static void *read_locked(void *unused)
{
	(void)unused;
	pthread_rwlock_rdlock(&rwlock);
	pthread_barrier_wait(&barrier); /* both readers hold it */
	pthread_rwlock_unlock(&rwlock);
	return NULL;
}

static void check_rwlock_and_barrier(void)
{
	pthread_t threads[2];

	CHECK(!pthread_barrier_init(&barrier, NULL, 2));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, read_locked, NULL));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(!pthread_rwlock_wrlock(&rwlock) && pthread_rwlock_tryrdlock(&rwlock) == EBUSY);
	CHECK(!pthread_rwlock_unlock(&rwlock) && !pthread_barrier_destroy(&barrier));
}

static void *end_with_mutex(void *mutex)
{
	pthread_mutex_lock(mutex);
	return NULL;
}

static void check_robust_mutex(void)
{
	pthread_mutexattr_t robust;
	pthread_mutex_t mutex;
	pthread_t thread;

	CHECK(!pthread_mutexattr_init(&robust) && !pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST));
	CHECK(!pthread_mutex_init(&mutex, &robust));
	CHECK(!pthread_create(&thread, NULL, end_with_mutex, &mutex) && !pthread_join(thread, NULL));
	CHECK(pthread_mutex_trylock(&mutex) == EOWNERDEAD && !pthread_mutex_consistent(&mutex));
	CHECK(!pthread_mutex_unlock(&mutex) && !pthread_mutex_trylock(&mutex) && !pthread_mutex_unlock(&mutex));
}

static void check_semaphore(void)
{
	sem_t s;
	struct timespec past = {1, 0};
	int value;

	CHECK(!sem_init(&s, 0, 2) && !sem_wait(&s) && !sem_trywait(&s) && sem_trywait(&s) == -1 && errno == EAGAIN);
	CHECK(sem_timedwait(&s, &past) == -1 && errno == ETIMEDOUT);
	CHECK(!sem_post(&s) && !sem_getvalue(&s, &value) && value == 1 && !sem_destroy(&s));
}

static atomic_int cleaned;

static void clean(void *unused)
{
	(void)unused;
	cleaned++;
}

static void *wait_forever(void *argument)
{
	char c;

	pthread_cleanup_push(clean, NULL);
	if (read(*(int *)argument, &c, 1) < 0)
		perror("read");
	pthread_cleanup_pop(0);
	return NULL;
}

static void *compute_forever(void *argument)
{
	volatile atomic_int *rounds = argument;

	pthread_cleanup_push(clean, NULL);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		(*rounds)++;
	pthread_cleanup_pop(0);
	return NULL;
}

static void check_cancel_while_computing(void)
{
	pthread_t thread;
	void *result;
	atomic_int rounds = 0;

	cleaned = 0;
	CHECK(!pthread_create(&thread, NULL, compute_forever, &rounds));
	while (!rounds)
		sched_yield();
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED && cleaned == 1);
}

static void check_cancel(void)
{
	pthread_t thread;
	int ends[2];
	void *result;
	struct timespec moment = {0, 20000000};

	cleaned = 0;
	CHECK(!pipe(ends) && !pthread_create(&thread, NULL, wait_forever, ends));
	nanosleep(&moment, NULL);
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED && cleaned == 1);
	CHECK(!close(ends[0]) && !close(ends[1]));
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static atomic_int once_count, destroyed;

static void at_once(void)
{
	once_count++;
}

static void destroy(void *value)
{
	destroyed += (int)(intptr_t)value;
}

static void *set_key(void *unused)
{
	pthread_once(&once, at_once);
	pthread_setspecific(key, (void *)(intptr_t)3);
	return unused;
}

static void check_once_and_keys(void)
{
	pthread_t thread;

	CHECK(!pthread_key_create(&key, destroy));
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&thread, NULL, set_key, NULL) && !pthread_join(thread, NULL));
	CHECK(once_count == 1 && destroyed == 9 && !pthread_key_delete(key));
}

static atomic_long atomic_sum;

static void *add_atomically(void *unused)
{
	for (int i = 0; i < 100000; i++)
		atomic_fetch_add(&atomic_sum, 1);
	return unused;
}

static void check_atomics(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&threads[i], NULL, add_atomically, NULL));
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(atomic_sum == 300000);
}

const struct check checks_of_threads[] = {
	{"threads", check_threads},
	{"thread_attributes", check_thread_attributes},
	{"mutex_and_condition", check_mutex_and_condition},
	{"rwlock_and_barrier", check_rwlock_and_barrier},
	{"robust_mutex", check_robust_mutex},
	{"semaphore", check_semaphore},
	{"cancel", check_cancel},
	{"cancel_while_computing", check_cancel_while_computing},
	{"once_and_keys", check_once_and_keys},
	{"atomics", check_atomics},
	{0},
};
