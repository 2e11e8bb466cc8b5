/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of the enclave's trusted half, and the evidence this host can get for
 * it. Untrusted side. 0 or -errno, the enclave's own answer included.
 */
#ifndef MIGRATE_TRUSTED_H
#define MIGRATE_TRUSTED_H

#include <stddef.h>
#include "abi/migrate.h"
#include "host/enclave.h"

struct trusted_call {
	const void *in;
	size_t in_size;
	void *out;
	size_t out_size; /* capacity, then what was written */
	uint64_t more[2]; /* arg[1], arg[2] */
	uint64_t ret[4];
};

/* c may be NULL: neither input nor output. */
int trusted(struct enclave *e, enum migrate_op op, uint64_t arg, struct trusted_call *c);

/* Words for what MIGRATE_PEER said of the other end. */
int trusted_peer_refused(int rc, const char *peer, struct failure *why);

/* struct evidence for the handshake under way. -ENOTSUP: nothing on this machine vouches for it. */
int trusted_evidence(struct enclave *e, void *out, size_t capacity, size_t *size, struct failure *why);

#endif
