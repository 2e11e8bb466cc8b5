/* SPDX-License-Identifier: Apache-2.0
 *
 * Two enclaves agree on keys only if they are the same enclave, on a platform
 * they believe, in the same conversation.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/migrate/pair.h"

static struct message message;

static void same_enclave_is_believed(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_secure(&p, 2) == 0);
	pair_close(&p);
}

static void refused(struct identity source, struct identity destination, int expected)
{
	struct pair p;
	pair_open(&p, &source, &destination);
	CHECK(pair_hello(&p, 1) == 0);
	evidence_make(&p.destination, &message);
	CHECK(message_put(&p.source, MIGRATE_PEER, 0, &message) == expected);
	/* and nothing can be sent */
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_LIVE, 0) == -EPERM);
	pair_close(&p);
}

static void other_identities_are_refused(void)
{
	struct identity own = IDENTITY_DEFAULT, other = own;
	other.mrenclave++;
	refused(own, other, -EBADMSG);
	other = own;
	other.mrsigner++;
	refused(own, other, -EKEYREJECTED);
	other = own;
	other.attributes |= SGX_ATTR_DEBUG;
	refused(own, other, -EKEYREJECTED);
	other = own;
	other.xfrm = SGX_XFRM_AVX;
	refused(own, other, -EKEYREJECTED);
}

static void production_refuses_software_evidence(void)
{
	struct identity own = IDENTITY_DEFAULT;
	own.config_flags = IMAGE_FLAG_PRODUCTION;
	refused(own, own, -EACCES);
}

/* Whatever byte of the evidence is changed, it is refused. */
static void altered_evidence_is_refused(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_hello(&p, 1) == 0);
	evidence_make(&p.destination, &message);
	for (size_t i = 0; i < message.size; i += i < 40 || i + 70 > message.size ? 1 : 37) {
		message.data[i] ^= 0x40;
		CHECK(message_put(&p.source, MIGRATE_PEER, 0, &message) != 0);
		message.data[i] ^= 0x40;
	}
	message.size--;
	CHECK(message_put(&p.source, MIGRATE_PEER, 0, &message) == -EBADMSG);
	message.size = 3;
	CHECK(message_put(&p.source, MIGRATE_PEER, 0, &message) == -EBADMSG);
	pair_close(&p);
}

/* Own evidence sent back, and evidence of another conversation. */
static void evidence_is_bound_to_role_and_conversation(void)
{
	static struct message old;
	struct pair p, q;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_hello(&p, 1) == 0);
	evidence_make(&p.source, &message);
	CHECK(message_put(&p.source, MIGRATE_PEER, 0, &message) == -EBADMSG);
	evidence_make(&p.destination, &old);
	pair_open(&q, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_hello(&q, 1) == 0);
	CHECK(message_put(&q.source, MIGRATE_PEER, 0, &old) == -EBADMSG);
	pair_close(&p);
	pair_close(&q);
}

/* A host between them that swaps a public key ends up with two conversations. */
static void altered_hello_breaks_the_attestation(void)
{
	static struct message offer, answer;
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &offer) == 0);
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &offer, &answer) == 0);
	((struct handshake_hello *)answer.data)->nonce[5] ^= 1;
	CHECK(message_put(&p.source, MIGRATE_ANSWERED, 0, &answer) == 0);
	CHECK(pair_attest(&p) == -EBADMSG);
	pair_close(&p);
}

static void weak_public_keys_are_refused(void)
{
	static struct message offer;
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &offer) == 0);
	memset(((struct handshake_hello *)offer.data)->public_key, 0, 32);
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &offer, &message) != 0);
	pair_close(&p);
}

static void only_fresh_enclaves_become_destinations(void)
{
	static struct message offer;
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &offer) == 0);
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &offer, &message) == 0);
	/* the same session again, to the same enclave */
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &offer, &message) == -EPERM);
	pair_close(&p);
	/* to one that has started */
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(side_do(&p.destination, POKE_START, 0, 0) == 0);
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &offer, &message) == -EINVAL);
	pair_close(&p);
}

static void one_session_at_a_time(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_secure(&p, 1) == 0);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &message) == -EPERM);
	CHECK(side_do(&p.source, MIGRATE_CANCEL, 0, 0) == 0);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &message) == 0);
	pair_close(&p);
}

static void malformed_calls_are_refused(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 0, NULL, &message) == -EINVAL);
	CHECK(message_get(&p.source, MIGRATE_OFFER, MIGRATE_STREAMS_MAX + 1, NULL, &message) == -EINVAL);
	message.size = 1;
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &message, &message) == -EINVAL);
	for (uint32_t op = MIGRATE_ANSWERED; op < MIGRATE_OP_END; op++)
		CHECK(side_do(&p.source, op, 0, 0) == -EPERM);
	CHECK(side_do(&p.source, MIGRATE_OP_END, 0, 0) == -ENOSYS);
	CHECK(side_do(&p.source, MIGRATE_SEND, 77, 0) == -EINVAL);
	pair_close(&p);
}

int main(void)
{
	same_enclave_is_believed();
	other_identities_are_refused();
	production_refuses_software_evidence();
	altered_evidence_is_refused();
	evidence_is_bound_to_role_and_conversation();
	altered_hello_breaks_the_attestation();
	weak_public_keys_are_refused();
	only_fresh_enclaves_become_destinations();
	one_session_at_a_time();
	malformed_calls_are_refused();
	puts("handshake: all refused that must be");
	return 0;
}
