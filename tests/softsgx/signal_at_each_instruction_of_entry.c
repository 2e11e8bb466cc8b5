/* SPDX-License-Identifier: Apache-2.0
 *
 * A signal before each single instruction of an entry that goes the short way
 * until it finds a frame left: the handler finds a TCS that can be entered.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_enclave t;
static volatile int handled;

static void handler(int signal)
{
	struct test_args args = {0};
	struct sgx_enclave_run run;

	CHECK_EQ(test_enter(&t, 2, OP_NULL, &args, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
	handled++;
}

/* Stops before each entry; the frame below it is made anew and dropped each time. */
static void entries(void)
{
	for (;;) {
		struct test_args args = {.rax = SGX_EDECCSSA};
		struct sgx_enclave_run run;

		CHECK_EQ(test_enter(&t, 2, OP_UD2, &args, &run), 0);
		CHECK_EQ(run.exception_vector, 6);
		handled = 0;
		raise(SIGSTOP);
		test_call(&t, 2, OP_LEAF, &args);
		CHECK_EQ(args.cssa, 1);
		CHECK_EQ(handled, 1);
	}
}

/* Lets the child run to its next stop, its own signals passed on. */
static void run_to_stop(pid_t child, int signal)
{
	int status;

	do {
		CHECK_EQ(ptrace(PTRACE_CONT, child, NULL, (long)signal), 0);
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSTOPPED(status));
		signal = WSTOPSIG(status);
	} while (signal != SIGSTOP);
}

/* One instruction; 0 if it was one that traps. */
static int step(pid_t child)
{
	siginfo_t info;
	int status;

	CHECK_EQ(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, child, NULL, &info), 0);
	return info.si_code == TRAP_TRACE;
}

static uint64_t rip(pid_t child)
{
	struct user_regs_struct registers;

	CHECK_EQ(ptrace(PTRACE_GETREGS, child, NULL, &registers), 0);
	return registers.rip;
}

int main(void)
{
	struct sigaction action = {.sa_handler = handler};
	int steps = 0, more = 1, status;
	pid_t child;

	test_build(&t, NULL);
	CHECK_EQ(softsgx_sigaction(SIGALRM, &action, NULL), 0);
	child = fork();
	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		entries();
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	if (!WIFSTOPPED(status)) {
		puts("traced already");
		return 77;
	}
	for (; more; steps++) {
		run_to_stop(child, steps ? SIGALRM : 0);
		while (rip(child) != (uint64_t)test_enter_enclave)
			CHECK(step(child));
		for (int i = 0; i < steps && more; i++)
			more = step(child);
	}
	CHECK(steps > 60); /* over the reserved fields alone */
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	test_destroy(&t);
	return 0;
}
