/* SPDX-License-Identifier: Apache-2.0
 *
 * MRENCLAVE of known enclaves: EINIT accepts a SIGSTRUCT with the expected value
 * and refuses it with any other.
 */
#include "tests/softsgx/harness.h"

#include <string.h>
#include <sys/mman.h>

#define ZERO_PAGE 0x203

static struct test_enclave open_enclave(uint64_t size, uint32_t frame)
{
	static struct sgx_secs secs __attribute__((aligned(4096)));
	struct sgx_enclave_create create = {.src = (uint64_t)&secs};
	struct test_enclave t = {.fd = softsgx_open(SGX_DEVICE_ENCLAVE), .size = size};
	uint64_t at = (uint64_t)mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	t.base = (at + size - 1) & ~(size - 1);
	secs = (struct sgx_secs){.size = size,
				 .base = t.base,
				 .ssa_frame_size = frame,
				 .attributes = {SGX_ATTR_MODE64BIT, SGX_XFRM_LEGACY}};
	t.secs = secs;
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_CREATE, &create), 0);
	return t;
}

static void expect(struct test_enclave *t, const char *hex)
{
	struct sgx_sigstruct sig;

	test_sign(t, &sig);
	sig.attribute_mask = (struct sgx_attributes){0};
	for (int i = 0; i < 32; i++)
		sscanf(hex + 2 * i, "%2hhx", &sig.enclavehash[i]);
	sig.enclavehash[31] ^= 1;
	test_sign_again(&sig);
	CHECK_EQ(test_init(t, &sig), -1); /* EPERM */
	sig.enclavehash[31] ^= 1;
	test_sign_again(&sig);
	CHECK_EQ(test_init(t, &sig), 0);
	softsgx_close(t->fd);
}

static void four_pages(uint32_t frame, const char *hex)
{
	struct test_enclave t = open_enclave(0x4000, frame);
	struct sgx_tcs tcs = {
	    .ossa = 0x2000, .nssa = 2, .oentry = 0x1000, .fslimit = 0xfff, .gslimit = 0xfff};
	uint8_t code[4096];

	for (int i = 0; i < 4096; i++)
		code[i] = (uint8_t)(7 * i + 3);
	/* What EADD clears does not count. */
	tcs.flags = SGX_TCS_DBGOPTIN;
	tcs.cssa = 5;
	tcs.aep = 7;
	tcs.state = 1;
	CHECK_EQ(test_add(&t, &tcs, 0, 4096, SGX_SECINFO_TCS, 1), 0);
	CHECK_EQ(test_add(&t, code, 0x1000, 4096, 0x205, 1), 0);
	CHECK_EQ(test_add(&t, NULL, 0x2000, 0x2000, ZERO_PAGE, 1), 0);
	expect(&t, hex);
}

int main(void)
{
	struct test_enclave t = open_enclave(0x2000, 1);

	expect(&t, "9e197c8837c6d65632dbdd59cd7df4f1a25b68d8e4e5eb6ca3b20b05311fecb8");
	t = open_enclave(0x2000, 1);
	CHECK_EQ(test_add(&t, NULL, 0, 4096, ZERO_PAGE, 1), 0);
	expect(&t, "1f2cf80bd03ffd8bfac33f7cba128aff511c3af666b93bb66e7ef718418bdade");
	t = open_enclave(0x2000, 1);
	CHECK_EQ(test_add(&t, NULL, 0, 4096, ZERO_PAGE, 0), 0);
	expect(&t, "995c454650d39811c9c53e1af534aa6c34a496ce9302c34e0ced2c7a7e2c4103");
	four_pages(1, "0c1029bfb9718602e0bf0045146a31fe5df69b05a5a936c0ce38b06cb91ed7a3");
	four_pages(2, "df0ff58ff9d8dea3076aa90b8ae5ee28fb626a01b95ebe39db1945780ca0e207");
	return 0;
}
