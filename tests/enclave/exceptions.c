/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals that a host makes up: those of a program's own exceptions are not among what it may send.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "enclave/signal.h"
#include "enclave/timer.h"
#include "tests/enclave/support.h"

void host_answer(struct thread *t, struct call_area *area)
{
	(void)t;
	area->result = -EIO;
	area->interrupted = 0;
}

void context_signal(uint64_t rsp, uint64_t handler, int signum, uint64_t info, uint64_t ucontext)
{
	(void)rsp, (void)handler, (void)signum, (void)info, (void)ucontext;
	abort();
}

void park(struct thread *t)
{
	(void)t;
	abort();
}

void thread_resume(struct thread *t)
{
	(void)t;
	abort();
}

void stop_signal(bool on)
{
	(void)on;
}

bool state_is_destination(void)
{
	return false;
}

bool timer_raised(int signum, uint32_t tid, struct timer_rung *rung)
{
	(void)signum, (void)tid, (void)rung;
	return false;
}

#define HANDLER (APP_BASE + 0x800)

static void handle(struct thread *t, int signum)
{
	/* the kernel's: handler, flags, restorer, mask */
	const uint64_t action[4] = {HANDLER, SA_NODEFER, 0, 0};
	memcpy((void *)APP_BASE, action, sizeof(action));
	signal_action(t, signum, APP_BASE, 0);
}

static void host_sends_what_hosts_send(struct thread *t)
{
	static const int sent[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGCHLD};
	for (int number = -1; number <= 65; number++) {
		bool may = false;
		for (unsigned i = 0; i < sizeof(sent) / sizeof(*sent); i++)
			may |= sent[i] == number;
		handle(t, number);
		CHECK((signal_process(number, true) != -EINVAL) == may);
		CHECK((signal_process(number, false) != -EINVAL) == (number >= 1 && number <= 64));
	}
}

int main(void)
{
	enclave_begin();
	struct thread *t = thread_self();
	host_sends_what_hosts_send(t);
	return 0;
}
