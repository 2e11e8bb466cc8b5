/* SPDX-License-Identifier: Apache-2.0
 *
 * An enclave that stops with the worst registers it can have (a stack pointer
 * into nothing, into the host, into the signal stack; alignment checks and the
 * direction flag on): the exit is like any other.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define AC 0x40000
#define DF 0x400
#define TF 0x100

static struct test_enclave t;
static struct test_args spin;

static void *spinner(void *stack)
{
	test_call(&t, 1, OP_SPIN, &spin);
	sigaltstack(NULL, stack);
	return NULL;
}

static void stops(uint64_t rsp, uint64_t flags)
{
	struct test_args args = {.rbx = rsp, .rcx = flags};

	test_faults(&t, OP_HOSTILE, &args, 6, 0, 0);
}

int main(void)
{
	struct test_args args = {0};
	stack_t own, other;
	pthread_t thread;

	test_build(&t, NULL);
	test_call(&t, 0, OP_NULL, &args);
	CHECK_EQ(sigaltstack(NULL, &own), 0);
	spin.flag = 1;
	CHECK_EQ(pthread_create(&thread, NULL, spinner, &other), 0);
	pthread_join(thread, NULL);

	stops(0, 0);
	stops(8, 0);
	stops(~0ull, 0);
	stops(1ull << 55, 0);
	stops((uint64_t)&args, 0);
	stops(0, TF); /* POPF does not set it */
	if (own.ss_sp && !(own.ss_flags & SS_DISABLE)) {
		stops((uint64_t)own.ss_sp + own.ss_size, 0);
		stops((uint64_t)own.ss_sp + 4096, 0);
		stops((uint64_t)own.ss_sp + own.ss_size + 8, 0);
		stops((uint64_t)other.ss_sp + 8192, 0);
	}
	/* DF comes out to the host, which clears it, and so does AC. */
	for (int i = 0; i < 3; i++) {
		struct sgx_enclave_run run;

		args = (struct test_args){.rbx = 1, .rcx = AC | DF};
		CHECK_EQ(test_enter(&t, 2, OP_HOSTILE, &args, &run), 0);
		__asm__ volatile("sub $128, %%rsp; pushfq; andl $~0x40400, (%%rsp); popfq; add $128, %%rsp" ::
				     : "memory", "cc");
		CHECK_EQ(run.function, SGX_ERESUME);
		CHECK_EQ(run.exception_vector, 6);
	}
	test_destroy(&t);
	return 0;
}
