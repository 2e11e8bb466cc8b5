/* SPDX-License-Identifier: Apache-2.0
 *
 * INIT: a SIGSTRUCT changed in any one respect is refused, and the enclave can
 * be initialised with a good one afterwards.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <string.h>

static struct test_enclave t;
static struct sgx_sigstruct sig;

static int init(void)
{
	return test_init(&t, &sig);
}

/* change, signed again; and unsigned: refused either way */
#define REFUSED_SIGNED(change, error)                                                                        \
	do {                                                                                                 \
		sig = t.sig;                                                                                 \
		change;                                                                                      \
		test_sign_again(&sig);                                                                       \
		CHECK_EQ(init(), -(error));                                                                  \
	} while (0)
#define REFUSED(change, error)                                                                               \
	do {                                                                                                 \
		sig = t.sig;                                                                                 \
		change;                                                                                      \
		CHECK_EQ(init(), -(error));                                                                  \
	} while (0)

int main(void)
{
	struct test_options options = {.unsigned_only = 1};
	struct sgx_enclave_init nowhere = {.sigstruct = 16};

	test_build(&t, &options);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_INIT, NULL), -EFAULT);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_INIT, &nowhere), -EFAULT);
	REFUSED_SIGNED(sig.vendor = 1, EINVAL);
	REFUSED_SIGNED(sig.header[0] ^= 1, EPERM);
	REFUSED_SIGNED(sig.header2[3] ^= 1, EPERM);
	REFUSED_SIGNED(sig.reserved1[83] = 1, EPERM);
	REFUSED_SIGNED(sig.reserved2[0] = 1, EPERM);
	REFUSED_SIGNED(sig.reserved3[15] = 1, EPERM);
	REFUSED(sig.reserved4[11] = 1, EPERM);
	REFUSED(sig.exponent = 65537, EPERM);
	REFUSED(sig.modulus[0] ^= 2, EPERM);
	REFUSED(memset(sig.modulus, 0, 384), EPERM);
	REFUSED(sig.signature[383] ^= 1, EPERM);
	REFUSED(memset(sig.signature, 0xff, 384), EPERM);
	REFUSED(sig.q1[0] ^= 1, EPERM);
	REFUSED(sig.q2[383] ^= 1, EPERM);
	REFUSED(sig.date ^= 1, EPERM);
	REFUSED(sig.swdefined ^= 1, EPERM);
	REFUSED(sig.isv_svn ^= 1, EPERM);
	REFUSED(sig.isv_prod_id ^= 1, EPERM);
	REFUSED(sig.isv_family_id[3] ^= 1, EPERM);
	REFUSED(sig.isv_ext_prod_id[3] ^= 1, EPERM);
	REFUSED(sig.enclavehash[0] ^= 1, EPERM);
	REFUSED_SIGNED(sig.enclavehash[0] ^= 1, EPERM);
	REFUSED_SIGNED(sig.attributes.flags |= SGX_ATTR_DEBUG, EPERM);
	REFUSED_SIGNED(sig.attributes.xfrm = 7, EPERM);
	REFUSED_SIGNED(sig.miscselect = 1, EPERM);
	REFUSED_SIGNED(sig.attributes.flags |= 1ull << 50, EINVAL);
	REFUSED_SIGNED(sig.attributes.flags |= SGX_ATTR_INIT, EINVAL); /* CPUID does not list it */
	REFUSED_SIGNED(sig.attributes.xfrm |= 1ull << 60, EINVAL);
	REFUSED_SIGNED(sig.miscselect = 1u << 20, EINVAL);

	/* Masked out, they do not matter. */
	sig = t.sig;
	sig.attributes.flags |= SGX_ATTR_DEBUG | 1ull << 50;
	sig.attribute_mask.flags &= ~(SGX_ATTR_DEBUG | 1ull << 50);
	sig.miscselect = 1u << 20;
	sig.miscmask = 0;
	sig.vendor = 0x8086;
	test_sign_again(&sig);
	CHECK_EQ(init(), 0);
	CHECK_EQ(init(), -EINVAL);
	softsgx_close(t.fd);

	/* Attributes that need a permission. */
	options.attributes = SGX_ATTR_PROVISIONKEY;
	test_build(&t, &options);
	sig = t.sig;
	CHECK_EQ(init(), -EACCES);
	{
		struct sgx_enclave_provision provision = {.fd = (uint64_t)t.fd};

		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_PROVISION, &provision), -EINVAL);
		provision.fd = (uint64_t)-1;
		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_PROVISION, &provision), -EINVAL);
		provision.fd = (uint64_t)softsgx_open(SGX_DEVICE_PROVISION);
		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_PROVISION, &provision), 0);
		CHECK_EQ(init(), 0);
		softsgx_close((int)provision.fd);
	}
	softsgx_close(t.fd);
	options.attributes = SGX_ATTR_EINITTOKENKEY;
	test_build(&t, &options);
	sig = t.sig;
	CHECK_EQ(init(), -EACCES);
	softsgx_close(t.fd);
	options.attributes = SGX_ATTR_DEBUG;
	test_build(&t, &options);
	sig = t.sig;
	CHECK_EQ(init(), 0);
	softsgx_close(t.fd);
	return 0;
}
