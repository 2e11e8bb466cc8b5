/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/measure.h"

#include <string.h>

void measure_ecreate(mbedtls_sha256_context *sha, uint32_t ssa_frame_size, uint64_t size)
{
	uint8_t record[64] = "ECREATE";

	memcpy(record + 8, &ssa_frame_size, sizeof(ssa_frame_size));
	memcpy(record + 12, &size, sizeof(size));
	mbedtls_sha256_init(sha);
	mbedtls_sha256_starts_ret(sha, 0);
	mbedtls_sha256_update_ret(sha, record, sizeof(record));
}

void measure_eadd(mbedtls_sha256_context *sha, uint64_t offset, const struct sgx_secinfo *secinfo)
{
	uint8_t record[64] = "EADD";

	memcpy(record + 8, &offset, sizeof(offset));
	memcpy(record + 16, secinfo, 48);
	mbedtls_sha256_update_ret(sha, record, sizeof(record));
}

void measure_eextend_page(mbedtls_sha256_context *sha, uint64_t offset, const uint8_t *page)
{
	for (unsigned int i = 0; i < SGX_PAGE_SIZE; i += 256) {
		uint8_t record[64] = "EEXTEND";
		uint64_t at = offset + i;

		memcpy(record + 8, &at, sizeof(at));
		mbedtls_sha256_update_ret(sha, record, sizeof(record));
		mbedtls_sha256_update_ret(sha, page + i, 256);
	}
}

void measure_final(const mbedtls_sha256_context *sha, uint8_t mrenclave[static 32])
{
	mbedtls_sha256_context copy;

	mbedtls_sha256_init(&copy);
	mbedtls_sha256_clone(&copy, sha);
	mbedtls_sha256_finish_ret(&copy, mrenclave);
	mbedtls_sha256_free(&copy);
}
