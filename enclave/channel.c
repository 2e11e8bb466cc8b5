/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/channel.h"
#include <errno.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/hkdf.h>
#include <mbedtls/sha256.h>
#include "enclave/rt.h"

static const char transcript_label[] = "OptMig migration 1";

static int random_callback(void *context, unsigned char *out, size_t size)
{
	rt_random(out, size);
	return 0;
}

int handshake_start(struct handshake *h, enum migrate_role role, unsigned streams)
{
	mbedtls_ecp_group group;
	mbedtls_mpi secret;
	mbedtls_ecp_point public;
	size_t size;
	mbedtls_ecp_group_init(&group);
	mbedtls_mpi_init(&secret);
	mbedtls_ecp_point_init(&public);
	int failed = mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_CURVE25519) ||
		     mbedtls_ecdh_gen_public(&group, &secret, &public, random_callback, NULL) ||
		     mbedtls_mpi_write_binary_le(&secret, h->secret_key, sizeof(h->secret_key)) ||
		     mbedtls_ecp_point_write_binary(&group, &public, MBEDTLS_ECP_PF_UNCOMPRESSED, &size,
						    h->own.public_key, sizeof(h->own.public_key)) ||
		     size != sizeof(h->own.public_key);
	mbedtls_ecp_point_free(&public);
	mbedtls_mpi_free(&secret);
	mbedtls_ecp_group_free(&group);
	h->own.magic = HELLO_MAGIC;
	h->own.role = role;
	h->own.streams = streams;
	rt_random(h->own.nonce, sizeof(h->own.nonce));
	return failed ? -EIO : 0;
}

/* X25519. A point of small order would make the secret public: mbedTLS refuses some, all give zero. */
static int shared_secret(const struct handshake *h, const struct handshake_hello *peer,
			 uint8_t out[static 32])
{
	static const uint8_t zero[32];
	mbedtls_ecp_group group;
	mbedtls_mpi secret, shared;
	mbedtls_ecp_point public;
	mbedtls_ecp_group_init(&group);
	mbedtls_mpi_init(&secret);
	mbedtls_mpi_init(&shared);
	mbedtls_ecp_point_init(&public);
	int failed =
	    mbedtls_ecp_group_load(&group, MBEDTLS_ECP_DP_CURVE25519) ||
	    mbedtls_mpi_read_binary_le(&secret, h->secret_key, sizeof(h->secret_key)) ||
	    mbedtls_ecp_point_read_binary(&group, &public, peer->public_key, sizeof(peer->public_key)) ||
	    mbedtls_ecdh_compute_shared(&group, &shared, &public, &secret, random_callback, NULL) ||
	    mbedtls_mpi_write_binary_le(&shared, out, 32);
	mbedtls_ecp_point_free(&public);
	mbedtls_mpi_free(&shared);
	mbedtls_mpi_free(&secret);
	mbedtls_ecp_group_free(&group);
	return failed || rt_memcmp_ct(out, zero, 32) == 0 ? -EBADMSG : 0;
}

static int hash_transcript(const struct handshake_hello *source, const struct handshake_hello *destination,
			   uint8_t out[static HASH_SIZE])
{
	mbedtls_sha256_context sha;
	mbedtls_sha256_init(&sha);
	int failed =
	    mbedtls_sha256_starts_ret(&sha, 0) ||
	    mbedtls_sha256_update_ret(&sha, (const uint8_t *)transcript_label, sizeof(transcript_label)) ||
	    mbedtls_sha256_update_ret(&sha, (const uint8_t *)source, sizeof(*source)) ||
	    mbedtls_sha256_update_ret(&sha, (const uint8_t *)destination, sizeof(*destination)) ||
	    mbedtls_sha256_finish_ret(&sha, out);
	mbedtls_sha256_free(&sha);
	return failed ? -EIO : 0;
}

int handshake_join(struct handshake *h, const struct handshake_hello *peer)
{
	bool source = h->own.role == ROLE_SOURCE;
	if (peer->magic != HELLO_MAGIC || peer->role != (source ? ROLE_DESTINATION : ROLE_SOURCE) ||
	    peer->streams != h->own.streams)
		return -EBADMSG;
	uint8_t shared[32];
	int rc = shared_secret(h, peer, shared);
	if (rc == 0)
		rc = source ? hash_transcript(&h->own, peer, h->transcript)
			    : hash_transcript(peer, &h->own, h->transcript);
	if (rc == 0 && mbedtls_hkdf_extract(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), h->transcript,
					    HASH_SIZE, shared, sizeof(shared), h->prk))
		rc = -EIO;
	rt_wipe(shared, sizeof(shared));
	if (rc == 0)
		rt_wipe(h->secret_key, sizeof(h->secret_key));
	return rc;
}

void handshake_report_data(const struct handshake *h, enum migrate_role role, uint8_t out[static 64])
{
	memset(out, 0, 64);
	memcpy(out, h->transcript, HASH_SIZE);
	out[HASH_SIZE] = (uint8_t)role;
}

static int expand(const uint8_t prk[static HASH_SIZE], const uint8_t *info, size_t size,
		  uint8_t key[static GCM_KEY_SIZE])
{
	return mbedtls_hkdf_expand(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), prk, HASH_SIZE, info, size,
				   key, GCM_KEY_SIZE)
		   ? -EIO
		   : 0;
}

static int record_key(const struct handshake *h, enum migrate_role sender, unsigned stream, uint32_t epoch,
		      uint8_t key[static GCM_KEY_SIZE])
{
	uint8_t info[] = {'r', 'e', 'c', 'o', 'r', 'd', 's', (uint8_t)sender, (uint8_t)stream, 0, 0, 0, 0};
	memcpy(info + sizeof(info) - sizeof(epoch), &epoch, sizeof(epoch));
	return expand(h->prk, info, sizeof(info), key);
}

int handshake_state_key(const struct handshake *h, const uint8_t share[static 32], struct gcm_key *out)
{
	static const uint8_t info[] = "thread state";
	uint8_t prk[HASH_SIZE], key[GCM_KEY_SIZE];
	int rc = -EIO;
	if (mbedtls_hkdf_extract(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), share, 32, h->prk, HASH_SIZE,
				 prk) == 0)
		rc = expand(prk, info, sizeof(info), key);
	if (rc == 0)
		gcm_expand(out, key);
	rt_wipe(prk, sizeof(prk));
	rt_wipe(key, sizeof(key));
	return rc;
}

int channel_open(struct channel *c, const struct handshake *h, enum migrate_role sender, unsigned stream,
		 uint32_t epoch)
{
	uint8_t key[GCM_KEY_SIZE];
	int rc = record_key(h, sender, stream, epoch, key);
	if (rc)
		return rc;
	gcm_expand(&c->key, key);
	rt_wipe(key, sizeof(key));
	c->next = 1;
	c->stream = (uint16_t)stream;
	c->open = true;
	return 0;
}

void channel_close(struct channel *c)
{
	rt_wipe(c, sizeof(*c));
}
