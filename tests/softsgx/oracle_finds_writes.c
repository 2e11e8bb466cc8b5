/* SPDX-License-Identifier: Apache-2.0
 *
 * The oracle names the pages written since the last question and no other:
 * pages added at load, pages accepted later, pages written twice.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>

#define PAGES 64

static struct test_enclave t;

static void write_page(unsigned int i)
{
	struct test_args args = {.rbx = t.base + AT_FREE + i * 4096ull + 8, .rax = i};

	test_call(&t, 0, OP_WRITE, &args);
}

static void read_page(unsigned int i)
{
	struct test_args args = {.rbx = t.base + AT_FREE + i * 4096ull + 8};

	test_call(&t, 0, OP_READ, &args);
}

static void expect(const unsigned int *pages, unsigned int count)
{
	uint8_t bitmap[PAGES / 8], wanted[PAGES / 8] = {0};

	for (unsigned int i = 0; i < count; i++)
		wanted[pages[i] / 8] |= (uint8_t)(1u << (pages[i] & 7));
	CHECK_EQ(softsgx_oracle_collect(t.fd, (void *)(t.base + AT_FREE), PAGES * 4096, bitmap), 0);
	for (unsigned int i = 0; i < PAGES / 8; i++)
		CHECK_EQ(bitmap[i], wanted[i]);
}

int main(void)
{
	struct test_args args;
	uint8_t data[4];
	int error;

	test_build(&t, NULL);
	error = softsgx_oracle_start(t.fd, (void *)(t.base + AT_FREE), PAGES * 4096);
	if (error == -ENOSYS) {
		printf("the kernel has no asynchronous write protection\n");
		return 77;
	}
	CHECK_EQ(error, 0);
	args = (struct test_args){.rbx = t.base + AT_FREE, .rcx = PAGES, .rdx = 0x20b};
	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
	expect(NULL, 0);
	write_page(3);
	write_page(63);
	write_page(3);
	read_page(5);
	expect((unsigned int[]){3, 63}, 2);
	expect(NULL, 0);
	write_page(3);
	write_page(0);
	expect((unsigned int[]){3, 0}, 2);
	read_page(3);
	expect(NULL, 0);

	/* Pages that were there before it began. */
	CHECK_EQ(softsgx_oracle_start(t.fd, (void *)(t.base + AT_DATA), 4 * 4096), 0);
	test_put(&t, AT_DATA + 2 * 4096, "x", 1);
	CHECK_EQ(softsgx_oracle_collect(t.fd, (void *)(t.base + AT_DATA), 4 * 4096, data), 0);
	CHECK_EQ(data[0], 4);
	test_destroy(&t);
	return 0;
}
