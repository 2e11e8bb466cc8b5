/* SPDX-License-Identifier: Apache-2.0
 *
 * A signal before each single instruction of an entry that goes the short way
 * until it finds a frame left: the handler finds a TCS that can be entered.
 */
#include "tests/softsgx/traced.h"

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

int main(void)
{
	struct sigaction action = {.sa_handler = handler};
	int steps = 0, more = 1;
	pid_t child;

	test_build(&t, NULL);
	CHECK_EQ(softsgx_sigaction(SIGALRM, &action, NULL), 0);
	child = traced_begin(entries);
	for (; more; steps++) {
		traced_run(child, steps ? SIGALRM : 0);
		traced_to_entry(child);
		for (int i = 0; i < steps && more; i++)
			more = traced_step(child);
	}
	CHECK(steps > 60); /* over the reserved fields alone */
	traced_end(child);
	test_destroy(&t);
	return 0;
}
