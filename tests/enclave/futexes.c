/* SPDX-License-Identifier: Apache-2.0
 *
 * Futex queues under threads, with a host that wakes whom it likes as well: a
 * lock excludes, a condition's waiters that are moved to the lock's queue all
 * come out, time-outs come in time and nobody is left in a queue.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>
#include "enclave/futex.h"
#include "tests/enclave/support.h"

#define THREADS 6
#define FIRST (THREAD_SLOTS_SERVICE + 1)
#define ROUNDS 4000

static sem_t token[64];
static _Thread_local uint64_t seed;
static uint32_t *const lock = (uint32_t *)APP_BASE, *const condition = (uint32_t *)(APP_BASE + 64);
static uint64_t counter, waiting, through;

void host_answer(struct thread *t, struct call_area *area)
{
	area->interrupted = 0;
	area->result = 0;
	if (area->op == OCALL_WAKE) {
		sem_post(&token[area->arg[0]]);
		return;
	}
	struct timespec soon;
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 200000; /* now and then for nothing */
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	if (random_below(&seed, 4))
		sem_timedwait(&token[t->slot], &soon);
}

static int64_t futex(uint32_t *word, uint64_t op, uint64_t value, uint64_t four, uint64_t other, uint64_t six)
{
	struct thread *t = thread_self();
	t->ctx.deadline_ns = 0;
	return futex_call(t, (const uint64_t[6]){(uint64_t)word, op, value, four, other, six});
}

static void take(void)
{
	uint32_t none = 0;
	if (__atomic_compare_exchange_n(lock, &none, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	while (__atomic_exchange_n(lock, 2, __ATOMIC_SEQ_CST))
		futex(lock, FUTEX_WAIT, 2, 0, 0, 0);
}

static void give(void)
{
	if (__atomic_exchange_n(lock, 0, __ATOMIC_SEQ_CST) == 2)
		futex(lock, FUTEX_WAKE, 1, 0, 0, 0);
}

static void *count(void *slot)
{
	enclave_thread((unsigned)(uintptr_t)slot);
	seed = (uintptr_t)slot;
	for (int i = 0; i < ROUNDS; i++) {
		take();
		counter++;
		give();
	}
	/* then all wait for the same, and are moved to the lock one after another */
	take();
	waiting++;
	uint32_t before = __atomic_load_n(condition, __ATOMIC_SEQ_CST);
	give();
	while (__atomic_load_n(condition, __ATOMIC_SEQ_CST) == before)
		futex(condition, FUTEX_WAIT, before, 0, 0, 0);
	while (__atomic_exchange_n(lock, 2, __ATOMIC_SEQ_CST))
		futex(lock, FUTEX_WAIT, 2, 0, 0, 0);
	through++;
	give();
	CHECK(!thread_self()->futex_queued);
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];
	enclave_begin();
	for (int i = 0; i < 64; i++)
		sem_init(&token[i], 0, 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, count, (void *)(FIRST + i));
	for (bool all = false; !all; usleep(1000)) {
		take();
		all = waiting == THREADS;
		give();
	}
	CHECK(counter == THREADS * ROUNDS);
	usleep(50000); /* they wait, most likely */
	CHECK(futex(condition, FUTEX_CMP_REQUEUE, 1, INT_MAX, (uint64_t)lock, 77) == -EAGAIN);
	uint64_t start = clock_mono_ns(); /* onto itself: comes to an end */
	CHECK(futex(condition, FUTEX_REQUEUE, 0, INT_MAX, (uint64_t)condition, 0) >= 0);
	CHECK(clock_mono_ns() - start < 1000000000);
	take();
	__atomic_store_n(lock, 2, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(condition, 1, __ATOMIC_SEQ_CST);
	CHECK(futex(condition, FUTEX_CMP_REQUEUE, 1, INT_MAX, (uint64_t)lock, *condition) >= 0);
	give();
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	CHECK(through == THREADS);

	int64_t half[2] = {0, 5000000};
	uint64_t at = HEAP_BASE + (4u << 20);
	CHECK(mm_mmap(at, PAGE_SIZE, 3, 0x12) == (int64_t)at);
	*(int64_t *)at = half[0], *(int64_t *)(at + 8) = half[1];
	CHECK(futex(lock, FUTEX_WAIT, 1, 0, 0, 0) == -EAGAIN &&
	      futex(lock, FUTEX_WAIT, 0, at, 0, 0) == -ETIMEDOUT);
	CHECK(futex(lock, FUTEX_WAIT_BITSET, 0, at, 0, 0) == -EINVAL &&
	      futex(lock, FUTEX_WAIT_BITSET, 0, at, 0, 1) == -ETIMEDOUT);
	CHECK(futex((uint32_t *)STOP_WORD, FUTEX_WAKE, 1, 0, 0, 0) == -EFAULT &&
	      futex(lock, FUTEX_LOCK_PI, 0, 0, 0, 0) == -ENOSYS);
	CHECK(!thread_self()->futex_queued && futex(lock, FUTEX_WAKE, INT_MAX, 0, 0, 0) == 0);
	return 0;
}
