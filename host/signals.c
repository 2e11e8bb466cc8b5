/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include "host/enclave_private.h"
#include "host/log.h"
#include "host/signals.h"

/* SIGTSTP and SIGCONT stay with the process: they stop and continue it as a whole. */
static const int forwarded[] = {SIGHUP,	 SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
				SIGUSR2, SIGWINCH, SIGALRM, SIGCHLD};

static void forwarded_set(sigset_t *set)
{
	sigemptyset(set);
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

static void forward(struct enclave *e, int number)
{
	struct service_call call = {.op = SERVICE_SIGNAL, .arg = {number}};

	if (!enclave_service(e, &call) && !call.result)
		enclave_kick(e, call.ret[0]);
}

static void *forward_loop(void *arg)
{
	struct enclave *e = arg;
	uint64_t last_ms = 0;
	sigset_t set;

	forwarded_set(&set);
	for (;;) {
		int number = sigwaitinfo(&set, NULL);

		if (number < 0)
			continue;
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
	pthread_t thread;
	int rc = -pthread_create(&thread, NULL, forward_loop, e);

	if (!rc)
		pthread_detach(thread);
	return rc;
}
