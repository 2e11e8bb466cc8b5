/* SPDX-License-Identifier: Apache-2.0
 *
 * A page added, accepted, extended, restricted, trimmed, removed and added
 * again; and every way EACCEPT, EMODPE and EACCEPTCOPY can be refused.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define R SGX_SECINFO_R
#define W SGX_SECINFO_W
#define X SGX_SECINFO_X
#define REG SGX_SECINFO_REG
#define PENDING SGX_SECINFO_PENDING
#define MODIFIED SGX_SECINFO_MODIFIED
#define PR SGX_SECINFO_PR

static struct test_enclave t;

static uint64_t leaf(uint64_t number, uint64_t flags, uint64_t offset)
{
	return test_leaf(&t, number, test_secinfo(&t, flags), t.base + offset, t.base + AT_DATA + 0x1000);
}

static void leaf_faults(uint64_t number, uint64_t flags, uint64_t rcx, unsigned int vector, unsigned int code)
{
	struct test_args args = {
	    .rax = number, .rbx = t.base + AT_DATA, .rcx = rcx, .rdx = t.base + AT_DATA + 0x1000};

	test_secinfo(&t, flags);
	test_faults(&t, OP_LEAF, &args, vector, code, vector == 14 ? rcx & ~0xfffull : 0);
}

static void value(uint64_t offset, uint64_t expected)
{
	struct test_args args = {.rbx = t.base + offset};

	test_call(&t, 0, OP_READ, &args);
	CHECK_EQ(args.rax, expected);
}

static void write_value(uint64_t offset, uint64_t what)
{
	struct test_args args = {.rbx = t.base + offset, .rax = what};

	test_call(&t, 0, OP_WRITE, &args);
}

static void write_fails(uint64_t offset, unsigned int code)
{
	struct test_args args = {.rbx = t.base + offset};

	test_faults(&t, OP_WRITE, &args, 14, code, t.base + offset);
}

static void restrict_to(uint64_t offset, uint64_t permissions)
{
	struct sgx_enclave_restrict_permissions p = {
	    .offset = offset, .length = 4096, .permissions = permissions};

	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &p), 0);
	CHECK_EQ(p.count, 4096);
}

static void modify(uint64_t offset, uint64_t type)
{
	struct sgx_enclave_modify_types p = {.offset = offset, .length = 4096, .page_type = type};

	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, &p), 0);
}

static void remove_page(uint64_t offset)
{
	struct sgx_enclave_remove_pages p = {.offset = offset, .length = 4096};

	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, &p), 0);
	CHECK_EQ(p.count, 4096);
}

/* Kilobytes of memory that all enclaves of this process have. */
static long memory_used(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[128];
	long used = -1;

	CHECK(status);
	while (used < 0 && fgets(line, sizeof(line), status))
		sscanf(line, "RssShmem: %ld", &used);
	fclose(status);
	return used;
}

/* EACCEPTCOPY of pages that do not exist, refused each time. */
static void refused_copies_hold_no_memory(void)
{
	const long pages = 256;
	long before = memory_used();

	for (long i = 0; i < pages; i++)
		leaf_faults(SGX_EACCEPTCOPY, REG | W, t.base + AT_FREE + 0x20000 + (uint64_t)i * 4096, 13, 0);
	CHECK(memory_used() - before < pages * 4 / 2);
}

/* A debug entry, or no frame to leave by, is not for the enclave to make. */
static void tcs_is_refused(uint64_t page, const struct sgx_tcs *good, uint64_t flags, uint32_t nssa,
			   uint32_t cssa)
{
	struct sgx_tcs tcs = *good;

	tcs.flags = flags;
	tcs.nssa = nssa;
	tcs.cssa = cssa;
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PENDING, page), 0);
	test_put(&t, page, &tcs, sizeof(tcs));
	modify(page, SGX_PT_TCS);
	leaf_faults(SGX_EACCEPT, SGX_SECINFO_TCS | MODIFIED, t.base + page, 13, 0);
}

