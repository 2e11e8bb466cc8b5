/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mbedtls/aes.h>
#include <mbedtls/md.h>
#include <mbedtls/sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CPUSVN_DEFAULT 2

/* One machine. Everybody knows it unless SOFTSGX_STATE names another. */
static struct platform {
	uint8_t root[16];
	uint8_t seal_fuses[16];
	uint8_t owner_epoch[16];
	uint8_t cpusvn[16];
	uint8_t report_keyid[32];
	uint8_t td_key[32]; /* MACs REPORTMACSTRUCT */
} platform;

/* Everything a key may depend on; what a key does not depend on stays zero. */
struct key_material {
	uint16_t keyname;
	uint16_t keypolicy;
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint16_t config_svn;
	uint16_t zero;
	uint32_t miscselect;
	uint32_t miscmask;
	uint32_t zero2;
	uint8_t cpusvn[16];
	uint8_t owner_epoch[16];
	uint8_t seal_fuses[16];
	struct sgx_attributes attributes;
	struct sgx_attributes attribute_mask;
	uint8_t mrenclave[32];
	uint8_t mrsigner[32];
	uint8_t configid[64];
	uint8_t isv_family_id[16];
	uint8_t isv_ext_prod_id[16];
	uint8_t keyid[32];
};

static void expand(const char *label, void *out, size_t size)
{
	uint8_t digest[32];

	mbedtls_sha256_ret((const uint8_t *)label, strlen(label), digest, 0);
	memcpy(out, digest, size);
}

static int read_platform(const char *path)
{
	long fd = SYS(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), got;

	if (fd < 0)
		return (int)fd;
	got = SYS(SYS_read, fd, &platform, sizeof(platform));
	SYS(SYS_close, fd);
	return got == sizeof(platform) ? 0 : -EIO;
}

