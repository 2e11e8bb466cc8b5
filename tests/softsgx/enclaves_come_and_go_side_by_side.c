/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread's calls on its own descriptor, while other threads' enclaves are
 * opened and closed. A signal holds it up anywhere in the middle.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#define ROUNDS 8000

static volatile int held_up;

static void *comes_and_goes(void *unused)
{
	while (held_up < ROUNDS) {
		int fd = softsgx_open(SGX_DEVICE_ENCLAVE);

		CHECK(fd >= 0);
		CHECK_EQ(softsgx_close(fd), 0);
	}
	return NULL;
}

/* Again only some time after it has gone on: a period that sleeping exceeds would leave it no time at all. */
static void hold_up_soon(void)
{
	CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 100}}, NULL), 0);
}

static void hold_up(int signal)
{
	held_up++;
	usleep(300);
	if (held_up < ROUNDS)
		hold_up_soon();
}

int main(void)
{
	struct sigaction action = {.sa_handler = hold_up, .sa_flags = SA_RESTART};
	pthread_t thread;
	sigset_t alarms;
	int fd = softsgx_open(SGX_DEVICE_ENCLAVE), last;

	/* Ours is behind the other's in the table. */
	last = softsgx_open(SGX_DEVICE_ENCLAVE);
	CHECK_EQ(softsgx_close(fd), 0);
	CHECK_EQ(softsgx_sigaction(SIGALRM, &action, NULL), 0);
	sigemptyset(&alarms);
	sigaddset(&alarms, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarms, NULL);
	CHECK_EQ(pthread_create(&thread, NULL, comes_and_goes, NULL), 0);
	sigprocmask(SIG_UNBLOCK, &alarms, NULL);
	hold_up_soon();
	while (held_up < ROUNDS)
		CHECK_EQ(softsgx_ioctl(last, 0, NULL), -ENOTTY);
	pthread_join(thread, NULL);
	CHECK_EQ(softsgx_close(last), 0);
	return 0;
}
