/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages that stay behind: none is there in an old version when the program goes on,
 * each arrives once, whatever connections and hosts do, and no page that the
 * program has written to since is overwritten.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/migrate/pair.h"

static const char threads[] = "threads";
static struct message ready, commit, resumed, record, other, arrived;

static void fill(struct side *s, unsigned page, uint8_t value)
{
	CHECK(side_do(s, POKE_FILL, page, value) == 0);
}

static bool exists(struct side *s, unsigned page)
{
	return side_ask(s, POKE_EXISTS, page);
}

static uint8_t value_of(struct side *s, unsigned page)
{
	uint8_t content[PAGE_SIZE];
	size_t size = sizeof(content);
	CHECK(side_call(s, POKE_READ, page, 0, NULL, 0, content, &size, NULL) == 0);
	for (size_t i = 1; i < size; i++)
		CHECK(content[i] == content[0]);
	return content[0];
}

/* From the last look at what was written to the program running there. */
static void hand_over(struct pair *p, unsigned streams, uint64_t most, uint64_t deferred)
{
	uint64_t ret[4];
	size_t size = sizeof(resumed.data);
	pair_stop(p);
	pair_choose(p, ROUND_FINAL, most, 0, NULL);
	pair_send(p, streams, NULL);
	pair_export(p);
	CHECK(message_get(&p->destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	CHECK(message_get(&p->source, MIGRATE_COMMIT, 0, &ready, &commit) == 0);
	CHECK(side_call(&p->destination, MIGRATE_RESUME, 0, 0, commit.data, commit.size, resumed.data, &size,
			ret) == 0);
	CHECK(ret[0] == deferred);
	resumed.size = size;
	CHECK(side_call(&p->source, MIGRATE_FINISH, 0, 0, resumed.data, resumed.size, NULL, NULL, ret) == 0);
	CHECK(ret[0] == 0 && ret[1] == deferred);
}

static void pair_begin(struct pair *p, unsigned streams, unsigned pages)
{
	pair_open(p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(side_call(&p->source, POKE_STATE, 0, 0, threads, sizeof(threads), NULL, NULL, NULL) == 0);
	for (unsigned i = 0; i < pages; i++)
		fill(&p->source, i, (uint8_t)(i % 250 + 1));
	CHECK(pair_secure(p, streams) == 0);
}

static int arrive(struct pair *p, uint64_t stream, const struct message *m)
{
	return message_put(&p->destination, MIGRATE_RECEIVE, stream, m);
}

static void fetch(struct pair *p, unsigned page, struct message *m)
{
	m->size = sizeof(m->data);
	CHECK(side_call(&p->source, MIGRATE_FETCH, MIGRATE_URGENT, (APP_BASE >> PAGE_SHIFT) + page, NULL, 0,
			m->data, &m->size, NULL) == 0);
}

static void all_arrived(struct pair *p)
{
	CHECK(message_get(&p->destination, MIGRATE_ARRIVED, 0, NULL, &arrived) == 0);
	arrived.data[arrived.size - 1] ^= 1;
	CHECK(message_put(&p->source, MIGRATE_RELEASE, 0, &arrived) == -EBADMSG);
	arrived.data[arrived.size - 1] ^= 1;
	CHECK(message_put(&p->source, MIGRATE_RELEASE, 0, &arrived) == 0);
	CHECK(side_do(&p->source, MIGRATE_SERVE, 0, 0) == -EPERM);
	/* what has arrived may move on */
	CHECK(message_get(&p->destination, MIGRATE_OFFER, 1, NULL, &other) == 0);
}

static void what_is_written_all_the_time_stays_behind(void)
{
	struct pair p;
	uint64_t ret[4], counts[2] = {0, 0};
	pair_begin(&p, 2, 300);
	/* the session begins anew: what was written before says nothing */
	fill(&p.source, 5, 50);
	pair_choose(&p, ROUND_WATCH, 0, 0, ret);
	CHECK(ret[0] == 1 && ret[1] == 1);
	fill(&p.source, 5, 51);
	fill(&p.source, 6, 60);
	pair_choose(&p, ROUND_WATCH, 0, 0, ret);
	CHECK(ret[0] == 2 && ret[1] == 1); /* 5 is no news */
	fill(&p.source, 5, 52);
	pair_choose(&p, ROUND_QUIET, 10, GROW_UNSEEN, ret);
	CHECK(ret[0] == 298 && ret[1] == 1 && ret[2] == 0 && ret[3] == 300);
	pair_send(&p, 2, counts);
	CHECK(counts[0] == 298 && !exists(&p.destination, 5) && !exists(&p.destination, 6));
	/* what changes after it went is sent again */
	fill(&p.source, 7, 70);
	pair_choose(&p, ROUND_QUIET, 10, GROW_UNSEEN, ret);
	CHECK(ret[0] == 0 && ret[2] == 1 && ret[3] == 2);
	/* 5 and 6 were seen written: all of them or none */
	pair_choose(&p, ROUND_QUIET, 10, 2, ret);
	CHECK(ret[0] == 1);
	pair_choose(&p, ROUND_QUIET, 10, 3, ret);
	CHECK(ret[0] == 3);
	fill(&p.source, 5, 53);
	fill(&p.source, 8, 80);
	pair_choose(&p, ROUND_QUIET, 10, GROW_NOT, ret);
	CHECK(ret[0] == 1 && ret[2] == 2); /* 7; 8 must wait */
	pair_choose(&p, ROUND_OLD, 0, 0, ret);
	CHECK(ret[0] == 2 && ret[3] == 2); /* both, quiet or not; nothing that does not exist there */
	pair_send(&p, 2, counts);
	CHECK(value_of(&p.destination, 7) == 70 && value_of(&p.destination, 8) == 80);
	fill(&p.source, 8, 81);
	/* 5 and 6 do not exist there, 8 does: it goes */
	hand_over(&p, 2, 0, 2);
	CHECK(!exists(&p.destination, 5) && value_of(&p.destination, 7) == 70 &&
	      value_of(&p.destination, 8) == 81);
	CHECK(side_ask(&p.source, MIGRATE_SERVE, 0) == 2);
	CHECK(message_get(&p.destination, MIGRATE_ARRIVED, 0, NULL, &arrived) == -EAGAIN);
	CHECK(message_get(&p.destination, MIGRATE_OFFER, 1, NULL, &other) == -EPERM);
	pair_send(&p, 2, NULL);
	CHECK(value_of(&p.destination, 5) == 53 && value_of(&p.destination, 6) == 60);
	all_arrived(&p);
	pair_close(&p);
}

/* Written once, looked at, left alone: that alone makes it quiet. */
static void what_was_written_becomes_quiet(void)
{
	struct pair p;
	uint64_t ret[4];
	pair_begin(&p, 1, 300);
	fill(&p.source, 5, 50);
	pair_choose(&p, ROUND_WATCH, 0, 0, ret);
	CHECK(ret[0] == 1);
	pair_choose(&p, ROUND_QUIET, 10, GROW_UNSEEN + 1, ret);
	CHECK(ret[0] == 300);
	pair_close(&p);
}

/* More pages are there in an old version than may be sent in the switch: those that change again and again
 * leave. */
static void old_versions_are_taken_out(void)
{
	struct pair p;
	uint64_t ret[4];
	pair_begin(&p, 1, 100);
	pair_choose(&p, ROUND_QUIET, 0, GROW_UNSEEN, ret);
	CHECK(ret[0] == 100);
	pair_send(&p, 1, NULL);
	for (unsigned i = 0; i < 20; i++)
		fill(&p.source, i, 201);
	pair_choose(&p, ROUND_QUIET, 4, GROW_UNSEEN, ret);
	CHECK(ret[0] == 0 && ret[2] == 20);
	for (unsigned i = 0; i < 10; i++)
		fill(&p.source, i, 202);
	pair_choose(&p, ROUND_QUIET, 4, GROW_UNSEEN, ret);
	CHECK(ret[0] == 20);
	pair_send(&p, 1, NULL);
	for (unsigned i = 0; i < 20; i++)
		CHECK(exists(&p.destination, i) == (i >= 10));
	CHECK(value_of(&p.destination, 15) == 201);
	/* within the limit nobody is taken out */
	for (int k = 0; k < 3; k++) {
		fill(&p.source, 15, 203);
		pair_choose(&p, ROUND_QUIET, 4, GROW_NOT, ret);
		CHECK(ret[0] == 0 && ret[2] == 1 && ret[3] == 10);
	}
	hand_over(&p, 1, 0, 10);
	CHECK(value_of(&p.destination, 15) == 203);
	CHECK(side_ask(&p.source, MIGRATE_SERVE, 0) == 10);
	pair_send(&p, 1, NULL);
	for (unsigned i = 0; i < 10; i++)
		CHECK(value_of(&p.destination, i) == 202);
	all_arrived(&p);
	pair_close(&p);
}

/* A sample goes without anything else being touched. */
static void samples_are_small(void)
{
	struct pair p;
	uint64_t ret[4];
	pair_begin(&p, 2, 300);
	fill(&p.source, 0, 9);
	pair_choose(&p, ROUND_WATCH, 0, 0, ret);
	pair_choose(&p, ROUND_SAMPLE, 100, 0, ret);
	CHECK(ret[0] == 100);
	pair_send(&p, 2, NULL);
	/* What is written is as good as what is not: nothing of it is kept. */
	CHECK(exists(&p.destination, 0) && exists(&p.destination, 99) && !exists(&p.destination, 100));
	pair_choose(&p, ROUND_SAMPLE, 7, 1, ret);
	CHECK(ret[0] == 7 && ret[3] == 200);
	pair_send(&p, 2, NULL);
	/* Room for some, then what fills it. */
	pair_choose(&p, ROUND_PREPARE, 50, 0, ret);
	CHECK(ret[0] == 50);
	pair_send(&p, 2, NULL);
	CHECK(exists(&p.destination, 149) && !exists(&p.destination, 150) && value_of(&p.destination, 149) == 0);
	pair_choose(&p, ROUND_OLD, 0, 0, ret);
	CHECK(ret[0] == 50 && ret[3] == 150);
	pair_send(&p, 2, NULL);
	CHECK(value_of(&p.destination, 149) == value_of(&p.source, 149));
	pair_close(&p);
}

static void few_pages_all_go(void)
{
	struct pair p;
	pair_begin(&p, 1, 50);
	pair_choose(&p, ROUND_QUIET, 0, 0, NULL);
	hand_over(&p, 1, 50, 0);
	CHECK(value_of(&p.destination, 49) == 50);
	CHECK(side_do(&p.source, MIGRATE_SERVE, 0, 0) == -EPERM);
	CHECK(message_get(&p.destination, MIGRATE_OFFER, 1, NULL, &other) == 0);
	pair_close(&p);
}

/* Nothing was sent before; what runs needs goes in the switch, as always. */
static void all_may_stay_behind(void)
{
	struct pair p;
	pair_begin(&p, 3, 1000);
	CHECK(side_do(&p.source, POKE_DIRTY, 77, 0) == 0);
	hand_over(&p, 3, 0, 999);
	CHECK(exists(&p.destination, 77) && !exists(&p.destination, 78));
	CHECK(side_ask(&p.source, MIGRATE_SERVE, 0) == 999);

	/* one that is waited for, with those behind it */
	fetch(&p, 500, &record);
	CHECK(arrive(&p, MIGRATE_URGENT, &record) == 0);
	CHECK(value_of(&p.destination, 500) == 1 && exists(&p.destination, 501) &&
	      !exists(&p.destination, 499));
	CHECK(arrive(&p, MIGRATE_URGENT, &record) == -EBADMSG);
	/* the program writes to it; it comes again, and is not wanted */
	fill(&p.destination, 500, 233);
	fetch(&p, 500, &record);
	CHECK(record.size != 0 && arrive(&p, MIGRATE_URGENT, &record) == 0);
	CHECK(value_of(&p.destination, 500) == 233);
	/* nothing to fetch: never deferred, not the program's */
	fetch(&p, 77, &record);
	CHECK(record.size == 0);
	CHECK(side_do(&p.source, MIGRATE_FETCH, MIGRATE_URGENT, 5) == -EINVAL);
	/* rounds, and what belongs to preparation, are over */
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_LIVE, 0) == -EPERM);
	CHECK(side_do(&p.source, MIGRATE_CANCEL, 0, 0) == -EPERM);
	CHECK(arrive(&p, MIGRATE_CONTROL, &record) == -EINVAL);

	/* connections break: a record that was on its way is lost, new ones have new keys */
	CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &record) == 0);
	CHECK(side_do(&p.source, MIGRATE_SERVE, 1, 0) == 0 &&
	      side_do(&p.destination, MIGRATE_REOPEN, 1, 0) == 0);
	CHECK(arrive(&p, 0, &record) == -EBADMSG);
	CHECK(side_do(&p.source, MIGRATE_SERVE, 1, 0) == -EINVAL &&
	      side_do(&p.destination, MIGRATE_REOPEN, 1, 0) == -EINVAL);
	/* and again: the first record of the last attempt is not the first of this one */
	CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &record) == 0);
	CHECK(side_do(&p.source, MIGRATE_SERVE, 2, 0) == 0 &&
	      side_do(&p.destination, MIGRATE_REOPEN, 2, 0) == 0);
	CHECK(arrive(&p, 0, &record) == -EBADMSG);
	pair_send(&p, 3, NULL);
	CHECK(value_of(&p.destination, 500) == 233);
	for (unsigned i = 0; i < 1000; i++)
		CHECK(i == 500 || value_of(&p.destination, i) == i % 250 + 1);
	all_arrived(&p);
	pair_close(&p);
}

