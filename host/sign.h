/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGSTRUCT (SDM volume 3D, "enclave signature structure"): made from an image
 * and a key, and verified. All its numbers are little-endian.
 */
#ifndef HOST_SIGN_H
#define HOST_SIGN_H

#include <stdbool.h>
#include <mbedtls/pk.h>
#include "host/image.h"
#include "sgx/arch.h"

#define MRSIGNER_SIZE 32

/* date: BCD yyyymmdd. The same image, key, debug and date give the same bytes. */
int sign_image(const struct image *image, bool debug, uint32_t date, mbedtls_pk_context *key,
	       struct sgx_sigstruct *out, struct failure *why);
/* 0 or -EBADMSG: signature, q1 and q2 as EINIT checks them. */
int sign_verify(const struct sgx_sigstruct *sig);
void sign_mrsigner(const struct sgx_sigstruct *sig, uint8_t mrsigner[static MRSIGNER_SIZE]);
bool sign_is_debug(const struct sgx_sigstruct *sig);

#endif
