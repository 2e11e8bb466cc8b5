/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/softsgx/harness.h"

#include <mbedtls/bignum.h>
#include <mbedtls/sha256.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/softsgx/test_key.inc"

extern const uint8_t test_enclave_entry[], test_enclave_end[];

#define RW (SGX_SECINFO_R | SGX_SECINFO_W)
#define PREFERRED_SIZE 0x400000

static struct test_options opts;
static mbedtls_sha256_context measured; /* an own account of MRENCLAVE */

static void record(const char *name, const void *rest, size_t size)
{
	uint8_t block[64] = {0};

	memcpy(block, name, strlen(name));
	memcpy(block + 8, rest, size);
	mbedtls_sha256_update_ret(&measured, block, sizeof(block));
}

int test_add_from(struct test_enclave *t, const uint8_t *source, uint64_t offset, uint64_t size,
		  uint64_t flags, int measure)
{
	struct sgx_secinfo secinfo = {.flags = flags};
	struct sgx_enclave_add_pages add = {.src = (uint64_t)source,
					    .offset = offset,
					    .length = size,
					    .secinfo = (uint64_t)&secinfo,
					    .flags = measure ? SGX_PAGE_MEASURE : 0};
	int error = softsgx_ioctl(t->fd, SGX_IOC_ENCLAVE_ADD_PAGES, &add);

	for (uint64_t at = 0; at < add.count; at += 4096) {
		uint64_t eadd[7] = {offset + at, flags};

		record("EADD", eadd, sizeof(eadd));
		for (uint64_t i = 0; measure && i < 4096; i += 256) {
			uint64_t where = offset + at + i;

			record("EEXTEND", &where, sizeof(where));
			mbedtls_sha256_update_ret(&measured, source + at + i, 256);
		}
	}
	return error;
}

int test_add(struct test_enclave *t, const void *data, uint64_t offset, uint64_t size, uint64_t flags,
	     int measure)
{
	uint8_t *copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (data)
		memcpy(copy, data, size);
	error = test_add_from(t, copy, offset, size, flags, measure);
	munmap(copy, size);
	return error;
}

int test_map(struct test_enclave *t, uint64_t offset, uint64_t size, int prot)
{
	void *at = softsgx_mmap((void *)(t->base + offset), size, prot, MAP_SHARED | MAP_FIXED, t->fd, 0);

	return (uint64_t)at >= (uint64_t)-4095 ? (int)(long)at : 0;
}

