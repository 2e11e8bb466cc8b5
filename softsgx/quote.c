/* SPDX-License-Identifier: Apache-2.0
 *
 * The software platform's evidence: a report signed with a key that everybody
 * knows. It says what kind of platform this is, not that it may be trusted.
 */
#include "softsgx/softsgx.h"

#include <errno.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/sha256.h>
#include <string.h>
#include <sys/random.h>
#include "softsgx/device.h"
#include "softsgx/keys.h"

/* The private key is SHA-256 of this. */
static const char root_label[] = "softsgx evidence root, protects nothing";

const uint8_t softsgx_root_public_key[SOFTSGX_ROOT_PUBLIC_KEY_SIZE] = {
#include "softsgx/root_key.inc"
};

int softsgx_quote_target(struct sgx_targetinfo *target)
{
	memset(target, 0, sizeof(*target));
	mbedtls_sha256_ret((const uint8_t *)"softsgx quoting enclave", 23, target->measurement, 0);
	target->attributes.flags = SGX_ATTR_INIT | SGX_ATTR_MODE64BIT;
	target->attributes.xfrm = SGX_XFRM_LEGACY;
	return 0;
}

static int blind(void *unused, unsigned char *out, size_t size)
{
	return getrandom(out, size, 0) == (ssize_t)size ? 0 : -1;
}

static int sign(const uint8_t digest[static 32], uint8_t signature[static 64])
{
	mbedtls_ecp_group group;
	mbedtls_mpi d, r, s;
	uint8_t secret[32];
	int error = -EIO;

	mbedtls_ecp_group_init(&group);
	mbedtls_mpi_init(&d);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	mbedtls_sha256_ret((const uint8_t *)root_label, sizeof(root_label) - 1, secret, 0);
	if (!mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1) &&
	    !mbedtls_mpi_read_binary(&d, secret, sizeof(secret)) &&
	    !mbedtls_ecdsa_sign_det_ext(&group, &r, &s, &d, digest, 32, MBEDTLS_MD_SHA256, blind, NULL) &&
	    !mbedtls_mpi_write_binary(&r, signature, 32) && !mbedtls_mpi_write_binary(&s, signature + 32, 32))
		error = 0;
	mbedtls_ecp_group_free(&group);
	mbedtls_mpi_free(&d);
	mbedtls_mpi_free(&r);
	mbedtls_mpi_free(&s);
	return error;
}

int softsgx_quote(const struct sgx_report *report, struct softsgx_quote *quote)
{
	struct sgx_targetinfo target;
	uint8_t digest[32];
	int error = device_init();

	if (error)
		return error;
	softsgx_quote_target(&target);
	error = report_check(&target, report);
	if (error)
		return error;
	memset(quote, 0, sizeof(*quote));
	memcpy(quote->magic, "SOFTQUOT", sizeof(quote->magic));
	quote->version = 1;
	quote->report = *report;
	mbedtls_sha256_ret((const uint8_t *)quote, offsetof(struct softsgx_quote, signature), digest, 0);
	return sign(digest, quote->signature);
}
