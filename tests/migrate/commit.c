/* SPDX-License-Identifier: Apache-2.0
 *
 * The hand-over: at no time can both run, and nothing but an authentic COMMIT
 * lets the destination start, nothing but an authentic REFUSED lets the source
 * go on after it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/migrate/pair.h"

static const char threads[] = "the threads' state, long enough to be looked for";
static struct message ready, commit, again, resumed;

static bool runs(struct side *s)
{
	uint64_t ret[4];
	char state[4096];
	size_t size = sizeof(state);
	CHECK(side_call(s, POKE_LOOK, 0, 0, NULL, 0, state, &size, ret) == 0);
	if (ret[0])
		CHECK(size == sizeof(threads) && memcmp(state, threads, size) == 0);
	return ret[0];
}

/* Up to where everything is at the destination. */
static void pair_to_final(struct pair *p)
{
	pair_open(p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(side_call(&p->source, POKE_STATE, 0, 0, threads, sizeof(threads), NULL, NULL, NULL) == 0);
	CHECK(pair_secure(p, 2) == 0);
	for (unsigned i = 0; i < 300; i++)
		CHECK(side_do(&p->source, POKE_FILL, i, i + 1) == 0);
	pair_round(p, 2, ROUND_LIVE, NULL);
	CHECK(side_do(&p->source, POKE_FILL, 0, 1) == 0);
	pair_stop(p);
	pair_round(p, 2, ROUND_FINAL, NULL);
}

static void pair_to_ready(struct pair *p)
{
	pair_to_final(p);
	pair_export(p);
	CHECK(message_get(&p->destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	CHECK(!runs(&p->source) && !runs(&p->destination));
}

static void hand_over_happens_once(void)
{
	struct pair p;
	pair_to_ready(&p);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == 0);
	/* the same bytes however often the host asks */
	again.size = 0;
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, NULL, &again) == 0);
	CHECK(again.size == commit.size && memcmp(again.data, commit.data, commit.size) == 0);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &again) == -EINVAL);
	/* no way back for the source */
	CHECK(side_do(&p.source, MIGRATE_CANCEL, 0, 0) == -EPERM);
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &again) == -EPERM);
	CHECK(!runs(&p.source));
	/* altered COMMITs are not obeyed, and do no harm */
	for (size_t i = 0; i < commit.size; i++) {
		commit.data[i] ^= 2;
		CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &commit, &resumed) == -EBADMSG);
		commit.data[i] ^= 2;
	}
	CHECK(!runs(&p.destination));
	CHECK(side_do(&p.destination, MIGRATE_RETIRE, 0, 0) == -EPERM);
	CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &commit, &resumed) == 0);
	CHECK(runs(&p.destination));
	/* repeated, also without the keys: the same answer, nothing happens twice */
	CHECK(side_do(&p.destination, MIGRATE_RETIRE, 0, 0) == 0);
	CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &commit, &again) == 0);
	CHECK(again.size == resumed.size && memcmp(again.data, resumed.data, again.size) == 0);
	CHECK(message_get(&p.destination, MIGRATE_REFUSE, 0, NULL, &again) == -EPERM);
	/* the source believes only the authentic answer */
	resumed.data[resumed.size - 1] ^= 1;
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &resumed) == -EBADMSG);
	resumed.data[resumed.size - 1] ^= 1;
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &resumed) == 0);
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &resumed) == -EPERM);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, NULL, &again) == -EPERM);
	CHECK(!runs(&p.source) && runs(&p.destination));
	/* what arrived may move on, and only as a source */
	CHECK(message_get(&p.destination, MIGRATE_OFFER, 1, NULL, &again) == 0);
	pair_close(&p);
}

static void commit_needs_ready(void)
{
	struct pair p;
	pair_to_final(&p);
	again.size = 0;
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &again, &commit) == -EBADMSG);
	/* READY needs everything, RESUME needs READY */
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) == -EPERM);
	CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &again, &resumed) == -EPERM);
	pair_export(&p);
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	for (size_t i = 0; i < ready.size; i++) {
		ready.data[i] ^= 1;
		CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == -EBADMSG);
		ready.data[i] ^= 1;
	}
	/* READY sent back to the destination as if it were COMMIT */
	CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &ready, &resumed) == -EBADMSG);
	CHECK(!runs(&p.source) && !runs(&p.destination));
	CHECK(side_do(&p.source, MIGRATE_CANCEL, 0, 0) == 0);
	CHECK(runs(&p.source));
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == -EPERM);
	pair_close(&p);
}

