/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: softsgx_ioctl, softsgx_mmap, softsgx_mprotect, softsgx_munmap,
 * softsgx_enter_enclave and every leaf. Random calls with arguments that are
 * nearly right: nothing crashes or hangs, errors are the kernel's, and a fresh
 * enclave works afterwards. Arguments: seed, count.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t state;

static uint64_t draw(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static struct test_enclave t;
static struct sgx_secs secs __attribute__((aligned(4096)));
static uint8_t pages[0x10000] __attribute__((aligned(4096)));
static struct sgx_secinfo secinfo;

/* Mostly sensible, sometimes anything. */
static uint64_t offset(void)
{
	static const uint64_t known[] = {0,	  AT_CODE,   AT_DATA,	   AT_READONLY,
					 AT_FREE, AT_TCS(0), AT_SSA(0, 0), AT_GS(1)};

	switch (draw(8)) {
	case 0:
		return state;
	case 1:
		return t.size - draw(3) * 0x1000;
	case 2:
		return AT_FREE + draw(64) * 0x1000 + draw(2);
	default:
		return known[draw(8)] + draw(8) * 0x1000;
	}
}

static uint64_t length(void)
{
	return draw(10) ? draw(9) * 0x1000 : state;
}

static uint64_t pointer(void *good)
{
	return draw(12) ? (uint64_t)good : draw(2) ? draw(0x10000) : state;
}

static int permitted(int result)
{
	static const int errors[] = {EINVAL, EFAULT, EIO,    EPERM,  EACCES, EBUSY,
				     ENOMEM, ENOTTY, EAGAIN, ENODEV, EBADF,  EEXIST};

	if (result >= 0)
		return 1;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (result == -errors[i])
			return 1;
	fprintf(stderr, "result %d\n", result);
	return 0;
}

static int random_ioctl(void)
{
	uint64_t flags = draw(4) ? 0x200 | draw(8) : state & 0x1ffff;

	secinfo = (struct sgx_secinfo){.flags = flags};
	switch (draw(9)) {
	case 0: {
		struct sgx_enclave_create create = {.src = pointer(&secs)};

		secs = t.secs;
		((uint8_t *)&secs)[draw(sizeof(secs))] ^= (uint8_t)draw(256);
		return softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_CREATE, (void *)pointer(&create));
	}
	case 1:
	case 2: {
		struct sgx_enclave_add_pages add = {pointer(pages),    offset(), length(),
						    pointer(&secinfo), draw(4),	 draw(2)};

		return softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_ADD_PAGES, (void *)pointer(&add));
	}
	case 3: {
		struct sgx_enclave_init init = {pointer(&t.sig)};

		return draw(10) ? 0 : softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_INIT, (void *)pointer(&init));
	}
	case 4: {
		struct sgx_enclave_restrict_permissions p = {offset(), length(), draw(9), draw(10) == 0,
							     draw(10) == 0};

		return softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, (void *)pointer(&p));
	}
	case 5: {
		struct sgx_enclave_modify_types p = {offset(), length(), draw(6), draw(10) == 0,
						     draw(10) == 0};

		/* not the pages the test itself stands on */
		if (p.offset < AT_FREE && draw(4))
			p.offset += AT_FREE;
		return softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, (void *)pointer(&p));
	}
	case 6: {
		struct sgx_enclave_remove_pages p = {offset(), length(), draw(10) == 0};

		return softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, (void *)pointer(&p));
	}
	case 7: {
		struct sgx_enclave_provision p = {state};

		return softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_PROVISION, &p);
	}
	default:
		return softsgx_ioctl(t.fd, state, (void *)pointer(pages));
	}
}

/* Inside the enclave's range, so that the test's own memory is left alone. */
static int random_mapping(void)
{
	uint64_t at = t.base + (offset() & (t.size - 1)), size = draw(0x10) * 0x1000 + draw(2);
	int prot = (int)draw(8);

	if (at + size > t.base + t.size || at < t.base)
		return 0;
	switch (draw(4)) {
	case 0:
	case 1:
		softsgx_mmap((void *)(at & ~0xfffull), size, prot,
			     (draw(8) ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, t.fd, 0);
		return 0;
	case 2:
		return softsgx_mprotect((void *)at, size, prot);
	default:
		return draw(8) ? 0 : softsgx_munmap((void *)at, size);
	}
}

static int random_entry(void)
{
	static const enum test_op ops[] = {OP_NULL, OP_LEAF,  OP_LEAF, OP_LEAF,
					   OP_READ, OP_WRITE, OP_UD2,  OP_ACCEPT_RANGE};
	struct test_args args = {
	    .rax = draw(12), .rbx = t.base + offset(), .rcx = t.base + offset(), .rdx = t.base + offset()};
	struct sgx_enclave_run run = {.tcs =
					  t.base + AT_TCS(draw(TCS_COUNT)) + (draw(20) ? 0 : draw(0x20000))};
	enum test_op op = ops[draw(8)];
	int result;

	if (op == OP_ACCEPT_RANGE) {
		args.rcx = draw(20);
		args.rdx = 0x200 | draw(64);
	}
	if (draw(30) == 0)
		run.reserved[draw(216)] = 1;
	/* an EEXIT of a leaf would go wherever RBX says */
	if (op == OP_LEAF && args.rax == SGX_EEXIT)
		args.rax = SGX_EREPORT;
	/* writes that hit the code's own stack or the host would be the test's fault */
	if (op == OP_WRITE)
		args.rbx = t.base + AT_FREE + draw(64) * 0x1000;
	if (op == OP_LEAF && args.rbx - t.base < AT_FREE)
		args.rbx = t.base + AT_DATA + draw(4) * 0x1000;
	if (op == OP_LEAF && args.rcx - t.base < AT_FREE)
		args.rcx = t.base + AT_DATA + draw(4) * 0x1000;
	if (op == OP_LEAF)
		args.rdx = t.base + AT_DATA + draw(4) * 0x1000;
	/* Resuming a frame whose stack another entry has used since is the enclave's own folly: not here. */
	if (draw(16))
		result = test_enter_raw(op, &args, 0, SGX_EENTER, &run);
	else {
		run.tcs = t.base + AT_DATA + draw(2);
		result = test_enter_raw(op, &args, 0, SGX_ERESUME, &run);
	}
	if (result != 0 && result != -EINVAL)
		return -1000;
	if (result == 0 && run.function != SGX_EEXIT && run.function != SGX_ERESUME &&
	    run.function != SGX_EENTER)
		return -1000;
	return 0;
}

static void build(void)
{
	struct test_options options = {.unsigned_only = draw(4) == 0};

	test_build(&t, &options);
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[2]) : 20000;
	struct test_args args = {0};

	state = argc > 1 ? strtoull(argv[1], NULL, 0) : 0x5eed5eed5eedull;
	build();
	for (long i = 0; i < count; i++) {
		uint64_t kind = draw(10);
		int result = kind < 4 ? random_ioctl() : kind < 6 ? random_mapping() : random_entry();

		if (!permitted(result)) {
			fprintf(stderr, "call %ld\n", i);
			return 1;
		}
		if (draw(400) == 0) {
			softsgx_munmap((void *)t.base, t.size);
			softsgx_close(t.fd);
			build();
		}
	}
	softsgx_munmap((void *)t.base, t.size);
	softsgx_close(t.fd);
	test_build(&t, NULL);
	test_call(&t, 0, OP_NULL, &args);
	test_destroy(&t);
	return 0;
}
