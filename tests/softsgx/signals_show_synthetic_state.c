/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals hit threads inside at any instruction, also on the way in: handlers
 * see the state of an asynchronous exit and nothing of the enclave, and the
 * enclave goes on with every register as it was.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 300

static struct test_enclave t;
static __thread unsigned long seen_inside;
static __thread uint64_t my_tcs;
static volatile int wrong;
static int done[THREADS];

#define EXPECT(what)                                                                                         \
	do {                                                                                                 \
		if (!(what) && !wrong) {                                                                     \
			wrong = __LINE__;                                                                    \
		}                                                                                            \
	} while (0)

static void handler(int signal, siginfo_t *info, void *u_context)
{
	ucontext_t *context = u_context;
	greg_t *g = context->uc_mcontext.gregs;
	uint8_t *state = (uint8_t *)context->uc_mcontext.fpregs;
	uint64_t rip = (uint64_t)g[REG_RIP];

	EXPECT(rip - t.base >= t.size);
	EXPECT((uint64_t)g[REG_RSP] - t.base >= t.size);
	if ((uint64_t)g[REG_RBX] != my_tcs || memcmp((void *)rip, "\x0f\x01\xd7", 3) || g[REG_RAX] != 3)
		return;
	seen_inside++;
	EXPECT((uint64_t)g[REG_RCX] == rip);
	EXPECT(!(g[REG_RDX] | g[REG_RSI] | g[REG_RDI] | g[REG_R8] | g[REG_R9] | g[REG_R10] | g[REG_R11]));
	EXPECT(!(g[REG_R12] | g[REG_R13] | g[REG_R14] | g[REG_R15]));
	EXPECT(!(g[REG_EFL] & 0x8d5));
	for (int i = 160; i < 416; i++)
		EXPECT(!state[i]);
}

static struct test_args args[THREADS];

static void *worker(void *argument)
{
	long i = (long)argument;

	my_tcs = t.base + AT_TCS(i);
	while (seen_inside < ROUNDS && !wrong) {
		memset(&args[i], 0, sizeof(args[i]));
		test_call(&t, (int)i, OP_SPIN, &args[i]);
		EXPECT(!args[i].rbx);
	}
	__atomic_store_n(&done[i], 1, __ATOMIC_RELEASE);
	return NULL;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	pthread_t threads[THREADS];
	unsigned int left = THREADS;

	test_build(&t, NULL);
	CHECK_EQ(softsgx_sigaction(SIGUSR1, &action, NULL), 0);
	for (long i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
	while (left) {
		left = 0;
		for (int i = 0; i < THREADS; i++) {
			if (__atomic_load_n(&done[i], __ATOMIC_ACQUIRE))
				continue;
			left++;
			pthread_kill(threads[i], SIGUSR1);
			args[i].flag = 1; /* leave, and be entered again */
		}
		usleep(20);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	if (wrong)
		fprintf(stderr, "%s:%d\n", __FILE__, wrong);
	test_destroy(&t);
	return wrong != 0;
}
