/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages arrive as they were, and a record that was altered, cut, repeated,
 * reordered or sent elsewhere does not.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/migrate/pair.h"

static struct message record, other;

static void expect_page(struct side *s, unsigned page, uint8_t value)
{
	uint8_t content[PAGE_SIZE];
	size_t size = sizeof(content);
	CHECK(side_call(s, POKE_READ, page, 0, NULL, 0, content, &size, NULL) == 0);
	for (size_t i = 0; i < size; i++)
		CHECK(content[i] == value);
}

static void fill(struct side *s, unsigned page, uint8_t value)
{
	CHECK(side_do(s, POKE_FILL, page, value) == 0);
}

static void pages_arrive(uint64_t xfrm, unsigned streams)
{
	struct identity who = IDENTITY_DEFAULT;
	struct pair p;
	uint64_t counts[2] = {0, 0};
	who.xfrm = xfrm;
	pair_open(&p, &who, &who);
	CHECK(pair_secure(&p, streams) == 0);
	for (unsigned i = 0; i < 700; i++)
		fill(&p.source, i, i % 7 ? (uint8_t)i : 0);
	fill(&p.source, 999, 9);
	/* what the host put into a page of the destination must not survive as "zero" */
	CHECK(side_do(&p.destination, POKE_SILENT, 7, 0xff) == 0);
	pair_round(&p, streams, ROUND_PREPARE, NULL);
	pair_round(&p, streams, ROUND_LIVE, counts);
	/* bytes 0, 256, 512 are zero too */
	CHECK(counts[0] + counts[1] == 701 && counts[1] == 100 + 2);
	for (unsigned i = 0; i < 700; i++)
		expect_page(&p.destination, i, i % 7 ? (uint8_t)i : 0);
	/* only what was written since */
	fill(&p.source, 3, 33);
	fill(&p.source, 650, 0);
	fill(&p.source, 800, 80);
	fill(&p.source, 4, 44);
	CHECK(side_do(&p.source, POKE_GONE, 4, 0) == 0);
	counts[0] = counts[1] = 0;
	pair_round(&p, streams, ROUND_LIVE, counts);
	CHECK(counts[0] == 2 && counts[1] == 1);
	/* parked: what is always dirty, and what was never sent although nobody marked it */
	CHECK(side_do(&p.source, POKE_DIRTY, 10, 0) == 0);
	CHECK(side_do(&p.source, POKE_SILENT, 10, 99) == 0);
	CHECK(side_do(&p.source, POKE_SILENT, 900, 90) == 0);
	counts[0] = counts[1] = 0;
	pair_stop(&p);
	pair_round(&p, streams, ROUND_FINAL, counts);
	CHECK(counts[0] == 2);
	expect_page(&p.destination, 3, 33);
	expect_page(&p.destination, 650, 0);
	expect_page(&p.destination, 800, 80);
	expect_page(&p.destination, 10, 99);
	expect_page(&p.destination, 900, 90);
	pair_close(&p);
}

static void next_record(struct pair *p, struct message *m)
{
	CHECK(message_get(&p->source, MIGRATE_SEND, 0, NULL, m) == 0);
	CHECK(m->size > RECORD_SIZE_MIN);
}

static int deliver(struct pair *p, const struct message *m)
{
	return message_put(&p->destination, MIGRATE_RECEIVE, 0, m);
}

static void hostile_records_are_refused(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_secure(&p, 1) == 0);
	for (unsigned i = 0; i < 200; i++)
		fill(&p.source, i, (uint8_t)(i + 1));
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_LIVE, 0) == 0);
	next_record(&p, &record);
	next_record(&p, &other);

	/* every byte of header and runs, some of body, all of tag */
	for (size_t i = 0; i < record.size; i += i < 200 || i + 20 > record.size ? 1 : 4099) {
		record.data[i] ^= 1;
		CHECK(deliver(&p, &record) == -EBADMSG);
		record.data[i] ^= 1;
	}
	/* cut, lengthened, empty */
	for (size_t cut = 1; cut < 64; cut++) {
		record.size -= cut;
		CHECK(deliver(&p, &record) == -EBADMSG);
		record.size += cut;
	}
	record.size++;
	CHECK(deliver(&p, &record) == -EBADMSG);
	record.size = 0;
	CHECK(deliver(&p, &record) == -EBADMSG);
	record.size = other.size;
	/* out of order, on another stream */
	CHECK(deliver(&p, &other) == -EBADMSG);
	CHECK(message_put(&p.destination, MIGRATE_RECEIVE, MIGRATE_CONTROL, &record) == -EBADMSG);
	CHECK(message_put(&p.destination, MIGRATE_RECEIVE, 1, &record) == -EINVAL);
	expect_page(&p.destination, 0, 0);
	/* none of it changed anything: in order they are taken, once */
	CHECK(deliver(&p, &record) == 0);
	CHECK(deliver(&p, &record) == -EBADMSG);
	CHECK(deliver(&p, &other) == 0);
	CHECK(deliver(&p, &other) == -EBADMSG);
	expect_page(&p.destination, 0, 1);
	expect_page(&p.destination, 127, 128);
	pair_close(&p);
}

/* A stream's record does not open under another stream's key. */
static void streams_have_keys_of_their_own(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_secure(&p, 2) == 0);
	for (unsigned i = 0; i < 128; i++)
		fill(&p.source, i, 1);
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_LIVE, 0) == 0);
	next_record(&p, &record);
	struct record_header *h = (struct record_header *)record.data;
	CHECK(message_put(&p.destination, MIGRATE_RECEIVE, 1, &record) == -EBADMSG);
	h->stream ^= 1;
	CHECK(message_put(&p.destination, MIGRATE_RECEIVE, 1, &record) == -EBADMSG);
	h->stream ^= 1;
	CHECK(deliver(&p, &record) == 0);
	pair_close(&p);
}

/* Records of one session are worth nothing to another enclave, nor to the same conversation held again. */
static void recorded_sessions_cannot_be_replayed(void)
{
	static struct message offer, answer;
	struct pair p;
	struct side again;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &offer) == 0);
	CHECK(message_get(&p.destination, MIGRATE_ACCEPT, 0, &offer, &answer) == 0);
	CHECK(message_put(&p.source, MIGRATE_ANSWERED, 0, &answer) == 0);
	static struct message evidence;
	evidence_make(&p.source, &evidence);
	CHECK(pair_attest(&p) == 0);
	fill(&p.source, 0, 1);
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_LIVE, 0) == 0);
	next_record(&p, &record);
	side_open(&again, &IDENTITY_DEFAULT);
	CHECK(message_get(&again, MIGRATE_ACCEPT, 0, &offer, &answer) == 0);
	CHECK(message_put(&again, MIGRATE_PEER, 0, &evidence) == -EBADMSG);
	CHECK(message_put(&again, MIGRATE_RECEIVE, 0, &record) == -EPERM);
	side_close(&again);
	pair_close(&p);
}

int main(void)
{
	unsigned a, b = 0, c = 0, d;
	__get_cpuid_count(7, 0, &a, &b, &c, &d);
	pages_arrive(SGX_XFRM_LEGACY, 1);
	if (b & bit_AVX2)
		pages_arrive(SGX_XFRM_AVX, 2);
	if ((b & bit_AVX512F) && (c & bit_VAES))
		pages_arrive(SGX_XFRM_AVX512, 3);
	hostile_records_are_refused();
	streams_have_keys_of_their_own();
	recorded_sessions_cannot_be_replayed();
	puts("records: all refused that must be");
	return 0;
}
