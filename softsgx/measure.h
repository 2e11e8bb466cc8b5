/* SPDX-License-Identifier: Apache-2.0
 *
 * MRENCLAVE: SHA-256 over one 64-byte record per building step (SDM 36.4).
 */
#ifndef SOFTSGX_MEASURE_H
#define SOFTSGX_MEASURE_H

#include <mbedtls/sha256.h>
#include "sgx/arch.h"

void measure_ecreate(mbedtls_sha256_context *sha, uint32_t ssa_frame_size, uint64_t size);
void measure_eadd(mbedtls_sha256_context *sha, uint64_t offset, const struct sgx_secinfo *secinfo);
/* All sixteen EEXTENDs of a page. */
void measure_eextend_page(mbedtls_sha256_context *sha, uint64_t offset, const uint8_t *page);
void measure_final(const mbedtls_sha256_context *sha, uint8_t mrenclave[static 32]);

#endif