/* The channel of pages that are asked for is one, whatever stream the host names: two calls inside would use a number twice,
 * and one would show what the other has not sealed yet. */
static void pages_are_asked_for_one_at_a_time(void)
{
	static const uint64_t names[] = {MIGRATE_URGENT, MIGRATE_CONTROL, 0, 1, MIGRATE_STREAMS_MAX - 1};
	struct pair p;
	pair_begin(&p, 1, 500);
	hand_over(&p, 1, 0, 500);
	CHECK(side_ask(&p.source, MIGRATE_SERVE, 0) == 500);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CHECK(side_do(&p.source, POKE_MEANWHILE, names[i], (APP_BASE >> PAGE_SHIFT) + 300) == 0);
		fetch(&p, 20 * i, &record);
		CHECK(side_ask(&p.source, POKE_MEANWHILE_RC, 0) == EBUSY);
		CHECK(arrive(&p, MIGRATE_URGENT, &record) == 0);
	}
	pair_close(&p);
}

/* Hosts that let a stream run out of numbers: no page counts as sent that was not, and none is sent. */
static void out_of_numbers_nothing_is_lost(void)
{
	const uint64_t last = (1ull << 32) - 1;
	struct pair p;
	uint64_t ret[4];
	pair_begin(&p, 1, 200);
	CHECK(side_do(&p.source, POKE_COUNTER, 0, last) == 0 && side_do(&p.destination, POKE_COUNTER, 0, last) == 0);
	pair_stop(&p);
	pair_choose(&p, ROUND_FINAL, UINT64_MAX, 0, ret);
	CHECK(ret[0] == 200);
	CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &record) == 0 && arrive(&p, 0, &record) == 0);
	for (int i = 0; i < 10; i++)
		CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &record) == -EOVERFLOW);
	pair_export(&p);
	/* there is no state to be ready with */
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) < 0);
	CHECK(side_do(&p.source, MIGRATE_CANCEL, 0, 0) == 0);
	pair_close(&p);
}

