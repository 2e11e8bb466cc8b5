/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals and exceptions that a host makes up: a program's own are not among those it may send, and one that the
 * processor has saved is answered once.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "enclave/entry.h"
#include "enclave/signal.h"
#include "enclave/timer.h"
#include "sgx/arch.h"
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
#define CODE (APP_BASE + 0x900)
#define STACK (HEAP_BASE + (6u << 20))

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

static struct sgx_gprsgx *registers(struct thread *t)
{
	return (struct sgx_gprsgx *)((uint8_t *)t - THREAD_RECORD + THREAD_SSA + PAGE_SIZE) - 1;
}

/* An exception of the program's, as the processor leaves it. */
static struct sgx_gprsgx *raise_exception(struct thread *t, unsigned vector, uint64_t addr, uint32_t code)
{
	struct sgx_gprsgx *g = registers(t);
	struct sgx_exinfo *x = (struct sgx_exinfo *)g - 1;
	*g = (struct sgx_gprsgx){.rip = CODE, .rsp = STACK, .exitinfo = 1u << 31 | SGX_EXITTYPE_HARDWARE << 8 | vector};
	*x = (struct sgx_exinfo){.maddr = addr, .errcd = code};
	t->ctx.signal_mask = 0;
	return g;
}

static void exceptions_are_answered_once(struct thread *t)
{
	handle(t, SIGILL);
	for (int i = 0; i < 3; i++) {
		struct sgx_gprsgx *g = raise_exception(t, 6, 0, 0);
		CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE);
		CHECK(g->rip == (uint64_t)context_signal && g->rsp < STACK);
		struct sgx_gprsgx before = *g;
		for (int k = 0; k < 3; k++)
			CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE && memcmp(&before, g, sizeof(before)) == 0);
	}
}

int main(void)
{
	enclave_begin();
	struct thread *t = thread_self();
	CHECK(mm_mmap(HEAP_BASE + (4u << 20), 4 << 20, 3, 0x12) > 0);
	host_sends_what_hosts_send(t);
	exceptions_are_answered_once(t);
	return 0;
}
