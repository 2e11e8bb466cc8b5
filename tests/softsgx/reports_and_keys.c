/* SPDX-License-Identifier: Apache-2.0
 *
 * EREPORT and EGETKEY: the MAC verifies with the key the target derives; each
 * key depends on what it must and on nothing else; each refusal.
 */
#include "tests/softsgx/harness.h"

#include <mbedtls/cipher.h>
#include <mbedtls/cmac.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <string.h>

#define AT_REQUEST AT_DATA
#define AT_KEY (AT_DATA + 0x200)
#define AT_TARGET (AT_DATA + 0x400)
#define AT_REPORTDATA (AT_DATA + 0x600)
#define AT_REPORT (AT_DATA + 0x800)

static struct test_enclave t;
static struct sgx_keyrequest request;

static uint64_t getkey(uint8_t key[16])
{
	static const uint8_t untouched[16] = {0xee};
	uint64_t result;

	test_put(&t, AT_REQUEST, &request, sizeof(request));
	test_put(&t, AT_KEY, untouched, 16);
	result = test_leaf(&t, SGX_EGETKEY, t.base + AT_REQUEST, t.base + AT_KEY, 0);
	test_get(&t, AT_KEY, key, 16);
	if (result)
		CHECK(!memcmp(key, untouched, 16));
	return result;
}

static void getkey_faults(void)
{
	struct test_args args = {.rax = SGX_EGETKEY, .rbx = t.base + AT_REQUEST, .rcx = t.base + AT_KEY};

	test_put(&t, AT_REQUEST, &request, sizeof(request));
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
}

static void report(const struct sgx_targetinfo *target, struct sgx_report *out)
{
	uint8_t data[64];

	memset(data, 0x5a, sizeof(data));
	test_put(&t, AT_TARGET, target, sizeof(*target));
	test_put(&t, AT_REPORTDATA, data, sizeof(data));
	CHECK_EQ(test_leaf(&t, SGX_EREPORT, t.base + AT_TARGET, t.base + AT_REPORTDATA, t.base + AT_REPORT),
		 SGX_EREPORT);
	test_get(&t, AT_REPORT, out, sizeof(*out));
}

static void target_self(struct sgx_targetinfo *target, const struct sgx_report *own)
{
	memset(target, 0, sizeof(*target));
	memcpy(target->measurement, own->mrenclave, 32);
	target->attributes = own->attributes;
	target->miscselect = own->miscselect;
	target->config_svn = own->config_svn;
	memcpy(target->configid, own->configid, 64);
}

static void report_verifies(void)
{
	struct sgx_targetinfo target = {0};
	struct sgx_report first, r;
	uint8_t key[16], mac[16];

	report(&target, &first);
	CHECK(!memcmp(first.mrenclave, t.sig.enclavehash, 32));
	CHECK_EQ(first.attributes.flags, t.secs.attributes.flags | SGX_ATTR_INIT);
	CHECK_EQ(first.isv_svn, t.sig.isv_svn);
	CHECK_EQ(first.isv_prod_id, t.sig.isv_prod_id);
	CHECK_EQ(first.reportdata[63], 0x5a);
	for (size_t i = 0; i < sizeof(first.reserved4); i++)
		CHECK_EQ(first.reserved4[i], 0);
	target_self(&target, &first);
	report(&target, &r);
	memset(&request, 0, sizeof(request));
	request.keyname = SGX_KEY_REPORT;
	memcpy(request.keyid, r.keyid, 32);
	CHECK_EQ(getkey(key), 0);
	CHECK_EQ(mbedtls_cipher_cmac(mbedtls_cipher_info_from_type(MBEDTLS_CIPHER_AES_128_ECB), key, 128,
				     (uint8_t *)&r, 384, mac),
		 0);
	CHECK(!memcmp(mac, r.mac, 16));
	/* Another target, another key, if only its measurement differs. */
	target.measurement[0] ^= 1;
	report(&target, &first);
	CHECK(memcmp(first.mac, r.mac, 16));
}

