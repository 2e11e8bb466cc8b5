/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: kick_syscall() and its signal handler. A child goes to block in read();
 * stepped by ptrace, it is kicked once at every single instruction on the way,
 * which no timing would hit, and must come back each time.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "host/ocall.h"

/* kick.S */
extern const char kick_window[], kick_window_end[];

#define STEPS_MAX 100
#define LOST_AFTER_S 5

static volatile uint32_t kicked;

static void child(int fd)
{
	char byte;
	long rc;

	if (kick_signal_install(sigaction) || ptrace(PTRACE_TRACEME, 0, 0, 0))
		_exit(10);
	alarm(LOST_AFTER_S);
	raise(SIGSTOP);
	rc = kick_syscall(&kicked, SYS_read, fd, (long)&byte, 1, 0, 0, 0);
	_exit(rc == -EINTR && kicked ? 0 : 11);
}

static uint64_t rip_of(pid_t pid)
{
	struct user_regs_struct regs;

	ptrace(PTRACE_GETREGS, pid, 0, &regs);
	return regs.rip;
}

static void step(pid_t pid)
{
	int status;

	ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
	waitpid(pid, &status, 0);
}

static void kick(pid_t pid)
{
	ptrace(PTRACE_POKEDATA, pid, &kicked, 1);
	ptrace(PTRACE_CONT, pid, 0, KICK_SIGNAL);
}

/* Kicks at the n-th instruction of kick_syscall. 1: it came back; 0: it was lost; -1: no such instruction. */
static int kick_at(unsigned n, int fd, uint64_t *where)
{
	pid_t pid = fork();
	unsigned inside = 0;
	int status;

	if (!pid)
		child(fd);
	waitpid(pid, &status, 0);
	while (rip_of(pid) != (uint64_t)&kick_syscall)
		step(pid);
	for (; inside < n && rip_of(pid) + 2 < (uint64_t)kick_window_end; inside++)
		step(pid);
	*where = rip_of(pid);
	if (inside < n) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return -1;
	}
	kick(pid);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

int main(void)
{
	unsigned n, in_window = 0;
	int pipe_fd[2];
	uint64_t where;

	if (pipe(pipe_fd))
		return 1;
	for (n = 0; n < STEPS_MAX; n++) {
		int rc = kick_at(n, pipe_fd[0], &where);

		if (rc < 0)
			break;
		if (!rc) {
			printf("a kick %lld bytes into the window was lost\n",
			       (long long)(where - (uint64_t)kick_window));
			return 1;
		}
		in_window += where >= (uint64_t)kick_window;
	}
	printf("kicked at %u instructions, %u of them in the window\n", n, in_window);
	return n == STEPS_MAX || in_window < 3;
}