/* Before the program runs no page may be asked for, after it none may be taken out. */
static void order_is_kept(void)
{
	struct pair p;
	pair_begin(&p, 1, 10);
	CHECK(side_do(&p.source, MIGRATE_SERVE, 0, 0) == -EPERM);
	CHECK(side_do(&p.source, MIGRATE_FETCH, MIGRATE_URGENT, APP_BASE >> PAGE_SHIFT) == -EPERM);
	CHECK(side_do(&p.destination, MIGRATE_REOPEN, 1, 0) == -EPERM);
	CHECK(message_get(&p.destination, MIGRATE_ARRIVED, 0, NULL, &arrived) == -EPERM);
	record.size = RECORD_SIZE_MIN;
	CHECK(arrive(&p, MIGRATE_URGENT, &record) == -EINVAL);
	/* a map that was kept back: no next round before it went */
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_WATCH, 0) == 0);
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_WATCH, 0) == -EPERM);
	pair_close(&p);
}

/* The destination's host keeps the record that takes a page out until the last map has come, in which the page is not
 * mapped any more. Its enclave then waits for a page that does not live: the source does not hand over. */
static void records_between_maps_are_noticed(void)
{
	struct pair p;
	pair_begin(&p, 1, 10);
	pair_choose(&p, ROUND_QUIET, 0, GROW_UNSEEN, NULL);
	pair_send(&p, 1, NULL);
	for (uint8_t value = 201; value < 203; value++) {
		fill(&p.source, 3, value);
		pair_choose(&p, ROUND_QUIET, 0, GROW_NOT, NULL);
	}
	CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &record) == 0);
	CHECK(side_do(&p.source, POKE_GONE, 3, 0) == 0);
	pair_stop(&p);
	pair_choose(&p, ROUND_FINAL, UINT64_MAX, 0, NULL);
	CHECK(arrive(&p, 0, &record) == 0);
	pair_send(&p, 1, NULL);
	pair_export(&p);
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == -EBADMSG);
	pair_close(&p);
}

