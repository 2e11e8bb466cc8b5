/* SPDX-License-Identifier: Apache-2.0
 *
 * Code that has run is copied, and found when it becomes writable, as it was
 * written: no breakpoint that stands for an ENCLU goes along.
 */
#include "tests/softsgx/harness.h"

#include <string.h>
#include <sys/mman.h>

#define RW (SGX_SECINFO_R | SGX_SECINFO_W)
#define RX (SGX_SECINFO_R | SGX_SECINFO_X)
#define AT_PAGE AT_FREE		    /* executable, with one ENCLU */
#define AT_COPY (AT_FREE + 0x10000) /* data */
#define ENCLU_AT 27

extern const uint8_t test_enclave_entry[];

static struct test_enclave t;

/* EACCEPT of the page it is in, which has nothing to accept. */
static void write_code(uint8_t *code)
{
	uint64_t secinfo_at = t.base + AT_DATA, page = t.base + AT_PAGE;
	size_t n = 0;
	const struct {
		const char *bytes;
		size_t size;
	} parts[] = {
	    {"\x53\x51\x48\xbb", 4},	       /* push rbx; push rcx; mov rbx */
	    {(const char *)&secinfo_at, 8},    /* secinfo */
	    {"\x48\xb9", 2},		       /* mov rcx */
	    {(const char *)&page, 8},	       /* page */
	    {"\xb8\x05\0\0\0\x0f\x01\xd7", 8}, /* mov eax, 5; enclu */
	    {"\x59\x5b\xc3", 3},	       /* pop rcx; pop rbx; ret */
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		memcpy(code + n, parts[i].bytes, parts[i].size);
		n += parts[i].size;
	}
	CHECK(!memcmp(code + ENCLU_AT, "\x0f\x01\xd7", 3));
}

static void look(uint64_t offset, uint8_t *out, size_t size)
{
	struct test_args args = {.rbx = (uint64_t)out, .rcx = t.base + offset, .rdx = size};

	test_call(&t, 0, OP_COPY, &args);
}

static void run_code(int times)
{
	struct test_args args = {.rbx = t.base + AT_PAGE};

	test_secinfo(&t, SGX_SECINFO_REG | SGX_SECINFO_PENDING | RW);
	for (int i = 0; i < times; i++)
		test_call(&t, 0, OP_FETCH, &args);
}

int main(void)
{
	uint8_t code[4096] = {0}, seen[4096];

	test_build(&t, NULL);

	/* The code that all tests have run by now. */
	test_accept_copy(&t, AT_COPY, AT_CODE, RW);
	look(AT_COPY, seen, sizeof(seen));
	CHECK(!memcmp(seen, test_enclave_entry, sizeof(seen)));

	write_code(code);
	test_put(&t, AT_DATA + 0x1000, code, sizeof(code));
	test_accept_copy(&t, AT_PAGE, AT_DATA + 0x1000, RX);
	CHECK_EQ(test_map(&t, AT_PAGE, 4096, PROT_READ | PROT_EXEC), 0);
	run_code(3);
	test_accept_copy(&t, AT_COPY + 0x1000, AT_PAGE, RW);
	look(AT_COPY + 0x1000, seen, sizeof(seen));
	CHECK(!memcmp(seen, code, sizeof(seen)));

	/* Once the enclave can write it, what it reads there is what it wrote. */
	run_code(3);
	test_leaf(&t, SGX_EMODPE, test_secinfo(&t, SGX_SECINFO_REG | RX | SGX_SECINFO_W), t.base + AT_PAGE,
		  0);
	look(AT_PAGE, seen, sizeof(seen));
	CHECK(!memcmp(seen, code, sizeof(seen)));
	run_code(3);
	look(AT_PAGE, seen, sizeof(seen));
	CHECK(!memcmp(seen, code, sizeof(seen)));
	test_destroy(&t);
	return 0;
}
