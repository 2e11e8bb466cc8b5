/* SPDX-License-Identifier: Apache-2.0
 *
 * A signal handler that interrupted an enclave enters enclaves itself: another
 * thread's TCS, and the interrupted one a frame higher; on the program's own
 * alternate stack and without; and the interrupted enclave goes on unharmed.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct test_enclave t;
static struct test_args spin;
static uint8_t alternate[131072];
static int handled, on_alternate, nested;

static void inner(int signal)
{
	nested++;
}

static void handler(int signal, siginfo_t *info, void *context)
{
	struct test_args args = {0};
	uint8_t here;

	on_alternate += &here >= alternate && &here < alternate + sizeof(alternate);
	test_call(&t, 2, OP_BASES, &args);
	CHECK_EQ(args.rax, t.base + AT_GS(2));
	test_call(&t, 1, OP_BASES, &args);
	CHECK_EQ(args.cssa, 1);
	CHECK_EQ(args.rbx, t.base + AT_GS(1));
	/* and is itself interrupted inside one */
	raise(SIGUSR2);
	handled++;
}

static void *worker(void *unused)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};

	if (unused)
		CHECK_EQ(sigaltstack(&stack, NULL), 0);
	test_call(&t, 1, OP_SPIN, &spin);
	CHECK_EQ(spin.rbx, 0);
	return NULL;
}

static void run_with(int flags, void *use_alternate)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
	pthread_t thread;

	CHECK_EQ(softsgx_sigaction(SIGUSR1, &action, NULL), 0);
	handled = on_alternate = nested = 0;
	memset(&spin, 0, sizeof(spin));
	CHECK_EQ(pthread_create(&thread, NULL, worker, use_alternate), 0);
	for (int i = 0; i < 50; i++) {
		uint64_t before = __atomic_load_n(&spin.rax, __ATOMIC_RELAXED);

		while (__atomic_load_n(&spin.rax, __ATOMIC_RELAXED) == before)
			usleep(10);
		pthread_kill(thread, SIGUSR1);
		while (__atomic_load_n(&handled, __ATOMIC_RELAXED) <= i)
			usleep(10);
	}
	spin.flag = 1;
	pthread_join(thread, NULL);
	CHECK_EQ(handled, 50);
	CHECK_EQ(nested, 50);
	CHECK_EQ(on_alternate, (flags & SA_ONSTACK) && use_alternate ? 50 : 0);
}

int main(void)
{
	struct sigaction action = {.sa_handler = inner};

	test_build(&t, NULL);
	CHECK_EQ(softsgx_sigaction(SIGUSR2, &action, NULL), 0);
	run_with(0, NULL);
	run_with(SA_ONSTACK, NULL);
	run_with(0, &spin);
	run_with(SA_ONSTACK, &spin);
	test_destroy(&t);
	return 0;
}