/* What is known of a page that nobody has looked at since stays true: over many rounds of each kind, in each of which
 * only some pages are written, come, or go, the counts are those of the pages themselves. */
static void counts_stay_true(unsigned seed)
{
	enum { PAGES = 400, ROUNDS = 40 };
	static const enum migrate_round kinds[] = {ROUND_WATCH, ROUND_QUIET, ROUND_QUIET, ROUND_OLD, ROUND_SAMPLE,
						   ROUND_LIVE};
	struct pair p;
	uint8_t value[PAGES];
	bool lives[PAGES];
	uint64_t ret[4], old, absent;
	pair_begin(&p, 2, PAGES);
	for (unsigned i = 0; i < PAGES; i++) {
		value[i] = (uint8_t)(i % 250 + 1);
		lives[i] = true;
	}
	for (unsigned round = 0; round <= ROUNDS; round++) {
		for (unsigned n = (unsigned)rand_r(&seed) % 12; n > 0; n--) {
			unsigned page = (unsigned)rand_r(&seed) % PAGES;
			lives[page] = rand_r(&seed) % 4 != 0;
			if (lives[page]) /* never what it was: the destination may still have that */
				value[page] = (uint8_t)(value[page] % 250 + 1);
			CHECK(side_do(&p.source, lives[page] ? POKE_FILL : POKE_GONE, page, value[page]) == 0);
		}
		if (round == ROUNDS)
			pair_stop(&p);
		old = absent = 0;
		for (unsigned i = 0; i < PAGES; i++) {
			bool there = exists(&p.destination, i);
			absent += lives[i] && !there;
			old += lives[i] && there && value_of(&p.destination, i) != value[i];
		}
		enum migrate_round kind =
		    round == ROUNDS ? ROUND_FINAL : kinds[(size_t)rand_r(&seed) % (sizeof(kinds) / sizeof(kinds[0]))];
		/* Everything at once would leave nothing to be wrong about. */
		if (kind == ROUND_LIVE && round < ROUNDS - 3)
			kind = ROUND_QUIET;
		pair_choose(&p, kind, kind == ROUND_FINAL ? 0 : (uint64_t)rand_r(&seed) % 16,
			    (uint64_t)rand_r(&seed) % 3 * GROW_UNSEEN, ret);
		CHECK(ret[2] == old && ret[3] == absent);
		CHECK(kind != ROUND_FINAL || ret[0] == old);
		if (kind != ROUND_FINAL && rand_r(&seed) % 3)
			pair_send(&p, 2, NULL);
	}
	pair_send(&p, 2, NULL);
	pair_export(&p);
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == 0);
	pair_close(&p);
}

int main(void)
{
	for (unsigned seed = 1; seed <= 10; seed++)
		counts_stay_true(seed);
	records_between_maps_are_noticed();
	what_is_written_all_the_time_stays_behind();
	what_was_written_becomes_quiet();
	old_versions_are_taken_out();
	samples_are_small();
	few_pages_all_go();
	all_may_stay_behind();
	order_is_kept();
	pages_are_asked_for_one_at_a_time();
	out_of_numbers_nothing_is_lost();
	puts("deferred: each page came once, none in an old version");
	return 0;
}
