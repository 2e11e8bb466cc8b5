/* SPDX-License-Identifier: Apache-2.0
 *
 * Enclave memory from outside: ones, writes vanish, absent pages come into being
 * without content, and forbidden accesses fault like any other.
 */
#include "tests/softsgx/harness.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

static sigjmp_buf away;
static siginfo_t last;

static void handler(int signal, siginfo_t *info, void *context)
{
	last = *info;
	siglongjmp(away, signal);
}

static int touch(volatile uint64_t *at, int write)
{
	int signal = sigsetjmp(away, 1);

	if (signal)
		return signal;
	if (write)
		*at = 5;
	else
		(void)*at;
	return 0;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	struct test_options options = {.unsigned_only = 1};
	struct test_enclave t;
	struct test_args args;
	volatile uint64_t *data;
	uint8_t copy[8192];

	/* Strict: exits take the pages away from the host again. */
	setenv("SOFTSGX_STRICT", "1", 1);
	test_build(&t, &options);
	softsgx_sigaction(SIGSEGV, &action, NULL);
	softsgx_sigaction(SIGBUS, &action, NULL);
	/* Not initialised: what is there reads as ones, what is not is a bus error. */
	data = (void *)(t.base + AT_DATA);
	CHECK_EQ(data[0], ~0ull);
	CHECK_EQ(touch((void *)(t.base + AT_DATA + 0x8000), 0), SIGSEGV); /* not mapped */
	CHECK_EQ(test_map(&t, AT_FREE, 0x1000, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(touch((void *)(t.base + AT_FREE), 0), SIGBUS);
	CHECK_EQ((uint64_t)last.si_addr, t.base + AT_FREE);
	CHECK_EQ(test_init(&t, &t.sig), 0);

	data[3] = 77;
	CHECK_EQ(data[3], ~0ull);
	args = (struct test_args){.rbx = t.base + AT_DATA + 24};
	test_call(&t, 0, OP_READ, &args);
	CHECK_EQ(args.rax, 0);
	args.rax = 0x1234;
	test_call(&t, 0, OP_WRITE, &args);
	CHECK_EQ(data[3], ~0ull);
	data[3] = 0;
	__atomic_fetch_add(&data[3], 1, __ATOMIC_SEQ_CST);
	test_call(&t, 0, OP_READ, &args);
	CHECK_EQ(args.rax, 0x1234);
	/* over a page border, and many bytes at once */
	CHECK_EQ(*(volatile uint64_t *)(t.base + AT_DATA + 0xffc), ~0ull);
	memcpy(copy, (void *)(t.base + AT_DATA), sizeof(copy));
	for (size_t i = 0; i < sizeof(copy); i++)
		CHECK_EQ(copy[i], 0xff);
	CHECK_EQ(*(volatile uint64_t *)(t.base + AT_TCS(0)), ~0ull);
	CHECK_EQ(touch((void *)(t.base + AT_READONLY), 1), SIGSEGV);
	CHECK_EQ(last.si_code, SEGV_ACCERR);

	/* An outside touch adds a page; it is pending for the enclave. */
	CHECK_EQ(*(volatile uint64_t *)(t.base + AT_FREE), ~0ull);
	args = (struct test_args){.rbx = t.base + AT_FREE};
	test_faults(&t, OP_READ, &args, 14, 0x8005, t.base + AT_FREE);
	test_destroy(&t);
	return 0;
}
