/* SPDX-License-Identifier: Apache-2.0
 *
 * What a child of vfork() does to its signal actions before it runs another
 * program is not done to the parent's, whose memory it borrows.
 */
#include "tests/softsgx/harness.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int handled;

static void on_signal(int signal)
{
	handled++;
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_signal}, initial = {.sa_handler = SIG_DFL}, seen;
	int fd = softsgx_open(SGX_DEVICE_ENCLAVE), status;
	pid_t child;

	CHECK(fd >= 0);
	CHECK_EQ(softsgx_sigaction(SIGUSR1, &action, NULL), 0);
	child = vfork();
	if (!child) {
		if (softsgx_sigaction(SIGUSR1, &initial, &seen) || seen.sa_handler != on_signal)
			_exit(1);
		if (softsgx_sigaction(SIGUSR1, NULL, &seen) || seen.sa_handler != SIG_DFL)
			_exit(2);
		raise(SIGUSR1);
		_exit(3);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
	CHECK_EQ(softsgx_sigaction(SIGUSR1, NULL, &seen), 0);
	CHECK(seen.sa_handler == on_signal);
	raise(SIGUSR1);
	CHECK_EQ(handled, 1);
	softsgx_close(fd);
	return 0;
}
