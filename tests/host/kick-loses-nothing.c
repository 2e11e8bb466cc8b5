/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: kick_syscall() and its signal handler. One thread goes in and out of
 * blocking calls; each kick is a flag and one signal, at any moment, and must
 * bring it back. A lost one would leave it blocked for ever.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "host/ocall.h"
#include <signal.h>

#define KICKS 200000
#define LOST_AFTER_S 10

static int pipe_fd[2];
static volatile uint32_t kicked;
static atomic_uint answered;
static atomic_bool done;
static atomic_int blocked_tid;

static void *blocked(void *arg)
{
	char byte;

	atomic_store(&blocked_tid, gettid());
	while (!atomic_load(&done)) {
		long rc = kick_syscall(&kicked, SYS_read, pipe_fd[0], (long)&byte, 1, 0, 0, 0);

		if (rc != -EINTR || !kicked)
			continue;
		kicked = 0;
		atomic_fetch_add(&answered, 1);
	}
	return NULL;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static bool kick_and_wait(unsigned number)
{
	double start;

	kicked = 1;
	atomic_thread_fence(memory_order_seq_cst);
	syscall(SYS_tgkill, getpid(), atomic_load(&blocked_tid), KICK_SIGNAL);
	for (unsigned spin = 0; atomic_load(&answered) <= number; spin++)
		if (spin > 1000) {
			start = now_s();
			while (atomic_load(&answered) <= number && now_s() - start < LOST_AFTER_S)
				sched_yield();
			return atomic_load(&answered) > number;
		}
	return true;
}

int main(void)
{
	double start = now_s();
	pthread_t thread;
	unsigned i;

	if (pipe(pipe_fd) || kick_signal_install(sigaction) || pthread_create(&thread, NULL, blocked, NULL))
		return 1;
	while (!atomic_load(&blocked_tid))
		sched_yield();
	for (i = 0; i < KICKS && now_s() - start < 20; i++) {
		/* the pause differs each time, so that the signal meets every instruction of the way in */
		for (volatile unsigned pause = i * 7 % 500; pause; pause--)
			;
		if (!kick_and_wait(i)) {
			printf("kick %u was lost\n", i);
			return 1;
		}
	}
	atomic_store(&done, true);
	kick_and_wait(i);
	pthread_join(thread, NULL);
	printf("%u kicks, none lost\n", i);
	return 0;
}
