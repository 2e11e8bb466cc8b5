/* SPDX-License-Identifier: Apache-2.0
 *
 * The program's own signal handlers: faults of its own code, of the enclave at
 * an AEP that is not the vDSO's, alternate stacks, masks, and default actions.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static struct test_enclave t;
static sigjmp_buf away;
static siginfo_t last;
static ucontext_t context;
static uint8_t alternate[65536];
static int on_alternate;
static sigset_t mask_inside;

static void handler(int signal, siginfo_t *info, void *u_context)
{
	uint8_t here;

	last = *info;
	memcpy(&context, u_context, 304); /* what the kernel writes */
	on_alternate = &here >= alternate && &here < alternate + sizeof(alternate);
	sigprocmask(SIG_SETMASK, NULL, &mask_inside);
	siglongjmp(away, signal);
}

static void install(int signal, int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR2);
	CHECK_EQ(softsgx_sigaction(signal, &action, NULL), 0);
}

/* EENTER from an ordinary instruction, with our own AEP. */
static void enter_raw(uint64_t tcs, enum test_op op, struct test_args *args)
{
	__asm__ volatile("push %%rbp; mov $2, %%eax; lea 1f(%%rip), %%rcx; xor %%edx, %%edx\n"
			 "1: enclu\n"
			 "pop %%rbp"
			 : "+D"(op), "+S"(args), "+b"(tcs)
			 :
			 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
			   "memory", "cc");
}

static void null_write(void)
{
	*(volatile int *)8 = 1;
}
static void illegal(void)
{
	__asm__ volatile("ud2");
}
static void send_self(void)
{
	raise(SIGSEGV);
}
static void enclave_fault(void)
{
	struct test_args args = {0};

	enter_raw(t.base + AT_TCS(5), OP_UD2, &args);
}
static void enclu_outside(void)
{
	__asm__ volatile("enclu" : : "a"(4));
}

int main(void)
{
	struct test_args args = {0};
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)}, now;
	struct sigaction old;
	int signal;

	test_build(&t, NULL);
	test_call(&t, 0, OP_NULL, &args);

	/* By default they still kill. */
	CHECK_EQ(test_dies_of(null_write), SIGSEGV);
	CHECK_EQ(test_dies_of(illegal), SIGILL);
	CHECK_EQ(test_dies_of(send_self), SIGSEGV);
	CHECK_EQ(test_dies_of(enclave_fault), SIGILL);
	CHECK_EQ(test_dies_of(enclu_outside), SIGSEGV);

	install(SIGSEGV, 0);
	install(SIGILL, SA_ONSTACK);
	CHECK_EQ(softsgx_sigaction(SIGSEGV, NULL, &old), 0);
	CHECK(old.sa_sigaction == handler);
	if (!(signal = sigsetjmp(away, 1)))
		null_write();
	CHECK_EQ(signal, SIGSEGV);
	CHECK_EQ((uint64_t)last.si_addr, 8);
	CHECK_EQ(last.si_code, SEGV_MAPERR);
	CHECK(sigismember(&mask_inside, SIGUSR2));
	CHECK(!on_alternate);
	if (!(signal = sigsetjmp(away, 1)))
		illegal();
	CHECK_EQ(signal, SIGILL);

	/* The C library's own two are not the program's. */
	CHECK_EQ(softsgx_sigaction(32, NULL, NULL), -EINVAL);
	CHECK_EQ(softsgx_sigaction(33, &(struct sigaction){.sa_handler = SIG_DFL}, NULL), -EINVAL);

	/* ENCLU where only EENTER and ERESUME are legal. */
	if (!(signal = sigsetjmp(away, 1)))
		enclu_outside();
	CHECK_EQ(signal, SIGSEGV);
	CHECK_EQ(context.uc_mcontext.gregs[REG_TRAPNO], 13);

	/* An enclave's fault at an AEP of our own: synthetic state, signal. */
	if (!(signal = sigsetjmp(away, 1)))
		enter_raw(t.base + AT_TCS(1), OP_UD2, &args);
	CHECK_EQ(signal, SIGILL);
	CHECK_EQ(context.uc_mcontext.gregs[REG_TRAPNO], 6);
	CHECK_EQ(context.uc_mcontext.gregs[REG_RAX], 3);
	CHECK_EQ(context.uc_mcontext.gregs[REG_RBX], t.base + AT_TCS(1));
	CHECK_EQ(context.uc_mcontext.gregs[REG_RCX], context.uc_mcontext.gregs[REG_RIP]);
	CHECK_EQ(context.uc_mcontext.gregs[REG_RDI], 0);
	CHECK_EQ(context.uc_mcontext.gregs[REG_R11], 0);
	args.rbx = t.base + AT_READONLY + 0x123;
	if (!(signal = sigsetjmp(away, 1)))
		enter_raw(t.base + AT_TCS(2), OP_WRITE, &args);
	CHECK_EQ(signal, SIGSEGV);
	CHECK_EQ((uint64_t)last.si_addr, t.base + AT_READONLY);
	CHECK_EQ(last.si_code, SEGV_ACCERR);
	CHECK_EQ(context.uc_mcontext.gregs[REG_ERR], 6);
	args.rbx = t.base + AT_FREE + 0x123;
	if (!(signal = sigsetjmp(away, 1)))
		enter_raw(t.base + AT_TCS(3), OP_READ, &args);
	CHECK_EQ(signal, SIGSEGV);
	CHECK_EQ(context.uc_mcontext.gregs[REG_ERR] & 0xffff, 0x8005);
	/* EENTER itself fails: #GP at the ENCLU. */
	if (!(signal = sigsetjmp(away, 1)))
		enter_raw(t.base + AT_TCS(3) + 16, OP_NULL, &args);
	CHECK_EQ(signal, SIGSEGV);
	CHECK_EQ(context.uc_mcontext.gregs[REG_RAX], 2);

	/* INT3 inside is never told through the call. */
	install(SIGTRAP, 0);
	if (!(signal = sigsetjmp(away, 1)))
		test_call(&t, 4, OP_INT3, &args);
	CHECK_EQ(signal, SIGTRAP);
	test_destroy(&t);
	(void)stack;
	(void)now;
	return 0;
}