int main(void)
{
	const uint64_t page = AT_FREE;
	struct test_args args;

	test_build(&t, NULL);
	CHECK_EQ(test_map(&t, AT_FREE, 0x10000, PROT_READ | PROT_WRITE | PROT_EXEC), 0);

	/* EACCEPT: wrong expectations, then the right one, once. */
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | PENDING, page), SGX_PAGE_ATTRIBUTES_MISMATCH);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | X | PENDING, page), SGX_PAGE_ATTRIBUTES_MISMATCH);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PR, page), SGX_PAGE_ATTRIBUTES_MISMATCH);
	CHECK_EQ(leaf(SGX_EACCEPT, SGX_SECINFO_TRIM | MODIFIED, page), SGX_PAGE_ATTRIBUTES_MISMATCH);
	leaf_faults(SGX_EACCEPT, REG | R | W, t.base + page, 13, 0);
	leaf_faults(SGX_EACCEPT, REG | R | W | PENDING | MODIFIED, t.base + page, 13, 0);
	leaf_faults(SGX_EACCEPT, SGX_SECINFO_TCS | PENDING, t.base + page, 13, 0);
	leaf_faults(SGX_EACCEPT, SGX_SECINFO_TRIM, t.base + page, 13, 0);
	leaf_faults(SGX_EACCEPT, R | W | PENDING, t.base + page, 13, 0);
	leaf_faults(SGX_EACCEPT, REG | R | W | PENDING | 1ull << 40, t.base + page, 13, 0);
	leaf_faults(SGX_EACCEPT, REG | R | W | PENDING, t.base + page + 1, 13, 0);
	leaf_faults(SGX_EACCEPT, REG | R | W | PENDING, t.base + t.size, 13, 0);
	leaf_faults(SGX_EACCEPT, REG | R | W | PENDING, t.base + 0x8000, 14, 0x4); /* not mapped */
	args = (struct test_args){.rax = SGX_EACCEPT, .rbx = t.base + AT_DATA + 8, .rcx = t.base + page};
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PENDING, page), 0);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PENDING, page), SGX_PAGE_ATTRIBUTES_MISMATCH);
	value(page, 0);
	write_value(page, 0x1234);

	/* Flags of a leaf that reports. */
	test_secinfo(&t, REG | R | W | PENDING);
	args = (struct test_args){.rax = SGX_EACCEPT, .rbx = t.base + AT_DATA, .rcx = t.base + page};
	test_call(&t, 0, OP_LEAF, &args);
	CHECK_EQ(args.rflags & 0x8d5, 0x40);
	args = (struct test_args){.rax = SGX_EACCEPT, .rbx = t.base + AT_DATA, .rcx = t.base + page + 0x1000};
	test_call(&t, 0, OP_LEAF, &args);
	CHECK_EQ(args.rflags & 0x8d5, 0);

	/* EMODPE, then code runs there. */
	leaf_faults(SGX_EMODPE, REG | W, t.base + page, 13, 0);
	leaf_faults(SGX_EMODPE, REG | X, t.base + AT_TCS(2), 14, 0x8005);
	leaf_faults(SGX_EMODPE, REG | X, t.base + page + 0x5000, 14, 0x8005); /* pending */
	CHECK_EQ(leaf(SGX_EMODPE, REG | R | X, page), SGX_EMODPE);
	write_value(page + 16, 0xc3); /* ret */
	args = (struct test_args){.rbx = t.base + page + 16};
	test_call(&t, 0, OP_FETCH, &args);

	/* EMODPR: effective at once, the enclave sees and accepts it. */
	restrict_to(page, R);
	write_fails(page, 0x8007);
	value(page, 0x1234);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PR, page), SGX_PAGE_ATTRIBUTES_MISMATCH);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | PR, page), 0);
	CHECK_EQ(leaf(SGX_EMODPE, REG | R | W, page), SGX_EMODPE);
	write_value(page, 0x99);

	/* A mapping that widens does not widen the page. */
	CHECK_EQ(softsgx_mprotect((void *)(t.base + page), 0x1000, PROT_READ), 0);
	restrict_to(page, R);
	value(page, 0x99);
	CHECK_EQ(softsgx_mprotect((void *)(t.base + page), 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	write_fails(page, 0x8007);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | PR, page), 0);

	/* TRIM: gone at once, accepted, removed, and back as a new page. */
	modify(page, SGX_PT_TRIM);
	write_fails(page, 0x8007);
	leaf_faults(SGX_EMODPE, REG | R, t.base + page, 14, 0x8005);
	CHECK_EQ(leaf(SGX_EACCEPT, SGX_SECINFO_TRIM | MODIFIED, page), 0);
	write_fails(page, 0x8007);
	remove_page(page);
	CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PENDING, page), 0);
	value(page, 0);

	/* EACCEPTCOPY. */
	write_value(AT_DATA + 0x1000, 0xabcdef);
	leaf_faults(SGX_EACCEPTCOPY, REG | W, t.base + page + 0x2000, 13, 0);
	leaf_faults(SGX_EACCEPTCOPY, REG | R | PENDING, t.base + page + 0x2000, 13, 0);
	leaf_faults(SGX_EACCEPTCOPY, SGX_SECINFO_TCS, t.base + page + 0x2000, 13, 0);
	CHECK_EQ(leaf(SGX_EACCEPTCOPY, REG | R | X, page + 0x2000), 0);
	value(page + 0x2000, 0xabcdef);
	write_fails(page + 0x2000, 0x8007);
	CHECK_EQ(leaf(SGX_EACCEPTCOPY, REG | R | X, page + 0x2000), SGX_PAGE_ATTRIBUTES_MISMATCH);
	leaf_faults(SGX_EACCEPTCOPY, REG | R, t.base + AT_TCS(2), 14, 0x8005);
	refused_copies_hold_no_memory();

	/* A page becomes a TCS and is entered. */
	{
		struct sgx_tcs tcs = {.ossa = AT_SSA(6, 0),
				      .nssa = 2,
				      .oentry = AT_CODE,
				      .ofsbase = AT_GS(6),
				      .ogsbase = AT_GS(6),
				      .fslimit = 0xfff,
				      .gslimit = 0xfff};
		struct sgx_enclave_run run;

		CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PENDING, page + 0x4000), 0);
		CHECK_EQ(softsgx_mprotect((void *)(t.base + page), 0x9000, PROT_READ | PROT_WRITE), 0);
		tcs.flags = 8;
		test_put(&t, page + 0x4000, &tcs, sizeof(tcs));
		modify(page + 0x4000, SGX_PT_TCS);
		leaf_faults(SGX_EACCEPT, SGX_SECINFO_TCS | MODIFIED, t.base + page + 0x4000, 13, 0);
		tcs_is_refused(page + 0x6000, &tcs, SGX_TCS_DBGOPTIN, 2, 0);
		tcs_is_refused(page + 0x7000, &tcs, 0, 0, 0);
		tcs_is_refused(page + 0x8000, &tcs, 0, 2, 2);
		CHECK_EQ(test_enter_at(t.base + page + 0x4000, OP_NULL, NULL, &run), 0);
		CHECK_EQ(run.function, SGX_EENTER); /* not accepted */
		CHECK_EQ(run.exception_vector, 14);
		CHECK_EQ(run.exception_error_code, 0x8007);

		tcs.flags = 0;
		CHECK_EQ(leaf(SGX_EACCEPT, REG | R | W | PENDING, page + 0x5000), 0);
		test_put(&t, page + 0x5000, &tcs, sizeof(tcs));
		modify(page + 0x5000, SGX_PT_TCS);
		CHECK_EQ(leaf(SGX_EACCEPT, SGX_SECINFO_TCS | MODIFIED, page + 0x5000), 0);
		CHECK_EQ(test_enter_at(t.base + page + 0x5000, OP_BASES, &args, &run), 0);
		CHECK_EQ(run.function, SGX_EEXIT);
		CHECK_EQ(args.rax, t.base + AT_GS(6));
		/* ... and goes the way of all pages */
		modify(page + 0x5000, SGX_PT_TRIM);
		CHECK_EQ(leaf(SGX_EACCEPT, SGX_SECINFO_TRIM | MODIFIED, page + 0x5000), 0);
		remove_page(page + 0x5000);
	}
	test_destroy(&t);
	return 0;
}