/* Does the key change when the request does? */
#define DEPENDS(yes, change)                                                                                 \
	do {                                                                                                 \
		struct sgx_keyrequest saved_ = request;                                                      \
		uint8_t key_[16], other_[16];                                                                \
		CHECK_EQ(getkey(key_), 0);                                                                   \
		change;                                                                                      \
		CHECK_EQ(getkey(other_), 0);                                                                 \
		CHECK_EQ(!!memcmp(key_, other_, 16), yes);                                                   \
		request = saved_;                                                                            \
	} while (0)

#define REFUSED(code, change)                                                                                \
	do {                                                                                                 \
		struct sgx_keyrequest saved_ = request;                                                      \
		uint8_t key_[16];                                                                            \
		change;                                                                                      \
		CHECK_EQ(getkey(key_), code);                                                                \
		request = saved_;                                                                            \
	} while (0)

#define FAULTS(change)                                                                                       \
	do {                                                                                                 \
		struct sgx_keyrequest saved_ = request;                                                      \
		change;                                                                                      \
		getkey_faults();                                                                             \
		request = saved_;                                                                            \
	} while (0)

static void seal_rows(int kss)
{
	memset(&request, 0, sizeof(request));
	request.keyname = SGX_KEY_SEAL;
	request.keypolicy = SGX_KEYPOLICY_MRSIGNER;
	DEPENDS(1, request.keyid[31] = 1);
	DEPENDS(1, request.keypolicy = SGX_KEYPOLICY_MRENCLAVE);
	DEPENDS(1, request.keypolicy |= SGX_KEYPOLICY_MRENCLAVE);
	DEPENDS(1, request.keypolicy = 0);
	DEPENDS(1, request.isv_svn = 1);
	DEPENDS(1, request.cpusvn[3] = 1);
	DEPENDS(1, request.attribute_mask.flags = SGX_ATTR_MODE64BIT);
	DEPENDS(1, request.attribute_mask.xfrm = 1);
	DEPENDS(1, request.miscmask = 1);
	REFUSED(SGX_INVALID_CPUSVN, request.cpusvn[15] = 0xff);
	REFUSED(SGX_INVALID_ISVSVN, request.isv_svn = 0x100);
	REFUSED(SGX_INVALID_KEYNAME, request.keyname = 5);
	REFUSED(SGX_INVALID_KEYNAME, request.keyname = 0xffff);
	REFUSED(SGX_INVALID_ATTRIBUTE, request.keyname = SGX_KEY_EINITTOKEN);
	/* The attribute comes before the versions. */
	REFUSED(SGX_INVALID_ATTRIBUTE, request.keyname = SGX_KEY_PROVISION; request.cpusvn[0] = 0xff);
	REFUSED(SGX_INVALID_ATTRIBUTE, request.keyname = SGX_KEY_PROVISION_SEAL);
	FAULTS(request.reserved1 = 1);
	FAULTS(request.reserved2[0] = 1);
	FAULTS(request.reserved2[433] = 1);
	FAULTS(request.keypolicy |= 0x40);
	FAULTS(request.keypolicy |= 0x8000);
	if (kss) {
		DEPENDS(1, request.keypolicy |= SGX_KEYPOLICY_NOISVPRODID);
		DEPENDS(1, request.keypolicy |= SGX_KEYPOLICY_CONFIGID);
		DEPENDS(1, request.keypolicy |= SGX_KEYPOLICY_ISVFAMILYID);
		DEPENDS(1, request.keypolicy |= SGX_KEYPOLICY_ISVEXTPRODID);
		DEPENDS(0, request.config_svn = 1);
		request.keypolicy |= SGX_KEYPOLICY_CONFIGID;
		DEPENDS(1, request.config_svn = 1);
		REFUSED(SGX_INVALID_ISVSVN, request.config_svn = 9);
	} else {
		FAULTS(request.keypolicy |= SGX_KEYPOLICY_NOISVPRODID);
		FAULTS(request.keypolicy |= SGX_KEYPOLICY_CONFIGID);
		FAULTS(request.keypolicy |= SGX_KEYPOLICY_ISVFAMILYID);
		FAULTS(request.keypolicy |= SGX_KEYPOLICY_ISVEXTPRODID);
		FAULTS(request.config_svn = 1);
	}
}

