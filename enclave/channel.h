/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of one migration session: an ephemeral X25519 exchange whose
 * transcript both sides put into their attestation, and AES-256-GCM channels
 * derived from it, one per stream and direction, each with a strict counter.
 * Trusted side only; who the peer is, is attest.h's question.
 */
#ifndef ENCLAVE_CHANNEL_H
#define ENCLAVE_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include "abi/migrate.h"
#include "enclave/gcm.h"

#define HASH_SIZE 32

struct handshake {
	uint8_t secret_key[32];
	struct handshake_hello own;
	uint8_t transcript[HASH_SIZE]; /* SHA-256 of both hellos, the source's first */
	uint8_t prk[HASH_SIZE];	       /* what all keys are derived from */
};

/* One direction of one stream. The side that seals and the side that opens each hold one. */
struct channel {
	struct gcm_key key;
	uint64_t next; /* counter of the next record */
	uint16_t stream;
	bool open;
};

/* Makes the key pair and own hello. -EIO if the library fails. */
int handshake_start(struct handshake *h, enum migrate_role role, unsigned streams);
/* Checks the peer's hello and computes transcript and prk. -EBADMSG if malformed or of the wrong role. */
int handshake_join(struct handshake *h, const struct handshake_hello *peer);
/* What a side's REPORT must carry: binds evidence to this handshake and to the role. 64 bytes. */
void handshake_report_data(const struct handshake *h, enum migrate_role role, uint8_t out[static 64]);
/* The state record's key: needs the share that only COMMIT carries. */
int handshake_state_key(const struct handshake *h, const uint8_t share[static 32], struct gcm_key *out);

/* key = HKDF-Expand(prk, "records" || sender || stream || epoch): no two channels share one. */
int channel_open(struct channel *c, const struct handshake *h, enum migrate_role sender, unsigned stream,
		 uint32_t epoch);
void channel_close(struct channel *c); /* wipes */

#endif
