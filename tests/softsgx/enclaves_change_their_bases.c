/* SPDX-License-Identifier: Apache-2.0
 *
 * WRFSBASE and its relatives inside, in each form: whether the processor carries
 * them out, or softsgx because the kernel has to be told (SOFTSGX_NO_FSGSBASE).
 */
#include "tests/softsgx/harness.h"

#include <string.h>
#include <sys/mman.h>

#define RX (SGX_SECINFO_R | SGX_SECINFO_X)
#define PAGES 2
#define RESULT (AT_DATA + 0x2000)
#define AT_BORDER (0x1000 - 2) /* of the two pages, from where the code is */

static struct test_enclave t;

static const struct form {
	const char *name;
	const char *keep, *back; /* the base it has, in RDX */
	const char *write, *read;
	uint64_t value, seen;
	int size; /* of write; the others have 5 bytes */
} forms[] = {
    {"fs, r15", "\xf3\x48\x0f\xae\xc2", "\xf3\x48\x0f\xae\xd2", "\xf3\x49\x0f\xae\xd7", "\xf3\x49\x0f\xae\xc1",
     0x123456789abc, 0x123456789abc, 5},
    {"gs, r15", "\xf3\x48\x0f\xae\xca", "\xf3\x48\x0f\xae\xda", "\xf3\x49\x0f\xae\xdf", "\xf3\x49\x0f\xae\xc9",
     0x7fff12345678, 0x7fff12345678, 5},
    {"fs, r15d", "\xf3\x48\x0f\xae\xc2", "\xf3\x48\x0f\xae\xd2", "\xf3\x41\x0f\xae\xd7", "\xf3\x49\x0f\xae\xc1",
     0x123489abcdef, 0x89abcdef, 5},
    {"gs, edi", "\xf3\x48\x0f\xae\xca", "\xf3\x48\x0f\xae\xda", "\xf3\x0f\xae\xdf", "\xf3\x41\x0f\xae\xc9",
     0x12340abcdef0, 0x0abcdef0, 4},
};

struct code {
	uint8_t bytes[PAGES * 4096];
	size_t size;
};

static void put(struct code *c, const void *bytes, size_t size)
{
	memcpy(c->bytes + c->size, bytes, size);
	c->size += size;
}

/* Writes the value, touches a page for the first time, which traps, reads the value back to RESULT, and puts back what
 * was there. at: of the write */
static struct code code_of(const struct form *f, uint64_t value, size_t at)
{
	uint64_t result = t.base + RESULT, untouched = t.base + AT_READONLY;
	struct code c = {.size = 0};

	put(&c, "\x41\x57\x49\xbf", 4); /* push r15; mov r15, value */
	put(&c, &value, 8);
	put(&c, "\x4c\x89\xff", 3); /* mov rdi, r15 */
	put(&c, f->keep, 5);
	while (c.size < at)
		put(&c, "\x90", 1);
	put(&c, f->write, (size_t)f->size);
	put(&c, "\x48\xa1", 2); /* mov rax, [untouched] */
	put(&c, &untouched, 8);
	put(&c, f->read, 5);
	put(&c, f->back, 5);
	put(&c, "\x4c\x89\xc8\x48\xa3", 5); /* mov rax, r9; mov [result], rax */
	put(&c, &result, 8);
	put(&c, "\x41\x5f\xc3", 3); /* pop r15; ret */
	return c;
}

static void load(const struct code *c)
{
	for (int i = 0; i < PAGES; i++) {
		test_put(&t, AT_DATA + 0x1000, c->bytes + i * 4096, 4096);
		test_accept_copy(&t, AT_FREE + i * 0x1000ull, AT_DATA + 0x1000, RX);
	}
	CHECK_EQ(test_map(&t, AT_FREE, PAGES * 0x1000, PROT_READ | PROT_EXEC), 0);
}

static void changes(const struct form *f, size_t at)
{
	struct test_args args = {0}, bases = {0};
	struct code c;
	uint64_t seen = 0, zero = 0;

	test_build(&t, NULL);
	c = code_of(f, f->value, at);
	load(&c);
	args.rbx = t.base + AT_FREE;
	for (int i = 0; i < 3; i++) {
		test_put(&t, RESULT, &zero, sizeof(zero));
		test_call(&t, 0, OP_FETCH, &args);
		test_get(&t, RESULT, &seen, sizeof(seen));
		if (seen != f->seen)
			fprintf(stderr, "%s, time %d\n", f->name, i);
		CHECK_EQ(seen, f->seen);
	}
	test_call(&t, 0, OP_BASES, &bases);
	CHECK_EQ(bases.rbx, t.base + AT_GS(0));
	test_destroy(&t);
}

int main(void)
{
	struct test_args args = {0}, view = {.rcx = 0};
	struct sgx_enclave_run run;
	struct sgx_gprsgx gpr;
	struct code c;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		changes(&forms[i], 0);
		changes(&forms[i], AT_BORDER);
	}

	/* What is no address is refused, at the instruction itself. */
	test_build(&t, NULL);
	c = code_of(&forms[0], 1ull << 63, 64);
	load(&c);
	args.rbx = t.base + AT_FREE;
	CHECK_EQ(test_enter(&t, 1, OP_FETCH, &args, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, 13);
	view.rbx = (uint64_t)&gpr;
	test_call(&t, 1, OP_SSA, &view);
	CHECK_EQ(gpr.rip, t.base + AT_FREE + 64);
	test_destroy(&t);
	return 0;
}
