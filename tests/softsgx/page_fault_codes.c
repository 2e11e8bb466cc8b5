/* SPDX-License-Identifier: Apache-2.0
 *
 * Every way an access from inside can fail, with the page-fault code and the
 * address the host is told.
 */
#include "tests/softsgx/harness.h"

#include <string.h>
#include <sys/mman.h>

static struct test_enclave t;

static void fails(enum test_op op, uint64_t address, unsigned int code)
{
	struct test_args args = {.rbx = address, .rax = 1};

	test_faults(&t, op, &args, 14, code, address & ~0xfffull);
}

static void works(enum test_op op, uint64_t address)
{
	struct test_args args = {.rbx = address};

	test_call(&t, 0, op, &args);
}

int main(void)
{
	struct test_options early = {.unsigned_only = 1};
	struct test_args args = {.rbx = 0};
	uint64_t data, hole;

	test_build(&t, NULL);
	data = t.base + AT_DATA;
	/* The mapping forbids; the page has not been touched, then it has. */
	fails(OP_WRITE, t.base + AT_CODE + 0x10, 0x7); /* touched by running there */
	fails(OP_WRITE, t.base + AT_READONLY + 0x123, 0x6);
	works(OP_READ, t.base + AT_READONLY);
	fails(OP_WRITE, t.base + AT_READONLY + 0x123, 0x7);
	fails(OP_FETCH, data, 0x14);
	works(OP_READ, data);
	fails(OP_FETCH, data + 0x18, 0x15);
	CHECK_EQ(softsgx_mprotect((void *)data, 0x1000, PROT_NONE), 0);
	fails(OP_READ, data + 8, 0x5);
	fails(OP_WRITE, data + 8, 0x7);
	CHECK_EQ(softsgx_mprotect((void *)data, 0x1000, PROT_READ | PROT_WRITE), 0);
	works(OP_WRITE, data);
	/* munmap forgets that it was there. */
	CHECK_EQ(softsgx_munmap((void *)data, 0x1000), 0);
	fails(OP_READ, data, 0x4);
	fails(OP_WRITE, data + 0xff8, 0x6);
	CHECK_EQ(test_map(&t, AT_DATA, 0x1000, PROT_READ), 0);
	fails(OP_WRITE, data, 0x6);
	works(OP_READ, data);
	CHECK_EQ(test_map(&t, AT_DATA, 0x1000, PROT_READ | PROT_WRITE), 0);
	works(OP_WRITE, data);
	/* So does a mapping in its place. */
	CHECK_EQ(test_map(&t, AT_DATA, 0x1000, PROT_READ), 0);
	fails(OP_WRITE, data, 0x6);
	CHECK_EQ(test_map(&t, AT_DATA, 0x1000, PROT_READ | PROT_WRITE), 0);
	/* Where one may execute one may read, if the page allows it. */
	CHECK_EQ(softsgx_mprotect((void *)(t.base + AT_CODE), 0x1000, PROT_EXEC), 0);
	works(OP_READ, t.base + AT_CODE);
	CHECK_EQ(softsgx_mprotect((void *)(t.base + AT_CODE), 0x1000, PROT_READ | PROT_EXEC), 0);
	/* No mapping at all. */
	hole = t.base + 0x8000;
	fails(OP_READ, hole, 0x4);
	fails(OP_WRITE, hole, 0x6);
	fails(OP_FETCH, hole, 0x14);

	/* The EPCM forbids what the mapping allows. */
	fails(OP_READ, t.base + AT_TCS(3), 0x8005);
	fails(OP_WRITE, t.base + AT_TCS(3) + 8, 0x8007);
	fails(OP_READ, t.base + AT_FREE + 0x10, 0x8005); /* pending */
	fails(OP_WRITE, t.base + AT_FREE + 0x1010, 0x8007);
	CHECK_EQ(test_map(&t, AT_FREE + 0x2000, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	fails(OP_FETCH, t.base + AT_FREE + 0x2000, 0x8015);
	args = (struct test_args){.rbx = t.base + AT_FREE + 0x2000, .rcx = 1, .rdx = 0x20b};
	test_call(&t, 0, OP_ACCEPT_RANGE, &args);
	CHECK_EQ(args.rax, 0);
	works(OP_READ, t.base + AT_FREE + 0x2000);
	works(OP_WRITE, t.base + AT_FREE + 0x2000);
	fails(OP_FETCH, t.base + AT_FREE + 0x2008, 0x8015);

	/* Outside: ordinary memory is reachable, its faults are the host's own, fetching is not allowed. */
	fails(OP_READ, 0x123, 0x4);
	fails(OP_WRITE, 0x123, 0x6);
	args.rbx = 0x123;
	test_faults(&t, OP_FETCH, &args, 13, 0, 0);
	test_destroy(&t);

	/* A mapping made before the page came, wider than the page allows: no access at all. */
	test_build(&t, &early);
	CHECK_EQ(test_map(&t, AT_FREE, 0x2000, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(test_add(&t, NULL, AT_FREE, 0x1000, 0x201, 0), 0);
	test_sign(&t, &t.sig);
	CHECK_EQ(test_init(&t, &t.sig), 0);
	fails(OP_READ, t.base + AT_FREE + 8, 0x4);
	fails(OP_WRITE, t.base + AT_FREE + 8, 0x6);
	CHECK_EQ(softsgx_mprotect((void *)(t.base + AT_FREE), 0x1000, PROT_READ), 0);
	works(OP_READ, t.base + AT_FREE + 8);
	test_destroy(&t);
	return 0;
}
