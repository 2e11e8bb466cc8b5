/* SPDX-License-Identifier: Apache-2.0
 *
 * A forked child has the enclave too: same pages, same TCSs; and its end leaves
 * the parent's alone.
 */
#include "tests/softsgx/harness.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	struct test_enclave t;
	struct test_args args;
	uint64_t page;
	int status;
	pid_t child;

	test_build(&t, NULL);
	page = t.base + AT_FREE;
	args = (struct test_args){.rbx = page, .rcx = 4, .rdx = 0x20b};
	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
	args = (struct test_args){.rbx = page, .rax = 0x1111};
	test_call(&t, 0, OP_WRITE, &args);
	child = fork();
	if (!child) {
		args = (struct test_args){.rbx = page};
		test_call(&t, 0, OP_READ, &args);
		CHECK_EQ(args.rax, 0x1111);
		args = (struct test_args){.rbx = page, .rax = 0x2222};
		test_call(&t, 1, OP_WRITE, &args);
		/* pages added here are there for the parent */
		args = (struct test_args){.rbx = page + 0x8000, .rcx = 1, .rdx = 0x20b};
		test_call(&t, 0, OP_ACCEPT_RANGE, &args);
		CHECK_EQ(args.rax, 0);
		args = (struct test_args){.rbx = page + 0x9000};
		test_faults(&t, OP_READ, &args, 14, 0x8005, page + 0x9000);
		test_destroy(&t);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	args = (struct test_args){.rbx = page};
	test_call(&t, 0, OP_READ, &args);
	CHECK_EQ(args.rax, 0x2222);
	args = (struct test_args){.rbx = page + 0x8000};
	test_call(&t, 0, OP_READ, &args);
	test_destroy(&t);
	return 0;
}
