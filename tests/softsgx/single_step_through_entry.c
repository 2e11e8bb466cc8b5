/* SPDX-License-Identifier: Apache-2.0
 *
 * A debugger's single step, or a signal, at every instruction of the entry: the
 * handler always has the host's thread-local storage and a TCS that is not
 * half-entered; inside nothing is stepped; the step goes on behind the exit.
 */
#include "tests/softsgx/harness.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static struct test_enclave t;
static __thread unsigned long steps = 1000000;
static volatile int inside_seen, other;

static void on_trap(int signal, siginfo_t *info, void *u_context)
{
	ucontext_t *context = u_context;

	steps++;
	if ((uint64_t)context->uc_mcontext.gregs[REG_RIP] - t.base < t.size)
		inside_seen = 1;
	raise(SIGUSR1);
}

static void on_signal(int signal)
{
	other++;
}

static void set_tf(int on)
{
	__asm__ volatile(
	    "sub $128, %%rsp; pushfq; andl $~0x100, (%%rsp); orl %0, (%%rsp); popfq; add $128, %%rsp"
	    :
	    : "r"(on ? 0x100 : 0)
	    : "cc", "memory");
}

int main(void)
{
	struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	struct sigaction plain = {.sa_handler = on_signal};
	struct test_args args = {0};

	test_build(&t, NULL);
	CHECK_EQ(softsgx_sigaction(SIGTRAP, &trap, NULL), 0);
	CHECK_EQ(softsgx_sigaction(SIGUSR1, &plain, NULL), 0);
	test_call(&t, 0, OP_NULL, &args);
	for (int i = 0; i < 20; i++) {
		set_tf(1);
		test_call(&t, 0, OP_BASES, &args);
		set_tf(0);
		CHECK_EQ(args.cssa, 0);
		CHECK_EQ(args.rax, t.base + AT_GS(0));
	}
	CHECK(steps > 1000000 + 20 * 50);
	CHECK(other > 20 * 50);
	CHECK(!inside_seen);
	/* faults while stepping */
	for (int i = 0; i < 5; i++) {
		set_tf(1);
		test_faults(&t, OP_UD2, &args, 6, 0, 0);
		set_tf(0);
	}
	test_destroy(&t);
	return 0;
}