/* The report key depends on the enclave and the key identifier only, and no version is too new for it. */
static void report_rows(void)
{
	memset(&request, 0, sizeof(request));
	request.keyname = SGX_KEY_REPORT;
	DEPENDS(1, request.keyid[0] = 1);
	DEPENDS(0, request.keypolicy = SGX_KEYPOLICY_MRENCLAVE);
	DEPENDS(0, request.isv_svn = 0x100);
	DEPENDS(0, request.cpusvn[0] = 0xff);
	DEPENDS(0, request.attribute_mask.flags = ~0ull);
	DEPENDS(0, request.miscmask = ~0u);
}

static void provision_rows(void)
{
	struct test_options options = {.attributes = SGX_ATTR_PROVISIONKEY, .isv_svn = 3, .unsigned_only = 1};
	struct sgx_enclave_provision provision = {.fd = (uint64_t)softsgx_open(SGX_DEVICE_PROVISION)};
	uint8_t first[16], second[16];

	test_build(&t, &options);
	CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_PROVISION, &provision), 0);
	softsgx_close((int)provision.fd);
	CHECK_EQ(test_init(&t, &t.sig), 0);
	for (uint16_t name = SGX_KEY_PROVISION; name <= SGX_KEY_PROVISION_SEAL; name++) {
		memset(&request, 0, sizeof(request));
		request.keyname = name;
		DEPENDS(0, request.keyid[5] = 1);
		DEPENDS(name == SGX_KEY_PROVISION_SEAL, request.keypolicy = SGX_KEYPOLICY_MRSIGNER);
		DEPENDS(1, request.isv_svn = 1);
		DEPENDS(1, request.cpusvn[7] = 1);
		DEPENDS(1, request.attribute_mask.flags = SGX_ATTR_MODE64BIT);
		DEPENDS(1, request.miscmask = 1);
		REFUSED(SGX_INVALID_CPUSVN, request.cpusvn[0] = 0xff);
		REFUSED(SGX_INVALID_ISVSVN, request.isv_svn = 4);
	}
	request.keyname = SGX_KEY_PROVISION;
	CHECK_EQ(getkey(first), 0);
	request.keyname = SGX_KEY_PROVISION_SEAL;
	CHECK_EQ(getkey(second), 0);
	CHECK(memcmp(first, second, 16));
	test_destroy(&t);
}

/* The platform's key for these is known, as all its keys are. */
static void everifyreport2(void)
{
	struct sgx_reportmacstruct s = {.type = {0x81}, .reportdata = {1, 2, 3}};
	uint8_t key[32];

	mbedtls_sha256_ret((const uint8_t *)"softsgx td key", 14, key, 0);
	mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), key, 32, (uint8_t *)&s, 224, s.mac);
	test_put(&t, AT_DATA + 0x1000, &s, sizeof(s));
	CHECK_EQ(test_leaf(&t, SGX_EVERIFYREPORT2, t.base + AT_DATA + 0x1000, 0, 0), 0);
	s.cpusvn[0] = 0xff;
	test_put(&t, AT_DATA + 0x1000, &s, sizeof(s));
	CHECK_EQ(test_leaf(&t, SGX_EVERIFYREPORT2, t.base + AT_DATA + 0x1000, 0, 0), SGX_INVALID_CPUSVN);
	s.cpusvn[0] = 0;
	s.reportdata[63] = 1;
	test_put(&t, AT_DATA + 0x1000, &s, sizeof(s));
	CHECK_EQ(test_leaf(&t, SGX_EVERIFYREPORT2, t.base + AT_DATA + 0x1000, 0, 0),
		 SGX_INVALID_REPORTMACSTRUCT);
	memset(&s, 0, sizeof(s));
	test_put(&t, AT_DATA + 0x1000, &s, sizeof(s));
}

