/* SPDX-License-Identifier: Apache-2.0
 *
 * MRENCLAVE as the processor computes it (SDM volume 3D: ECREATE, EADD,
 * EEXTEND): SHA-256 over one 64-byte record per operation. Pure computation; the
 * processor's (or softsgx's) own result is what decides.
 */
#ifndef HOST_MEASURE_H
#define HOST_MEASURE_H

#include <stdint.h>
#include <mbedtls/sha256.h>

#define MRENCLAVE_SIZE 32

struct mrenclave_sum {
	mbedtls_sha256_context sha;
};

void mrenclave_ecreate(struct mrenclave_sum *m, uint32_t ssa_frame_pages, uint64_t size);
/* flags as in SECINFO; a TCS has no permission bits. */
void mrenclave_eadd(struct mrenclave_sum *m, uint64_t offset, uint64_t flags);
/* All sixteen EEXTENDs of one page. */
void mrenclave_eextend_page(struct mrenclave_sum *m, uint64_t offset, const uint8_t *page);
/* Ends the measurement; m holds nothing afterwards. */
void mrenclave_final(struct mrenclave_sum *m, uint8_t mrenclave[static MRENCLAVE_SIZE]);

#endif
