/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/gcm.h"
#include <errno.h>
#include <intel-ipsec-mb.h>
#include "enclave/rt.h"
#include "sgx/arch.h"

_Static_assert(sizeof(struct gcm_key_data) <= sizeof(struct gcm_key), "expanded key");

/* Not in the library's public header: the parts of aes_gcm_pre_256_*() that do not ask its dispatcher. */
typedef void (*keyexp_fn)(const void *raw, void *expanded);
typedef void (*precomp_fn)(struct gcm_key_data *key);
void aes_keyexp_256_enc_sse(const void *raw, void *expanded);
void aes_keyexp_256_enc_avx2(const void *raw, void *expanded);
void aes_gcm_precomp_256_sse(struct gcm_key_data *key);
void aes_gcm_precomp_256_avx_gen4(struct gcm_key_data *key);
void aes_gcm_precomp_256_vaes_avx512(struct gcm_key_data *key);

typedef void crypt_fn(const struct gcm_key_data *key, struct gcm_context_data *context, uint8_t *out,
		      const uint8_t *in, uint64_t size, const uint8_t *iv, const uint8_t *aad,
		      uint64_t aad_size, uint8_t *tag, uint64_t tag_size);
crypt_fn aes_gcm_enc_256_vaes_avx512, aes_gcm_dec_256_vaes_avx512; /* nor are these */

/*
 * Every processor with SGX that has AVX has AVX2, and every one with AVX-512 and
 * SGX2 has VAES, so the enabled state says which kernels run.
 */
static const struct kernels {
	uint64_t xfrm; /* needed bits */
	keyexp_fn keyexp;
	precomp_fn precomp;
	crypt_fn *encrypt, *decrypt;
} kernel_table[] = {
    {SGX_XFRM_AVX512, aes_keyexp_256_enc_avx2, aes_gcm_precomp_256_vaes_avx512, aes_gcm_enc_256_vaes_avx512,
     aes_gcm_dec_256_vaes_avx512},
    {SGX_XFRM_AVX, aes_keyexp_256_enc_avx2, aes_gcm_precomp_256_avx_gen4, aes_gcm_enc_256_avx_gen4,
     aes_gcm_dec_256_avx_gen4},
    {0, aes_keyexp_256_enc_sse, aes_gcm_precomp_256_sse, aes_gcm_enc_256_sse, aes_gcm_dec_256_sse},
};
static const struct kernels *kernels;

void gcm_select(uint64_t xfrm)
{
	const struct kernels *k = kernel_table;
	while ((xfrm & k->xfrm) != k->xfrm)
		k++;
	kernels = k;
}

void gcm_expand(struct gcm_key *key, const uint8_t raw[static GCM_KEY_SIZE])
{
	struct gcm_key_data *data = (struct gcm_key_data *)key->opaque;
	kernels->keyexp(raw, data->expanded_keys);
	kernels->precomp(data);
}

void gcm_seal(const struct gcm_key *key, const uint8_t iv[static GCM_IV_SIZE], const void *aad,
	      size_t aad_size, uint8_t *data, size_t size, uint8_t tag[static GCM_TAG_SIZE])
{
	struct gcm_context_data context;
	kernels->encrypt((const struct gcm_key_data *)key->opaque, &context, data, data, size, iv, aad,
			 aad_size, tag, GCM_TAG_SIZE);
	rt_wipe(&context, sizeof(context));
}

int gcm_open(const struct gcm_key *key, const uint8_t iv[static GCM_IV_SIZE], const void *aad,
	     size_t aad_size, uint8_t *data, size_t size, const uint8_t tag[static GCM_TAG_SIZE])
{
	struct gcm_context_data context;
	uint8_t computed[GCM_TAG_SIZE];
	kernels->decrypt((const struct gcm_key_data *)key->opaque, &context, data, data, size, iv, aad,
			 aad_size, computed, GCM_TAG_SIZE);
	int rc = rt_memcmp_ct(computed, tag, GCM_TAG_SIZE) == 0 ? 0 : -EBADMSG;
	if (rc)
		rt_wipe(data, size);
	rt_wipe(&context, sizeof(context));
	rt_wipe(computed, sizeof(computed));
	return rc;
}