/* One record kept back by the host, and READY made without it. */
static void a_missing_record_prevents_commit(void)
{
	static struct message kept;
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(side_call(&p.source, POKE_STATE, 0, 0, threads, sizeof(threads), NULL, NULL, NULL) == 0);
	CHECK(pair_secure(&p, 1) == 0);
	CHECK(side_do(&p.source, POKE_FILL, 1, 1) == 0);
	pair_round(&p, 1, ROUND_LIVE, NULL);
	CHECK(side_do(&p.source, POKE_FILL, 1, 2) == 0);
	pair_stop(&p);
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_FINAL, 0) == 0);
	/* the map; the state not before all of the round is out */
	pair_export(&p);
	CHECK(message_get(&p.source, MIGRATE_EXPORT, 0, NULL, &again) == 0 && again.size == 0);
	CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &kept) == 0 && kept.size > 0);
	CHECK(message_get(&p.source, MIGRATE_SEND, 0, NULL, &again) == 0 && again.size == 0);
	pair_export(&p);
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == -EBADMSG);
	CHECK(side_do(&p.source, MIGRATE_CANCEL, 0, 0) == 0);
	CHECK(runs(&p.source) && !runs(&p.destination));
	pair_close(&p);
}

static void refused_lets_the_source_go_on(void)
{
	static struct message refused;
	struct pair p;
	pair_to_ready(&p);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == 0);
	CHECK(message_get(&p.destination, MIGRATE_REFUSE, 0, NULL, &refused) == 0);
	/* too late for COMMIT */
	CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &commit, &resumed) == -EPERM);
	refused.data[sizeof(struct record_header)] ^= 1;
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &refused) == -EBADMSG);
	CHECK(!runs(&p.source));
	refused.data[sizeof(struct record_header)] ^= 1;
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &refused) == 0);
	CHECK(runs(&p.source) && !runs(&p.destination));
	CHECK(message_get(&p.source, MIGRATE_OFFER, 1, NULL, &again) == 0);
	pair_close(&p);
}

/* A READY kept and shown again is not RESUMED, nor is a REFUSED made before READY. */
static void old_answers_are_not_answers(void)
{
	struct pair p;
	pair_to_ready(&p);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == 0);
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &ready) == -EBADMSG);
	CHECK(message_put(&p.source, MIGRATE_FINISH, 0, &commit) == -EBADMSG);
	CHECK(!runs(&p.source));
	pair_close(&p);
}

/* A state that cannot be taken in is refused while the source can still go on. */
static void unusable_state_is_refused(void)
{
	static struct message refused;
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(side_call(&p.source, POKE_STATE, 0, 0, "bad", 3, NULL, NULL, NULL) == 0);
	CHECK(pair_secure(&p, 1) == 0);
	pair_stop(&p);
	pair_round(&p, 1, ROUND_FINAL, NULL);
	pair_export(&p);
	CHECK(message_get(&p.destination, MIGRATE_READY, 0, NULL, &ready) == 0);
	CHECK(message_get(&p.source, MIGRATE_COMMIT, 0, &ready, &commit) == 0);
	CHECK(message_get(&p.destination, MIGRATE_RESUME, 0, &commit, &resumed) == -ENOTRECOVERABLE);
	CHECK(message_get(&p.destination, MIGRATE_REFUSE, 0, NULL, &refused) == 0);
	uint64_t ret[4];
	CHECK(side_call(&p.source, MIGRATE_FINISH, 0, 0, refused.data, refused.size, NULL, NULL, ret) == 0);
	CHECK(ret[0] == 1);
	pair_close(&p);
}

static void threads_must_be_parked(void)
{
	struct pair p;
	pair_open(&p, &IDENTITY_DEFAULT, &IDENTITY_DEFAULT);
	CHECK(pair_secure(&p, 1) == 0);
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_FINAL, 0) == -EPERM);
	CHECK(side_do(&p.source, POKE_BUSY, 2, 0) == 0);
	CHECK(side_do(&p.source, MIGRATE_STOP, 0, 0) == 0);
	CHECK(side_ask(&p.source, MIGRATE_PENDING, 0) == 2);
	CHECK(side_do(&p.source, MIGRATE_ROUND, ROUND_FINAL, 0) == -EPERM);
	pair_close(&p);
}

/* The state's bytes are nowhere in what travels. */
static void state_does_not_travel_in_the_clear(void)
{
	struct pair p;
	pair_to_final(&p);
	for (;;) {
		CHECK(message_get(&p.source, MIGRATE_EXPORT, 0, NULL, &again) == 0);
		if (again.size == 0)
			break;
		CHECK(!memmem(again.data, again.size, threads, 16));
		CHECK(message_put(&p.destination, MIGRATE_RECEIVE, MIGRATE_CONTROL, &again) == 0);
	}
	pair_close(&p);
}

int main(void)
{
	hand_over_happens_once();
	commit_needs_ready();
	a_missing_record_prevents_commit();
	refused_lets_the_source_go_on();
	old_answers_are_not_answers();
	unusable_state_is_refused();
	threads_must_be_parked();
	state_does_not_travel_in_the_clear();
	puts("commit: one runs, never two");
	return 0;
}
