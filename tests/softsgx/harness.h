/* SPDX-License-Identifier: Apache-2.0
 *
 * Small enclaves for tests: their code is enclave.c, copied page by page into
 * each enclave. Failures print where and exit.
 *
 * Layout, offsets from the base:
 *   0x10000 code (R-X)   0x20000 data (RW, 4 pages)   0x30000 read-only page
 *   0x40000 + i * 0x10000: TCS i, three SSA frames, four stack pages, GS page
 *   0x100000 and up: nothing; for EAUG
 */
#ifndef TESTS_SOFTSGX_HARNESS_H
#define TESTS_SOFTSGX_HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "softsgx/softsgx.h"
#include "tests/check.h"

#define AT_CODE 0x10000
#define AT_DATA 0x20000
#define AT_READONLY 0x30000
#define AT_TCS(i) (0x40000ull + (i) * 0x10000ull)
#define AT_SSA(i, frame) (AT_TCS(i) + 0x1000 + (frame) * 0x1000ull)
#define AT_GS(i) (AT_TCS(i) + 0x8000)
#define AT_FREE 0x100000
#define TCS_COUNT 8

#define CHECK_EQ(a, b)                                                                                       \
	do {                                                                                                 \
		long long a_ = (long long)(a), b_ = (long long)(b);                                          \
		if (a_ != b_) {                                                                              \
			fprintf(stderr, "%s:%d: %s is %#llx, not %#llx\n", __FILE__, __LINE__, #a, a_, b_);  \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

/* What enclave_main() is asked to do. */
enum test_op {
	OP_NULL,
	OP_LEAF,  /* ENCLU with rax, rbx, rcx, rdx; rax and rflags come back */
	OP_READ,  /* rbx: address -> rax */
	OP_WRITE, /* rbx: address, rax: value */
	OP_FETCH, /* call rbx */
	OP_UD2,
	OP_DIVIDE, /* by zero */
	OP_INT3,
	OP_SPIN,	 /* until *flag in host memory is 1; counts in rax; checks registers and vectors */
	OP_ACCEPT_RANGE, /* rbx: first page, rcx: count, rdx: secinfo flags -> rax first error */
	OP_SSA,	  /* handler entry: copies the top frame's GPRSGX to host memory rbx, skips rcx bytes */
	OP_BASES, /* -> rax FS base, rbx GS base */
	OP_SYSCALL,
	OP_CPUID,
	OP_COPY,	 /* rbx: to, rcx: from, rdx: size; as enclave code */
	OP_MARKED_FAULT, /* known values in all registers, then a fault at rbx */
	OP_YMM,		 /* until *flag: the upper halves of YMM keep their value; rbx != 0 if not */
	OP_ZMM,		 /* the same of ZMM16..31, and the mask registers */
	OP_HOSTILE,	 /* RSP := rbx, RFLAGS |= rcx, other registers ~0, then UD2 */
	OP_X87,		 /* unmasked division by zero, noticed by FWAIT */
	OP_SSE,		 /* unmasked division by zero */
	OP_ALIGN,	 /* RFLAGS.AC, then an access that is not aligned */
	OP_WRFSBASE,	 /* sets FS base to rbx, spins as OP_SPIN, returns FS base in rax */
};

struct test_args {
	uint64_t rax, rbx, rcx, rdx;
	uint64_t rflags;
	uint64_t flag;
	uint64_t cssa;
};

struct test_options {
	uint64_t base;	     /* 0: anywhere. 1: zero */
	uint64_t size;	     /* 0: 4 MiB */
	uint64_t attributes; /* beyond MODE64BIT */
	uint64_t xfrm;	     /* 0: 3 */
	uint32_t miscselect;
	uint32_t frame_pages; /* 0: 1 */
	uint64_t tcs_flags;
	const uint8_t *configid;
	uint16_t isv_svn, isv_prod_id, config_svn;
	int unsigned_only; /* stop before INIT */
};

struct test_enclave {
	int fd;
	uint64_t base, size;
	struct sgx_secs secs;
	struct sgx_sigstruct sig;
	int error; /* of INIT */
};

/* Does the kernel have to be told of FS and GS (softsgx/bases.h)? No entry is short then. */
int test_bases_are_told(void);

/* The vDSO's call, or the library's own. */
extern sgx_enter_enclave_fn test_enter_enclave;

void test_build(struct test_enclave *t, const struct test_options *options);
void test_destroy(struct test_enclave *t);
/* Adds pages from memory that may be ordinary; the ioctl's result. */
int test_add(struct test_enclave *t, const void *data, uint64_t offset, uint64_t size, uint64_t flags,
	     int measure);
/* ... from exactly there. */
int test_add_from(struct test_enclave *t, const uint8_t *source, uint64_t offset, uint64_t size,
		  uint64_t flags, int measure);
/* Maps [offset, offset+size) of the enclave. */
int test_map(struct test_enclave *t, uint64_t offset, uint64_t size, int prot);
/* Signs what has been added; *sig is filled from the options. */
void test_sign(struct test_enclave *t, struct sgx_sigstruct *sig);
void test_sign_again(struct sgx_sigstruct *sig);
int test_init(struct test_enclave *t, struct sgx_sigstruct *sig);

/* EENTER TCS i. The run structure says how it came back. */
int test_enter(struct test_enclave *t, int i, enum test_op op, struct test_args *args,
	       struct sgx_enclave_run *run);
/* ERESUME */
int test_resume(struct test_enclave *t, int i, struct sgx_enclave_run *run);
/* The same at any address; and any call at all, with run as it is. */
int test_enter_at(uint64_t tcs, enum test_op op, struct test_args *args, struct sgx_enclave_run *run);
int test_resume_at(uint64_t tcs, struct sgx_enclave_run *run);
int test_enter_raw(unsigned long rdi, void *rsi, unsigned long rdx, unsigned int function,
		   struct sgx_enclave_run *run);
/* After a call that was left by longjmp(). */
void test_depth_reset(void);
/* EENTER that must come back by EEXIT. */
void test_call(struct test_enclave *t, int i, enum test_op op, struct test_args *args);
/* A leaf inside; returns RAX. */
uint64_t test_leaf(struct test_enclave *t, uint64_t rax, uint64_t rbx, uint64_t rcx, uint64_t rdx);
/* Expects op to fault with this vector and code at this address. */
void test_faults(struct test_enclave *t, enum test_op op, struct test_args *args, unsigned int vector,
		 unsigned int code, uint64_t address);
/* The signal that what() ends a process with, 0 or -status if it ends by itself. */
int test_dies_of(void (*what)(void));
/* Puts bytes at offset of the data pages, as the enclave would. */
void test_put(struct test_enclave *t, uint64_t offset, const void *data, size_t size);
void test_get(struct test_enclave *t, uint64_t offset, void *data, size_t size);
/* Puts a SECINFO at AT_DATA; its address. */
uint64_t test_secinfo(struct test_enclave *t, uint64_t flags);
/* EACCEPTCOPY of a whole page, offset to offset, with these rights. */
void test_accept_copy(struct test_enclave *t, uint64_t to, uint64_t from, uint64_t rights);

#endif
