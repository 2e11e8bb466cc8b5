/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/sigstruct.h"

#include <mbedtls/bignum.h>
#include <mbedtls/sha256.h>
#include <string.h>

static int all_zero(const void *bytes, size_t size)
{
	const uint8_t *p = bytes;
	uint8_t any = 0;

	while (size--)
		any |= *p++;
	return !any;
}

int sigstruct_check_form(const struct sgx_sigstruct *sig)
{
	static const uint8_t header[16] = SGX_SIGSTRUCT_HEADER, header2[16] = SGX_SIGSTRUCT_HEADER2;

	if (memcmp(sig->header, header, 12) || memcmp(sig->header2, header2, sizeof(header2)))
		return SGX_INVALID_SIG_STRUCT;
	/* Some old launch enclaves of the vendor carry the debug bit in the last word of the header. */
	if (sig->header[12] || sig->header[13] || sig->header[14] || (sig->header[15] & 0x7f))
		return SGX_INVALID_SIG_STRUCT;
	if ((sig->vendor != 0 && sig->vendor != 0x8086) || sig->exponent != 3)
		return SGX_INVALID_SIG_STRUCT;
	if (!all_zero(sig->reserved1, sizeof(sig->reserved1)) ||
	    !all_zero(sig->reserved2, sizeof(sig->reserved2)) ||
	    !all_zero(sig->reserved3, sizeof(sig->reserved3)) ||
	    !all_zero(sig->reserved4, sizeof(sig->reserved4)))
		return SGX_INVALID_SIG_STRUCT;
	return 0;
}

/* PKCS#1 v1.5 encoding of SHA-256 over the two signed parts, big-endian. */
static void encode_digest(const struct sgx_sigstruct *sig, uint8_t block[static 384])
{
	static const uint8_t prefix[19] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					   0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
	mbedtls_sha256_context sha;

	memset(block, 0xff, 384);
	block[0] = 0;
	block[1] = 1;
	block[384 - 32 - sizeof(prefix) - 1] = 0;
	memcpy(block + 384 - 32 - sizeof(prefix), prefix, sizeof(prefix));
	mbedtls_sha256_init(&sha);
	mbedtls_sha256_starts_ret(&sha, 0);
	mbedtls_sha256_update_ret(&sha, (const uint8_t *)sig, 128);
	mbedtls_sha256_update_ret(&sha, (const uint8_t *)&sig->miscselect, 128);
	mbedtls_sha256_finish_ret(&sha, block + 384 - 32);
	mbedtls_sha256_free(&sha);
}

int sigstruct_check_signature(const struct sgx_sigstruct *sig)
{
	enum { N, S, Q1, Q2, SQUARE, QUOTIENT, REST, WANT, COUNT };
	mbedtls_mpi v[COUNT];
	uint8_t block[384];
	int good = 0;

	for (int i = 0; i < COUNT; i++)
		mbedtls_mpi_init(&v[i]);
	encode_digest(sig, block);
	if (mbedtls_mpi_read_binary_le(&v[N], sig->modulus, 384) ||
	    mbedtls_mpi_read_binary_le(&v[S], sig->signature, 384) ||
	    mbedtls_mpi_read_binary_le(&v[Q1], sig->q1, 384) ||
	    mbedtls_mpi_read_binary_le(&v[Q2], sig->q2, 384) ||
	    mbedtls_mpi_read_binary(&v[WANT], block, sizeof(block)))
		goto out;
	if (!mbedtls_mpi_cmp_int(&v[N], 0) || mbedtls_mpi_cmp_mpi(&v[S], &v[N]) >= 0)
		goto out;
	/* s^3 mod n the way the processor is helped to do it: q1 = s^2 / n, q2 = s * (s^2 mod n) / n. */
	if (mbedtls_mpi_mul_mpi(&v[SQUARE], &v[S], &v[S]) ||
	    mbedtls_mpi_div_mpi(&v[QUOTIENT], &v[REST], &v[SQUARE], &v[N]) ||
	    mbedtls_mpi_cmp_mpi(&v[QUOTIENT], &v[Q1]) || mbedtls_mpi_mul_mpi(&v[SQUARE], &v[S], &v[REST]) ||
	    mbedtls_mpi_div_mpi(&v[QUOTIENT], &v[REST], &v[SQUARE], &v[N]) ||
	    mbedtls_mpi_cmp_mpi(&v[QUOTIENT], &v[Q2]))
		goto out;
	good = !mbedtls_mpi_cmp_mpi(&v[REST], &v[WANT]);
out:
	for (int i = 0; i < COUNT; i++)
		mbedtls_mpi_free(&v[i]);
	return good ? 0 : SGX_INVALID_SIGNATURE;
}

void sigstruct_mrsigner(const struct sgx_sigstruct *sig, uint8_t mrsigner[static 32])
{
	mbedtls_sha256_ret(sig->modulus, sizeof(sig->modulus), mrsigner, 0);
}