static void operands_fault(void)
{
	struct test_args args = {.rax = SGX_EGETKEY, .rbx = t.base + AT_REQUEST + 8, .rcx = t.base + AT_KEY};

	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rbx = t.base + AT_REQUEST;
	args.rcx = t.base + AT_KEY + 8;
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rcx = t.base + AT_READONLY;
	test_faults(&t, OP_LEAF, &args, 14, 0x6, t.base + AT_READONLY);
	args.rcx = (uint64_t)&args & ~15ull; /* outside */
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args = (struct test_args){
	    SGX_EREPORT, t.base + AT_TARGET, t.base + AT_REPORTDATA, t.base + AT_TCS(2), 0, 0, 0};
	test_faults(&t, OP_LEAF, &args, 14, 0x8007, t.base + AT_TCS(2));
	args.rdx = t.base + AT_REPORT + 0x100;
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	args.rdx = t.base + AT_REPORT;
	args.rcx += 64;
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
	everifyreport2();
	/* No such MAC. */
	CHECK_EQ(test_leaf(&t, SGX_EVERIFYREPORT2, t.base + AT_DATA + 0x1000, 0, 0),
		 SGX_INVALID_REPORTMACSTRUCT);
	args = (struct test_args){.rax = SGX_EVERIFYREPORT2, .rbx = t.base + AT_DATA + 0x80};
	test_faults(&t, OP_LEAF, &args, 13, 0, 0);
}

int main(void)
{
	uint8_t configid[64] = {1, 2, 3};
	struct test_options options = {.isv_svn = 3, .isv_prod_id = 7};
	uint8_t plain[16], other[16];

	test_build(&t, &options);
	report_verifies();
	seal_rows(0);
	report_rows();
	operands_fault();
	memset(&request, 0, sizeof(request));
	request.keyname = SGX_KEY_SEAL;
	request.keypolicy = SGX_KEYPOLICY_MRENCLAVE;
	CHECK_EQ(getkey(plain), 0);
	test_destroy(&t);

	/* The same enclave again gets the same key; a debug one another. */
	test_build(&t, &options);
	CHECK_EQ(getkey(other), 0);
	CHECK(!memcmp(plain, other, 16));
	test_destroy(&t);
	options.attributes = SGX_ATTR_DEBUG;
	test_build(&t, &options);
	CHECK_EQ(getkey(other), 0);
	CHECK(memcmp(plain, other, 16));
	test_destroy(&t);

	/* A newer version derives the key of the older. */
	options.attributes = 0;
	request.keypolicy = SGX_KEYPOLICY_MRSIGNER;
	request.isv_svn = 3;
	test_build(&t, &options);
	CHECK_EQ(getkey(plain), 0);
	test_destroy(&t);
	options.isv_svn = 4;
	test_build(&t, &options);
	CHECK_EQ(getkey(other), 0);
	CHECK(!memcmp(plain, other, 16));
	test_destroy(&t);

	/* Another enclave of the same signer: its own key by MRENCLAVE, the same by MRSIGNER. */
	options.size = 0x800000;
	test_build(&t, &options);
	CHECK_EQ(getkey(plain), 0);
	CHECK(!memcmp(plain, other, 16));
	request.keypolicy = SGX_KEYPOLICY_MRENCLAVE;
	CHECK_EQ(getkey(plain), 0);
	test_destroy(&t);
	options.size = 0;
	test_build(&t, &options);
	CHECK_EQ(getkey(other), 0);
	CHECK(memcmp(plain, other, 16));
	test_destroy(&t);

	options = (struct test_options){
	    .attributes = SGX_ATTR_KSS, .configid = configid, .isv_svn = 3, .config_svn = 2};
	test_build(&t, &options);
	report_verifies();
	seal_rows(1);
	test_destroy(&t);
	provision_rows();
	return 0;
}
