/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <mbedtls/bignum.h>
#include <mbedtls/error.h>
#include <mbedtls/rsa.h>
#include <mbedtls/sha256.h>
#include "host/key.h"
#include "host/sign.h"

#define RSA_SIZE (KEY_BITS / 8)
/* What the signature covers: the header, and the body. */
#define HEADER_END 128
#define BODY_START offsetof(struct sgx_sigstruct, miscselect)
#define BODY_END offsetof(struct sgx_sigstruct, reserved4)

static void sigstruct_hash(const struct sgx_sigstruct *sig, uint8_t hash[static 32])
{
	mbedtls_sha256_context sha;

	mbedtls_sha256_init(&sha);
	mbedtls_sha256_starts_ret(&sha, 0);
	mbedtls_sha256_update_ret(&sha, (const uint8_t *)sig, HEADER_END);
	mbedtls_sha256_update_ret(&sha, (const uint8_t *)sig + BODY_START, BODY_END - BODY_START);
	mbedtls_sha256_finish_ret(&sha, hash);
	mbedtls_sha256_free(&sha);
}

static void reverse(uint8_t *out, const uint8_t *in, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = in[size - 1 - i];
}

/* q1 = s^2 / n, q2 = (s^3 - q1 s n) / n: with them EINIT needs no division. */
static int quotients(const mbedtls_mpi *s, const mbedtls_mpi *n, uint8_t *q1_out, uint8_t *q2_out)
{
	mbedtls_mpi q, rest;
	int rc;

	mbedtls_mpi_init(&q);
	mbedtls_mpi_init(&rest);
	rc = mbedtls_mpi_mul_mpi(&rest, s, s);
	if (!rc)
		rc = mbedtls_mpi_div_mpi(&q, &rest, &rest, n);
	if (!rc)
		rc = mbedtls_mpi_write_binary_le(&q, q1_out, RSA_SIZE);
	if (!rc)
		rc = mbedtls_mpi_mul_mpi(&rest, &rest, s);
	if (!rc)
		rc = mbedtls_mpi_div_mpi(&q, NULL, &rest, n);
	if (!rc)
		rc = mbedtls_mpi_write_binary_le(&q, q2_out, RSA_SIZE);
	mbedtls_mpi_free(&q);
	mbedtls_mpi_free(&rest);
	return rc;
}

static int quotients_of(const struct sgx_sigstruct *sig, uint8_t *q1, uint8_t *q2)
{
	mbedtls_mpi s, n;
	int rc;

	mbedtls_mpi_init(&s);
	mbedtls_mpi_init(&n);
	rc = mbedtls_mpi_read_binary_le(&s, sig->signature, RSA_SIZE);
	if (!rc)
		rc = mbedtls_mpi_read_binary_le(&n, sig->modulus, RSA_SIZE);
	if (!rc)
		rc = quotients(&s, &n, q1, q2);
	mbedtls_mpi_free(&s);
	mbedtls_mpi_free(&n);
	return rc;
}

static int modulus_write(mbedtls_pk_context *key, uint8_t *out)
{
	mbedtls_mpi n;
	int rc;

	mbedtls_mpi_init(&n);
	rc = mbedtls_rsa_export(mbedtls_pk_rsa(*key), &n, NULL, NULL, NULL, NULL);
	if (!rc)
		rc = mbedtls_mpi_write_binary_le(&n, out, RSA_SIZE);
	mbedtls_mpi_free(&n);
	return rc;
}

int sign_image(const struct image *image, bool debug, uint32_t date, mbedtls_pk_context *key,
	       struct sgx_sigstruct *out, struct failure *why)
{
	uint8_t hash[32], signature[RSA_SIZE];
	struct sgx_secs secs;
	char text[128];
	int rc;

	image_secs(image, debug, &secs);
	/* Masks of all ones: nothing about the enclave may differ from what is signed. */
	*out = (struct sgx_sigstruct){
	    .header = SGX_SIGSTRUCT_HEADER,
	    .date = date,
	    .header2 = SGX_SIGSTRUCT_HEADER2,
	    .exponent = KEY_EXPONENT,
	    .miscselect = secs.miscselect,
	    .miscmask = ~0u,
	    .attributes = secs.attributes,
	    .attribute_mask = {~0ull, ~0ull},
	};
	image_measure(image, out->enclavehash);
	sigstruct_hash(out, hash);
	rc = modulus_write(key, out->modulus);
	if (!rc)
		rc = mbedtls_rsa_pkcs1_sign(mbedtls_pk_rsa(*key), key_random, NULL, MBEDTLS_RSA_PRIVATE,
					    MBEDTLS_MD_SHA256, sizeof(hash), hash, signature);
	if (!rc) {
		reverse(out->signature, signature, RSA_SIZE);
		rc = quotients_of(out, out->q1, out->q2);
	}
	if (!rc)
		return 0;
	mbedtls_strerror(rc, text, sizeof(text));
	return fail(why, -EINVAL, "cannot sign: %s", text);
}

static int signature_verify(const struct sgx_sigstruct *sig)
{
	uint8_t hash[32], signature[RSA_SIZE], modulus[RSA_SIZE];
	static const uint8_t exponent[] = {KEY_EXPONENT};
	mbedtls_rsa_context rsa;
	int rc;

	sigstruct_hash(sig, hash);
	reverse(signature, sig->signature, RSA_SIZE);
	reverse(modulus, sig->modulus, RSA_SIZE);
	mbedtls_rsa_init(&rsa, MBEDTLS_RSA_PKCS_V15, 0);
	rc = mbedtls_rsa_import_raw(&rsa, modulus, RSA_SIZE, NULL, 0, NULL, 0, NULL, 0, exponent,
				    sizeof(exponent));
	if (!rc)
		rc = mbedtls_rsa_complete(&rsa);
	if (!rc)
		rc = mbedtls_rsa_pkcs1_verify(&rsa, NULL, NULL, MBEDTLS_RSA_PUBLIC, MBEDTLS_MD_SHA256,
					      sizeof(hash), hash, signature);
	mbedtls_rsa_free(&rsa);
	return rc;
}

int sign_verify(const struct sgx_sigstruct *sig)
{
	static const uint8_t header[16] = SGX_SIGSTRUCT_HEADER, header2[16] = SGX_SIGSTRUCT_HEADER2;
	uint8_t q1[RSA_SIZE], q2[RSA_SIZE];

	if (memcmp(sig->header, header, sizeof(header)) || memcmp(sig->header2, header2, sizeof(header2)) ||
	    sig->exponent != KEY_EXPONENT || signature_verify(sig) || quotients_of(sig, q1, q2) ||
	    memcmp(q1, sig->q1, sizeof(q1)) || memcmp(q2, sig->q2, sizeof(q2)))
		return -EBADMSG;
	return 0;
}

void sign_mrsigner(const struct sgx_sigstruct *sig, uint8_t mrsigner[static MRSIGNER_SIZE])
{
	mbedtls_sha256_ret(sig->modulus, sizeof(sig->modulus), mrsigner, 0);
}

bool sign_is_debug(const struct sgx_sigstruct *sig)
{
	return sig->attributes.flags & SGX_ATTR_DEBUG;
}