static void reserve(struct test_enclave *t)
{
	uint64_t at;

	if (opts.base) {
		t->base = opts.base & ~0xfffull;
		return;
	}
	at = (uint64_t)mmap(NULL, 2 * t->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(at != (uint64_t)MAP_FAILED);
	t->base = (at + t->size - 1) & ~(t->size - 1);
}

static void create(struct test_enclave *t)
{
	struct sgx_enclave_create create = {.src = (uint64_t)&t->secs};
	struct {
		uint32_t frame;
		uint64_t size;
	} __attribute__((packed)) ecreate;

	t->secs =
	    (struct sgx_secs){.size = t->size,
			      .base = t->base,
			      .ssa_frame_size = opts.frame_pages ? opts.frame_pages : 1,
			      .miscselect = opts.miscselect,
			      .attributes = {SGX_ATTR_MODE64BIT | opts.attributes, opts.xfrm ? opts.xfrm : 3},
			      .config_svn = opts.config_svn};
	if (opts.configid)
		memcpy(t->secs.configid, opts.configid, 64);
	CHECK_EQ(softsgx_ioctl(t->fd, SGX_IOC_ENCLAVE_CREATE, &create), 0);
	ecreate.frame = t->secs.ssa_frame_size;
	ecreate.size = t->size;
	mbedtls_sha256_init(&measured);
	mbedtls_sha256_starts_ret(&measured, 0);
	record("ECREATE", &ecreate, sizeof(ecreate));
}

static void add_thread(struct test_enclave *t, int i)
{
	struct sgx_tcs tcs = {.flags = opts.tcs_flags,
			      .ossa = AT_SSA(i, 0),
			      .nssa = 3 / t->secs.ssa_frame_size,
			      .oentry = AT_CODE,
			      .ofsbase = AT_GS(i),
			      .ogsbase = AT_GS(i),
			      .fslimit = 0xfff,
			      .gslimit = 0xfff};

	CHECK_EQ(test_add(t, &tcs, AT_TCS(i), 4096, SGX_SECINFO_TCS, 1), 0);
	CHECK_EQ(test_add(t, NULL, AT_SSA(i, 0), 0x8000, SGX_SECINFO_REG | RW, 0), 0);
	CHECK_EQ(test_map(t, AT_TCS(i), 0x9000, PROT_READ | PROT_WRITE), 0);
}

int test_bases_are_told(void)
{
	return !(getauxval(AT_HWCAP2) & 2) || getenv("SOFTSGX_NO_FSGSBASE");
}

void test_build(struct test_enclave *t, const struct test_options *options)
{
	size_t code = (size_t)(test_enclave_end - test_enclave_entry + 4095) & ~4095ull;

	opts = options ? *options : (struct test_options){0};
	memset(t, 0, sizeof(*t));
	t->fd = softsgx_open(SGX_DEVICE_ENCLAVE);
	CHECK(t->fd >= 0);
	t->size = opts.size ? opts.size : PREFERRED_SIZE;
	reserve(t);
	create(t);
	CHECK(code <= 0x10000);
	CHECK_EQ(test_add(t, test_enclave_entry, AT_CODE, code,
			  SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_X, 1),
		 0);
	CHECK_EQ(test_add(t, NULL, AT_DATA, 0x4000, SGX_SECINFO_REG | RW, 1), 0);
	CHECK_EQ(test_add(t, NULL, AT_READONLY, 0x1000, SGX_SECINFO_REG | SGX_SECINFO_R, 1), 0);
	CHECK_EQ(test_map(t, AT_CODE, code, PROT_READ | PROT_EXEC), 0);
	CHECK_EQ(test_map(t, AT_DATA, 0x4000, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(test_map(t, AT_READONLY, 0x1000, PROT_READ), 0);
	for (int i = 0; i < TCS_COUNT; i++)
		add_thread(t, i);
	test_sign(t, &t->sig);
	if (opts.unsigned_only)
		return;
	CHECK_EQ(test_init(t, &t->sig), 0);
	CHECK_EQ(test_map(t, AT_FREE, t->size - AT_FREE, PROT_READ | PROT_WRITE), 0);
}

void test_destroy(struct test_enclave *t)
{
	softsgx_munmap((void *)(t->base + AT_CODE), t->size - AT_CODE);
	softsgx_close(t->fd);
}

/* Writes a number little-endian, as SIGSTRUCT has them. */
static void put(const mbedtls_mpi *number, uint8_t out[384])
{
	CHECK_EQ(mbedtls_mpi_write_binary_le(number, out, 384), 0);
}

/* Signing is slow, and most tests build the same enclave again. */
static struct sgx_sigstruct signed_last;

static int signed_before(struct sgx_sigstruct *sig)
{
	if (memcmp(sig, &signed_last, 128) || memcmp(&sig->miscselect, &signed_last.miscselect, 128))
		return 0;
	memcpy(sig->modulus, signed_last.modulus, 384);
	memcpy(sig->signature, signed_last.signature, 384);
	memcpy(sig->q1, signed_last.q1, 384);
	memcpy(sig->q2, signed_last.q2, 384);
	sig->exponent = 3;
	return 1;
}

void test_sign_again(struct sgx_sigstruct *sig)
{
	static const uint8_t prefix[] = {0x00, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48,
					 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
	mbedtls_sha256_context sha;
	mbedtls_mpi n, d, m, s, q, r, product;
	uint8_t block[384];

	if (signed_before(sig))
		return;
	memset(block, 0xff, sizeof(block));
	block[0] = 0;
	block[1] = 1;
	memcpy(block + 384 - 52, prefix, 20);
	mbedtls_sha256_init(&sha);
	mbedtls_sha256_starts_ret(&sha, 0);
	mbedtls_sha256_update_ret(&sha, (uint8_t *)sig, 128);
	mbedtls_sha256_update_ret(&sha, (uint8_t *)sig + 900, 128);
	mbedtls_sha256_finish_ret(&sha, block + 384 - 32);

	mbedtls_mpi_init(&n);
	mbedtls_mpi_init(&d);
	mbedtls_mpi_init(&m);
	mbedtls_mpi_init(&s);
	mbedtls_mpi_init(&q);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&product);
	mbedtls_mpi_read_string(&n, 16, test_key_modulus);
	mbedtls_mpi_read_string(&d, 16, test_key_private);
	mbedtls_mpi_read_binary(&m, block, sizeof(block));
	mbedtls_mpi_exp_mod(&s, &m, &d, &n, NULL);
	put(&n, sig->modulus);
	put(&s, sig->signature);
	sig->exponent = 3;
	mbedtls_mpi_mul_mpi(&product, &s, &s);
	mbedtls_mpi_div_mpi(&q, &r, &product, &n);
	put(&q, sig->q1);
	mbedtls_mpi_mul_mpi(&product, &s, &r);
	mbedtls_mpi_div_mpi(&q, &r, &product, &n);
	put(&q, sig->q2);
	signed_last = *sig;
	mbedtls_mpi_free(&n);
	mbedtls_mpi_free(&d);
	mbedtls_mpi_free(&m);
	mbedtls_mpi_free(&s);
	mbedtls_mpi_free(&q);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&product);
}

void test_sign(struct test_enclave *t, struct sgx_sigstruct *sig)
{
	mbedtls_sha256_context copy;

	*sig = (struct sgx_sigstruct){.header = SGX_SIGSTRUCT_HEADER,
				      .header2 = SGX_SIGSTRUCT_HEADER2,
				      .date = 0x20250101,
				      .attributes = t->secs.attributes,
				      .attribute_mask = {~0ull, ~0ull},
				      .miscselect = t->secs.miscselect,
				      .miscmask = ~0u,
				      .isv_prod_id = opts.isv_prod_id,
				      .isv_svn = opts.isv_svn};
	mbedtls_sha256_init(&copy);
	mbedtls_sha256_clone(&copy, &measured);
	mbedtls_sha256_finish_ret(&copy, sig->enclavehash);
	test_sign_again(sig);
}

int test_init(struct test_enclave *t, struct sgx_sigstruct *sig)
{
	struct sgx_enclave_init init = {.sigstruct = (uint64_t)sig};

	t->error = softsgx_ioctl(t->fd, SGX_IOC_ENCLAVE_INIT, &init);
	return t->error;
}

/* The call keeps only RBX, RBP and RSP: a caller written in C has to save the rest. And an enclave leaves
 * with the stack it was first entered with, however often it was resumed since: all calls of a thread at one
 * depth use one place. */
#define CALL_STACK 32768
static __thread uint8_t call_stacks[4][CALL_STACK] __attribute__((aligned(64)));
static __thread unsigned int depth;

static int call_enclave(unsigned long rdi, void *rsi, unsigned long rdx, unsigned int function,
			struct sgx_enclave_run *run)
{
	register struct sgx_enclave_run *run_ __asm__("r11") = run;
	register uint8_t *stack __asm__("r10") = call_stacks[depth++] + CALL_STACK;
	unsigned long a = rdi, b = (unsigned long)rsi, c = rdx, d = function;
	int result;

	__asm__ volatile("xor %%r8d, %%r8d; xor %%r9d, %%r9d; xchg %%rsp, %%r10\n"
			 "push %%r10; push %%r11; call *test_enter_enclave(%%rip)\n"
			 "pushfq; andl $~0x40000, (%%rsp); popfq\n" /* an exit leaves the enclave's AC */
			 "pop %%r11; pop %%rsp"
			 : "=a"(result), "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(run_), "+r"(stack)
			 :
			 : "r8", "r9", "r12", "r13", "r14", "r15", "memory", "cc", "st", "st(1)", "st(2)",
			   "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "xmm0", "xmm1", "xmm2", "xmm3",
			   "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			   "xmm14", "xmm15");
	depth--;
	return result;
}

void test_depth_reset(void)
{
	depth = 0;
}

int test_enter_at(uint64_t tcs, enum test_op op, struct test_args *args, struct sgx_enclave_run *run)
{
	memset(run, 0, sizeof(*run));
	run->tcs = tcs;
	return call_enclave((unsigned long)op, args, 0, SGX_EENTER, run);
}

int test_enter(struct test_enclave *t, int i, enum test_op op, struct test_args *args,
	       struct sgx_enclave_run *run)
{
	return test_enter_at(t->base + AT_TCS(i), op, args, run);
}

int test_resume_at(uint64_t tcs, struct sgx_enclave_run *run)
{
	memset(run, 0, sizeof(*run));
	run->tcs = tcs;
	return call_enclave(0, NULL, 0, SGX_ERESUME, run);
}

int test_resume(struct test_enclave *t, int i, struct sgx_enclave_run *run)
{
	return test_resume_at(t->base + AT_TCS(i), run);
}

int test_enter_raw(unsigned long rdi, void *rsi, unsigned long rdx, unsigned int function,
		   struct sgx_enclave_run *run)
{
	return call_enclave(rdi, rsi, rdx, function, run);
}

void test_call(struct test_enclave *t, int i, enum test_op op, struct test_args *args)
{
	struct sgx_enclave_run run;

	CHECK_EQ(test_enter(t, i, op, args, &run), 0);
	if (run.function != SGX_EEXIT)
		fprintf(stderr, "op %d: vector %u code %#x at %#llx\n", (int)op, run.exception_vector,
			run.exception_error_code, (unsigned long long)run.exception_addr);
	CHECK_EQ(run.function, SGX_EEXIT);
}

uint64_t test_leaf(struct test_enclave *t, uint64_t rax, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
	struct test_args args = {.rax = rax, .rbx = rbx, .rcx = rcx, .rdx = rdx};

	test_call(t, 0, OP_LEAF, &args);
	return args.rax;
}

/* Leaves the TCS as it was before: the frame is dropped by an exception entry that skips nothing. */
static void drop_frame(struct test_enclave *t, int i)
{
	struct sgx_enclave_run run;
	struct test_args leave = {.rax = SGX_EDECCSSA};

	CHECK_EQ(test_enter(t, i, OP_LEAF, &leave, &run), 0);
	CHECK_EQ(run.function, SGX_EEXIT);
}

void test_faults(struct test_enclave *t, enum test_op op, struct test_args *args, unsigned int vector,
		 unsigned int code, uint64_t address)
{
	struct sgx_enclave_run run;

	CHECK_EQ(test_enter(t, 7, op, args, &run), 0);
	CHECK_EQ(run.function, SGX_ERESUME);
	CHECK_EQ(run.exception_vector, vector);
	CHECK_EQ(run.exception_error_code, code);
	CHECK_EQ(run.exception_addr, address);
	drop_frame(t, 7);
}

int test_dies_of(void (*what)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		what();
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

void test_put(struct test_enclave *t, uint64_t offset, const void *data, size_t size)
{
	struct test_args args = {.rbx = t->base + offset, .rcx = (uint64_t)data, .rdx = size};

	test_call(t, 0, OP_COPY, &args);
}

void test_get(struct test_enclave *t, uint64_t offset, void *data, size_t size)
{
	struct test_args args = {.rbx = (uint64_t)data, .rcx = t->base + offset, .rdx = size};

	test_call(t, 0, OP_COPY, &args);
}

uint64_t test_secinfo(struct test_enclave *t, uint64_t flags)
{
	struct sgx_secinfo secinfo = {.flags = flags};

	test_put(t, AT_DATA, &secinfo, sizeof(secinfo));
	return t->base + AT_DATA;
}

void test_accept_copy(struct test_enclave *t, uint64_t to, uint64_t from, uint64_t rights)
{
	uint64_t secinfo = test_secinfo(t, SGX_SECINFO_REG | rights);

	CHECK_EQ(test_leaf(t, SGX_EACCEPTCOPY, secinfo, t->base + to, t->base + from), 0);
}
