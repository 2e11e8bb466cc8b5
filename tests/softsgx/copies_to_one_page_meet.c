/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that EACCEPTCOPY into the same pages: each page takes one of them, the
 * others are told that it is not pending, and it holds what that one brought.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>

#define THREADS 2
#define PAGES 700

static struct test_enclave t;
static uint64_t result[THREADS][PAGES];

static uint64_t source_of(long i)
{
	return t.base + AT_DATA + 0x1000 + (uint64_t)i * 0x1000;
}

/* Who is ahead works, who is behind is refused and catches up: so they meet. */
static void *copy_pages(void *argument)
{
	long i = (long)argument;

	for (uint64_t page = 0; page < PAGES; page++) {
		struct test_args args = {.rax = SGX_EACCEPTCOPY,
					 .rbx = t.base + AT_DATA,
					 .rcx = t.base + AT_FREE + page * 4096,
					 .rdx = source_of(i)};

		test_call(&t, (int)i + 1, OP_LEAF, &args);
		result[i][page] = args.rax;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	test_build(&t, NULL);
	CHECK(AT_FREE + PAGES * 4096 <= t.size);
	for (long i = 0; i < THREADS; i++) {
		struct test_args args = {.rbx = source_of(i), .rax = (uint64_t)i + 1};

		test_call(&t, 0, OP_WRITE, &args);
	}
	test_secinfo(&t, SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, copy_pages, (void *)i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (uint64_t page = 0; page < PAGES; page++) {
		struct test_args args = {.rbx = t.base + AT_FREE + page * 4096};
		uint64_t taken = 0;

		for (uint64_t i = 0; i < THREADS; i++) {
			CHECK(result[i][page] == 0 || result[i][page] == SGX_PAGE_ATTRIBUTES_MISMATCH);
			if (result[i][page] == 0) {
				CHECK_EQ(taken, 0);
				taken = i + 1;
			}
		}
		test_call(&t, 0, OP_READ, &args);
		CHECK_EQ(args.rax, taken);
		CHECK(taken);
	}
	test_destroy(&t);
	return 0;
}
