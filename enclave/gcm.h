/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-256-GCM by Intel IPsec-MB's kernels, called directly: its own dispatcher
 * asks CPUID, which an enclave cannot. Trusted side only.
 */
#ifndef ENCLAVE_GCM_H
#define ENCLAVE_GCM_H

#include <stddef.h>
#include <stdint.h>

#define GCM_KEY_SIZE 32
#define GCM_IV_SIZE 12
#define GCM_TAG_SIZE 16

/* An expanded key: IPsec-MB's struct gcm_key_data. */
struct gcm_key {
	_Alignas(64) uint8_t opaque[1024];
};

/* Chooses kernels for what this enclave may use of the processor (ATTRIBUTES.XFRM). Once, before any other
 * call. */
void gcm_select(uint64_t xfrm);
void gcm_expand(struct gcm_key *key, const uint8_t raw[static GCM_KEY_SIZE]);
/* In place over data. iv never twice with one key. */
void gcm_seal(const struct gcm_key *key, const uint8_t iv[static GCM_IV_SIZE], const void *aad,
	      size_t aad_size, uint8_t *data, size_t size, uint8_t tag[static GCM_TAG_SIZE]);
/* In place; -EBADMSG if the tag does not fit, and data is then wiped. */
int gcm_open(const struct gcm_key *key, const uint8_t iv[static GCM_IV_SIZE], const void *aad,
	     size_t aad_size, uint8_t *data, size_t size, const uint8_t tag[static GCM_TAG_SIZE]);

#endif
