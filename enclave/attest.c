/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/attest.h"
#include <errno.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/sha256.h>
#include "abi/migrate.h"
#include "enclave/rt.h"
#include "softsgx/softsgx.h"

/* r || s over SHA-256(data), P-256, by the key X || Y; all big-endian. */
static int signature_check(const uint8_t *data, size_t size, const uint8_t signature[static 64],
			   const uint8_t key[static 64])
{
	uint8_t hash[32], point[65] = {4};
	mbedtls_ecp_group group;
	mbedtls_ecp_point public;
	mbedtls_mpi r, s;
	memcpy(point + 1, key, 64);
	mbedtls_ecp_group_init(&group);
	mbedtls_ecp_point_init(&public);
	mbedtls_mpi_init(&r);
	mbedtls_mpi_init(&s);
	int failed = mbedtls_sha256_ret(data, size, hash, 0) ||
		     mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_SECP256R1) ||
		     mbedtls_ecp_point_read_binary(&group, &public, point, sizeof(point)) ||
		     mbedtls_ecp_check_pubkey(&group, &public) ||
		     mbedtls_mpi_read_binary(&r, signature, 32) ||
		     mbedtls_mpi_read_binary(&s, signature + 32, 32) ||
		     mbedtls_ecdsa_verify(&group, hash, sizeof(hash), &public, &r, &s);
	mbedtls_mpi_free(&s);
	mbedtls_mpi_free(&r);
	mbedtls_ecp_point_free(&public);
	mbedtls_ecp_group_free(&group);
	return failed ? -EBADMSG : 0;
}

/* The software platform's signed report. Its root's key is known to everybody: it shows that the parts fit,
 * not that anything is protected, so an enclave signed for production does not take it. */
static int softsgx_quote_open(const uint8_t *body, size_t size, struct sgx_report *report)
{
	static const uint8_t magic[8] = {'S', 'O', 'F', 'T', 'Q', 'U', 'O', 'T'};
	struct softsgx_quote quote;
	if (CONFIG->flags & IMAGE_FLAG_PRODUCTION)
		return -EACCES;
	if (size != sizeof(quote))
		return -EBADMSG;
	memcpy(&quote, body, sizeof(quote));
	if (memcmp(quote.magic, magic, sizeof(magic)) || quote.version != 1)
		return -EBADMSG;
	int rc = signature_check((const uint8_t *)&quote, offsetof(struct softsgx_quote, signature),
				 quote.signature, softsgx_root_public_key);
	if (rc == 0)
		memcpy(report, &quote.report, sizeof(*report));
	return rc;
}

static int identity_check(const struct sgx_report *peer, const uint8_t expected[static 64])
{
	static const uint8_t nothing[64];
	struct sgx_report own;
	attest_report(NULL, nothing, &own);
	if ((CONFIG->flags & IMAGE_FLAG_PRODUCTION) && (peer->attributes.flags & SGX_ATTR_DEBUG))
		return -EACCES;
	bool same = rt_memcmp_ct(peer->mrenclave, own.mrenclave, sizeof(own.mrenclave)) == 0 &&
		    rt_memcmp_ct(peer->reportdata, expected, 64) == 0;
	bool alike = rt_memcmp_ct(peer->mrsigner, own.mrsigner, sizeof(own.mrsigner)) == 0 &&
		     peer->attributes.flags == own.attributes.flags &&
		     peer->attributes.xfrm == own.attributes.xfrm && peer->miscselect == own.miscselect &&
		     peer->isv_prod_id == own.isv_prod_id && peer->isv_svn == own.isv_svn;
	return !same ? -EBADMSG : alike ? 0 : -EKEYREJECTED;
}

static const struct {
	uint32_t kind;
	int (*open)(const uint8_t *body, size_t size, struct sgx_report *report);
} kinds[] = {
    {EVIDENCE_SOFTSGX_QUOTE, softsgx_quote_open},
};

int attest_verify(const uint8_t *evidence, size_t size, const uint8_t expected[static 64])
{
	struct evidence head;
	struct sgx_report report;
	if (size < sizeof(head))
		return -EBADMSG;
	memcpy(&head, evidence, sizeof(head));
	if (head.size != size - sizeof(head))
		return -EBADMSG;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].kind != head.kind)
			continue;
		int rc = kinds[i].open(evidence + sizeof(head), head.size, &report);
		return rc ? rc : identity_check(&report, expected);
	}
	return -EACCES;
}
