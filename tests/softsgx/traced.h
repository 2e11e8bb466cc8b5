/* SPDX-License-Identifier: Apache-2.0
 *
 * A child that is traced, for what may happen between any two instructions.
 */
#ifndef TESTS_SOFTSGX_TRACED_H
#define TESTS_SOFTSGX_TRACED_H

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/softsgx/harness.h"

/* body stops itself by SIGSTOP where its tracer is to take over, and never returns. Skips the test where nobody may be
 * traced. */
static inline pid_t traced_begin(void (*body)(void))
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		body();
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	if (!WIFSTOPPED(status)) {
		puts("traced already");
		exit(77);
	}
	return child;
}

/* To its next stop; signal, or 0, and then its own signals are passed on. */
static inline void traced_run(pid_t child, int signal)
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
static inline int traced_step(pid_t child)
{
	siginfo_t info;
	int status;

	CHECK_EQ(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	CHECK_EQ(ptrace(PTRACE_GETSIGINFO, child, NULL, &info), 0);
	return info.si_code == TRAP_TRACE;
}

static inline uint64_t traced_rip(pid_t child)
{
	struct user_regs_struct registers;

	CHECK_EQ(ptrace(PTRACE_GETREGS, child, NULL, &registers), 0);
	return registers.rip;
}

/* To where it enters an enclave next. */
static inline void traced_to_entry(pid_t child)
{
	while (traced_rip(child) != (uint64_t)test_enter_enclave)
		CHECK(traced_step(child));
}

static inline void traced_end(pid_t child)
{
	int status;

	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

#endif