/* A new machine. Two that are born at once agree on the first. */
static int make_platform(const char *dir, const char *path)
{
	char temporary[PATH_MAX];
	long fd, error;

	if (SYS(SYS_getrandom, &platform, sizeof(platform), 0) != sizeof(platform))
		return -EIO;
	memset(platform.cpusvn, CPUSVN_DEFAULT, sizeof(platform.cpusvn));
	snprintf(temporary, sizeof(temporary), "%s/.platform.%ld", dir, SYS(SYS_gettid));
	fd = SYS(SYS_openat, AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return (int)fd;
	error = SYS(SYS_write, fd, &platform, sizeof(platform)) == sizeof(platform) ? 0 : -EIO;
	SYS(SYS_close, fd);
	if (!error)
		error = SYS(SYS_link, temporary, path);
	SYS(SYS_unlink, temporary);
	return error == -EEXIST ? read_platform(path) : (int)error;
}

static int load_platform(const char *dir)
{
	char path[PATH_MAX];
	int error;

	SYS(SYS_mkdir, dir, 0700);
	snprintf(path, sizeof(path), "%s/platform", dir);
	error = read_platform(path);
	return error == -ENOENT ? make_platform(dir, path) : error;
}

/* 32 hexadecimal digits, component 0 first. */
static void set_cpusvn(const char *digits)
{
	for (int i = 0; i < 16 && digits[2 * i] && digits[2 * i + 1]; i++) {
		char byte[3] = {digits[2 * i], digits[2 * i + 1], 0};

		platform.cpusvn[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

int keys_init(void)
{
	const char *state = getenv("SOFTSGX_STATE"), *cpusvn = getenv("SOFTSGX_CPUSVN");
	mbedtls_aes_context aes;
	int error = 0;

	if (state && *state) {
		error = load_platform(state);
	} else {
		expand("softsgx root", platform.root, sizeof(platform.root));
		expand("softsgx seal fuses", platform.seal_fuses, sizeof(platform.seal_fuses));
		expand("softsgx report keyid", platform.report_keyid, sizeof(platform.report_keyid));
		expand("softsgx td key", platform.td_key, sizeof(platform.td_key));
		memset(platform.cpusvn, CPUSVN_DEFAULT, sizeof(platform.cpusvn));
	}
	if (cpusvn)
		set_cpusvn(cpusvn);
	/* Tables and the CPU's features are found now, not in a handler. */
	mbedtls_aes_init(&aes);
	mbedtls_aes_setkey_enc(&aes, platform.root, 128);
	mbedtls_aes_free(&aes);
	return error;
}

static void cmac_double(uint8_t block[static 16])
{
	uint8_t carry = block[0] >> 7;

	for (int i = 0; i < 15; i++)
		block[i] = (uint8_t)(block[i] << 1 | block[i + 1] >> 7);
	block[15] = (uint8_t)(block[15] << 1) ^ (carry ? 0x87 : 0);
}

void cmac(const uint8_t key[static 16], const void *data, size_t size, uint8_t mac[static 16])
{
	const uint8_t *in = data;
	uint8_t subkey[16] = {0}, block[16] = {0};
	mbedtls_aes_context aes;

	mbedtls_aes_init(&aes);
	mbedtls_aes_setkey_enc(&aes, key, 128);
	mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, subkey, subkey);
	cmac_double(subkey);
	for (; size > 16; size -= 16, in += 16) {
		for (int i = 0; i < 16; i++)
			block[i] ^= in[i];
		mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, block, block);
	}
	if (size < 16) {
		cmac_double(subkey);
		block[size] ^= 0x80;
	}
	for (size_t i = 0; i < size; i++)
		block[i] ^= in[i];
	for (int i = 0; i < 16; i++)
		block[i] ^= subkey[i];
	mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, block, mac);
	mbedtls_aes_free(&aes);
}

static void material_to_key(const struct key_material *material, uint8_t key[static 16])
{
	cmac(platform.root, material, sizeof(*material), key);
}

/* Is the request for a newer microcode than this machine has? Each byte is a component. */
static int cpusvn_is_newer(const uint8_t cpusvn[static 16])
{
	for (int i = 0; i < 16; i++)
		if (cpusvn[i] > platform.cpusvn[i])
			return 1;
	return 0;
}

static int request_is_malformed(const struct enclave *e, const struct sgx_keyrequest *request)
{
	const uint8_t *reserved = request->reserved2;

	for (size_t i = 0; i < sizeof(request->reserved2); i++)
		if (reserved[i])
			return 1;
	if (request->reserved1 || (request->keypolicy & ~0x3fu))
		return 1;
	return !(e->secs.attributes.flags & SGX_ATTR_KSS) &&
	       ((request->keypolicy & 0x3c) || request->config_svn);
}

static int svn_error(const struct enclave *e, const struct sgx_keyrequest *request)
{
	if (cpusvn_is_newer(request->cpusvn))
		return SGX_INVALID_CPUSVN;
	if (request->isv_svn > e->secs.isv_svn || request->config_svn > e->secs.config_svn)
		return SGX_INVALID_ISVSVN;
	return 0;
}

/* The columns of the key table that PROVISION_SEAL and SEAL choose by policy. */
static void apply_policy(const struct enclave *e, const struct sgx_keyrequest *request,
			 struct key_material *m)
{
	unsigned int policy = request->keypolicy;

	m->keypolicy = request->keypolicy;
	if (!(policy & SGX_KEYPOLICY_NOISVPRODID))
		m->isv_prod_id = e->secs.isv_prod_id;
	if (policy & SGX_KEYPOLICY_CONFIGID) {
		memcpy(m->configid, e->secs.configid, sizeof(m->configid));
		m->config_svn = request->config_svn;
	}
	if (policy & SGX_KEYPOLICY_ISVFAMILYID)
		memcpy(m->isv_family_id, e->isv_family_id, sizeof(m->isv_family_id));
	if (policy & SGX_KEYPOLICY_ISVEXTPRODID)
		memcpy(m->isv_ext_prod_id, e->isv_ext_prod_id, sizeof(m->isv_ext_prod_id));
	memcpy(m->seal_fuses, platform.seal_fuses, sizeof(m->seal_fuses));
}

static void report_key(const struct sgx_targetinfo *target, const uint8_t keyid[static 32],
		       uint8_t key[static 16])
{
	struct key_material m = {.keyname = SGX_KEY_REPORT,
				 .attributes = target->attributes,
				 .miscselect = target->miscselect,
				 .config_svn = target->config_svn};

	memcpy(m.mrenclave, target->measurement, sizeof(m.mrenclave));
	memcpy(m.configid, target->configid, sizeof(m.configid));
	memcpy(m.keyid, keyid, sizeof(m.keyid));
	memcpy(m.cpusvn, platform.cpusvn, sizeof(m.cpusvn));
	memcpy(m.owner_epoch, platform.owner_epoch, sizeof(m.owner_epoch));
	material_to_key(&m, key);
}

int key_derive(const struct enclave *e, const struct sgx_keyrequest *request, uint8_t key[static 16])
{
	const struct sgx_secs *secs = &e->secs;
	struct key_material m = {.keyname = request->keyname, .isv_svn = request->isv_svn};
	int error;

	if (request_is_malformed(e, request))
		return KEY_REQUEST_INVALID;
	memcpy(m.cpusvn, request->cpusvn, sizeof(m.cpusvn));
	m.attributes.flags =
	    secs->attributes.flags & (request->attribute_mask.flags | SGX_ATTR_INIT | SGX_ATTR_DEBUG);
	m.attributes.xfrm = secs->attributes.xfrm & request->attribute_mask.xfrm;
	m.miscselect = secs->miscselect & request->miscmask;

	switch (request->keyname) {
	case SGX_KEY_REPORT: {
		struct sgx_targetinfo self = {.attributes = secs->attributes,
					      .miscselect = secs->miscselect,
					      .config_svn = secs->config_svn};

		memcpy(self.measurement, secs->mrenclave, sizeof(self.measurement));
		memcpy(self.configid, secs->configid, sizeof(self.configid));
		report_key(&self, request->keyid, key);
		return 0;
	}
	case SGX_KEY_EINITTOKEN:
		if (!(secs->attributes.flags & SGX_ATTR_EINITTOKENKEY))
			return SGX_INVALID_ATTRIBUTE;
		error = svn_error(e, request);
		memcpy(m.owner_epoch, platform.owner_epoch, sizeof(m.owner_epoch));
		memcpy(m.mrsigner, secs->mrsigner, sizeof(m.mrsigner));
		memcpy(m.keyid, request->keyid, sizeof(m.keyid));
		m.isv_prod_id = secs->isv_prod_id;
		break;
	case SGX_KEY_PROVISION:
	case SGX_KEY_PROVISION_SEAL:
		if (!(secs->attributes.flags & SGX_ATTR_PROVISIONKEY))
			return SGX_INVALID_ATTRIBUTE;
		error = svn_error(e, request);
		m.attribute_mask = request->attribute_mask;
		m.miscmask = ~request->miscmask;
		memcpy(m.mrsigner, secs->mrsigner, sizeof(m.mrsigner));
		if (request->keyname == SGX_KEY_PROVISION)
			m.isv_prod_id = secs->isv_prod_id;
		else
			apply_policy(e, request, &m);
		break;
	case SGX_KEY_SEAL:
		error = svn_error(e, request);
		m.attribute_mask = request->attribute_mask;
		m.miscmask = ~request->miscmask;
		memcpy(m.owner_epoch, platform.owner_epoch, sizeof(m.owner_epoch));
		memcpy(m.keyid, request->keyid, sizeof(m.keyid));
		if (request->keypolicy & SGX_KEYPOLICY_MRENCLAVE)
			memcpy(m.mrenclave, secs->mrenclave, sizeof(m.mrenclave));
		if (request->keypolicy & SGX_KEYPOLICY_MRSIGNER)
			memcpy(m.mrsigner, secs->mrsigner, sizeof(m.mrsigner));
		apply_policy(e, request, &m);
		break;
	default:
		return SGX_INVALID_KEYNAME;
	}
	if (!error)
		material_to_key(&m, key);
	return error;
}

void report_make(const struct enclave *e, const struct sgx_targetinfo *target, const uint8_t data[static 64],
		 struct sgx_report *report)
{
	uint8_t key[16];

	*report = (struct sgx_report){.miscselect = e->secs.miscselect,
				      .attributes = e->secs.attributes,
				      .isv_prod_id = e->secs.isv_prod_id,
				      .isv_svn = e->secs.isv_svn,
				      .config_svn = e->secs.config_svn};
	memcpy(report->cpusvn, platform.cpusvn, sizeof(report->cpusvn));
	memcpy(report->isv_ext_prod_id, e->isv_ext_prod_id, sizeof(report->isv_ext_prod_id));
	memcpy(report->isv_family_id, e->isv_family_id, sizeof(report->isv_family_id));
	memcpy(report->mrenclave, e->secs.mrenclave, sizeof(report->mrenclave));
	memcpy(report->mrsigner, e->secs.mrsigner, sizeof(report->mrsigner));
	memcpy(report->configid, e->secs.configid, sizeof(report->configid));
	memcpy(report->reportdata, data, sizeof(report->reportdata));
	memcpy(report->keyid, platform.report_keyid, sizeof(report->keyid));
	report_key(target, report->keyid, key);
	cmac(key, report, SGX_REPORT_MACED_SIZE, report->mac);
}

int report_check(const struct sgx_targetinfo *target, const struct sgx_report *report)
{
	uint8_t key[16], mac[16];

	report_key(target, report->keyid, key);
	cmac(key, report, SGX_REPORT_MACED_SIZE, mac);
	return memcmp(mac, report->mac, sizeof(mac)) ? -EBADMSG : 0;
}

int reportmac_check(const struct sgx_reportmacstruct *s)
{
	static const uint8_t type[4] = {0x81, 0, 0, 0};
	uint8_t zero = 0, block[64], inner[32], mac[32];
	mbedtls_sha256_context sha;

	for (size_t i = 0; i < sizeof(s->reserved1); i++)
		zero |= s->reserved1[i];
	for (size_t i = 0; i < sizeof(s->reserved2); i++)
		zero |= s->reserved2[i];
	if (memcmp(s->type, type, sizeof(type)) || zero)
		return SGX_INVALID_REPORTMACSTRUCT;
	if (cpusvn_is_newer(s->cpusvn))
		return SGX_INVALID_CPUSVN;
	/* HMAC-SHA-256 written out: the library's allocates. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (i < 32 ? platform.td_key[i] : 0) ^ (pass ? 0x5c : 0x36);
		mbedtls_sha256_init(&sha);
		mbedtls_sha256_starts_ret(&sha, 0);
		mbedtls_sha256_update_ret(&sha, block, sizeof(block));
		if (pass)
			mbedtls_sha256_update_ret(&sha, inner, sizeof(inner));
		else
			mbedtls_sha256_update_ret(&sha, (const uint8_t *)s, 224);
		mbedtls_sha256_finish_ret(&sha, pass ? mac : inner);
	}
	return memcmp(mac, s->mac, sizeof(mac)) ? SGX_INVALID_REPORTMACSTRUCT : 0;
}
