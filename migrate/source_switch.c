/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/source_private.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include "host/signals.h"
#include "migrate/trusted.h"
#include "migrate/urgent.h"

#define COMMIT_GIVE_UP_US (60ull * 1000 * 1000)
#define HOOK_PARKED_TIMEOUT_MS 400
#define SLOW_STOP_US 1000 /* worth a name in the report */
#define PARKS_US 100	  /* between two looks */
#define HURRY_US 200	  /* more than that, and threads that should stop wait for a processor */

/* ---- switch ---- */

static int park_all(struct source *s, struct failure *why)
{
	uint64_t begun = now_us(), kicked = 0;
	struct trusted_call c = {0};
	int rc = trusted(s->e, MIGRATE_STOP, 0, NULL);
	if (rc)
		return source_enclave_failed(rc, "to stop", why);
	for (;;) {
		uint64_t now = now_us();
		if (now - begun > s->o->switch_timeout_us) {
			char which[200];
			enclave_stragglers(s->e, which, sizeof(which));
			return fail(why, -ETIMEDOUT,
				    "%llu threads of the program did not stop within %llu ms: %s",
				    (unsigned long long)c.ret[0],
				    (unsigned long long)(s->o->switch_timeout_us / 1000), which);
		}
		if (now - kicked > 1000) {
			enclave_kick_all(s->e);
			kicked = now;
		}
		/* It sleeps: whoever has to reach a safepoint may need this processor. */
		bool parked = enclave_await_parks(s->e, PARKS_US);
		rc = trusted(s->e, MIGRATE_PENDING, 0, &c);
		if (rc)
			return source_enclave_failed(rc, "to stop", why);
		if (c.ret[0] == 0)
			break;
		if (atomic_load(&s->m->cancelled))
			return source_was_cancelled(s, why);
		if (s->late.count)
			enclave_stragglers_find(s->e, &s->late);
		else if (now - begun > SLOW_STOP_US)
			enclave_stragglers_note(s->e, &s->late);
		if (!s->hurried && now - begun > HURRY_US) {
			s->hurried = true;
			enclave_hurry(s->e, true);
		}
		if (parked) /* this host does not see all */
			nanosleep(&(struct timespec){0, 20 * 1000}, NULL);
	}
	s->r->park_us = now_us() - begun;
	/* Its lock is the last thread's on the way to its rest. */
	if (s->late.count)
		enclave_stragglers_find(s->e, &s->late);
	return 0;
}

/* The first that the destination hears of the stop. */
static int send_carried(struct source *s, uint64_t stopped_us, struct failure *why)
{
	struct bytes state = {0};
	int rc = carry_source_freeze(s->carry, &state, why);
	struct frame_parking parking = {now_us() - stopped_us};
	parcel_begin(&s->parcel, s->control.fd);
	if (rc == 0)
		rc = source_tell(s, FRAME_PARKING, &parking, sizeof(parking), why);
	if (rc == 0)
		rc = source_tell(s, FRAME_CARRIED, state.data, state.size, why);
	rc = source_told(s, rc, why);
	s->r->switchover_bytes += state.size;
	bytes_free(&state);
	return rc;
}

/* More pages than these stay behind. */
static uint64_t most_now(const struct source *s)
{
	return !migrate_mode_defers(s->o->mode) ? UINT64_MAX
	       : s->o->mode == MODE_POSTCOPY	? 0
						: source_affordable_absent(s);
}

static int streams_hurry(struct source *s, struct failure *why)
{
	uint8_t nothing = 0;
	int rc = source_tell(s, FRAME_HURRY, &nothing, 1, why);
	if (rc)
		return rc;
	outflow_priority(&s->flow, LANE_URGENT);
	atomic_store(&s->flow.bandwidth, 0);
	s->round++;
	outflow_round(&s->flow);
	return 0;
}

/* What exists there in an old version, after the map of what lives. */
static int send_pages(struct source *s, bool here, struct failure *why)
{
	if (here) {
		parcel_begin(&s->parcel, s->control.fd);
		return source_told(s, source_pages_here(s, why), why);
	}
	int rc = streams_hurry(s, why);
	if (rc == 0)
		rc = source_export(s, why);
	if (rc == 0 &&
	    (rc = outflow_produced(&s->flow, (unsigned)(s->o->switch_timeout_us / 1000), &s->m->cancelled)))
		rc = source_link_failed(s, rc, why);
	return rc;
}

static int send_state(struct source *s, struct failure *why)
{
	struct frame_round final = {s->round};
	parcel_begin(&s->parcel, s->control.fd);
	int rc = source_export(s, why);
	if (rc == 0)
		rc = source_tell(s, FRAME_FINAL, &final, sizeof(final), why);
	return source_told(s, rc, why);
}

/* Everything that has to move while nothing runs, up to READY in control.data. */
static int hand_over(struct source *s, uint64_t stopped_us, struct failure *why)
{
	struct migrate_switch *at = &s->r->moments;
	struct counts before = source_counts_now(s);
	uint64_t others = s->other_bytes;
	struct round_choice choice;
	int rc = park_all(s, why);
	signals_hold();
	at->parked_us = now_us() - stopped_us;
	if (rc == 0)
		rc = hook_tell(s->hook, HOOK_POST_STOP, s->m->name, HOOK_PARKED_TIMEOUT_MS, why);
	/* First, for the destination takes longest for it. */
	if (rc == 0)
		rc = send_carried(s, stopped_us, why);
	at->carried_us = now_us() - stopped_us;
	if (rc == 0)
		rc = source_tell_slots(s, why);
	if (rc == 0)
		rc = source_round_begin(s, ROUND_FINAL, most_now(s), GROW_NOT, &choice, why);
	at->chosen_us = now_us() - stopped_us;
	bool here = rc == 0 && choice.pages <= PAGES_HERE;
	if (rc == 0)
		rc = send_pages(s, here, why);
	if (rc == 0)
		rc = send_state(s, why);
	at->sent_us = now_us() - stopped_us;
	if (rc == 0)
		rc = source_await_answer(s, s->o->switch_timeout_us, "switch", why);
	if (rc == 0 && !here)
		rc = source_expect(s, FRAME_ROUND_DONE, s->o->switch_timeout_us, why);
	if (rc == 0)
		rc = source_expect(s, FRAME_READY, s->o->switch_timeout_us, why);
	at->ready_us = now_us() - stopped_us;
	if (rc)
		return rc;
	const struct migrate_round_report *round = source_round_report(s, before);
	s->r->switchover_bytes += round->bytes + s->other_bytes - others;
	if (s->o->mode == MODE_STOP_COPY)
		s->r->pages_total = round->pages;
	return 0;
}

/* ---- COMMIT ---- */

/* One attempt to get an answer to COMMIT over the connection there is. */
static int commit_once(struct source *s, const void *commit, size_t size)
{
	struct wait wait = {now_us() + 2 * 1000 * 1000, -1};
	int rc = s->control.fd < 0 ? -ENOTCONN
				   : wire_send(s->control.fd, FRAME_COMMIT, commit, size, NULL, 0, wait);
	while (rc == 0) {
		rc = wire_recv(&s->control, wait);
		if (rc == 0 && (s->control.type == FRAME_RESUMED || s->control.type == FRAME_REFUSED))
			return 0;
	}
	return rc;
}

/* Is what came the destination enclave's answer? refused: it never ran the program, and this enclave has
 * taken COMMIT back. */
static bool is_authentic(struct source *s, bool *refused)
{
	struct frame_resumed times = {0};
	size_t skip = s->control.type == FRAME_RESUMED ? sizeof(times) : 0;
	if (s->control.size < skip)
		return false;
	memcpy(&times, s->control.data, skip);
	struct trusted_call c = {.in = s->control.data + skip, .in_size = s->control.size - skip};
	if (trusted(s->e, MIGRATE_FINISH, 0, &c))
		return false;
	*refused = c.ret[0] == 1;
	s->left = s->r->pages_deferred = c.ret[1];
	s->r->downtime_destination_us = times.downtime_us;
	return true;
}

/* The same COMMIT, to the same instance, until it answers: what anybody else says is no answer. This host
 * cannot decide. */
static int commit_until_answered(struct source *s, const void *commit, size_t size, uint64_t *answered_us,
				 bool *refused, struct failure *why)
{
	uint64_t begun = now_us();
	for (;;) {
		struct failure ignored;
		int rc = commit_once(s, commit, size);
		*answered_us = now_us();
		if (rc == 0 && is_authentic(s, refused))
			return 0;
		if (*answered_us - begun > COMMIT_GIVE_UP_US)
			return fail(
			    why, -ENOTRECOVERABLE,
			    "%s took over the program and was not heard of again%s: it may run there, it "
			    "cannot run here",
			    s->to.text, rc == 0 ? " (what answers is not its enclave)" : "");
		if (source_reattach(s, &ignored) || rc == 0)
			nanosleep(&(struct timespec){0, 100 * 1000 * 1000}, NULL);
	}
}

static int commit(struct source *s, uint64_t stopped_us, struct failure *why)
{
	uint8_t record[1024];
	struct trusted_call c = {
	    .in = s->control.data, .in_size = s->control.size, .out = record, .out_size = sizeof(record)};
	if (atomic_load(&s->m->cancelled))
		return source_was_cancelled(s, why);
	int rc = trusted(s->e, MIGRATE_COMMIT, 0, &c);
	if (rc)
		return source_enclave_failed(
		    rc, "to hand over: what the destination holds is not what was sent", why);
	s->committed = true;
	source_progress(s, "commit");
	uint64_t answered_us;
	bool refused;
	rc = commit_until_answered(s, record, c.out_size, &answered_us, &refused, why);
	if (rc)
		return rc;
	if (refused) {
		s->offered = s->committed = false;
		return fail(why, -ECONNREFUSED,
			    "the destination refused at the last moment; the program runs on");
	}
	s->r->downtime_us = s->r->moments.resumed_us = answered_us - stopped_us;
	return 0;
}

int source_switch_over(struct source *s, struct failure *why)
{
	/* A hook takes its time, in which new connections are made and old ones end: they are calmed down after it. */
	int rc = hook_tell(s->hook, HOOK_PRE_STOP, s->m->name, HOOK_TIMEOUT_MS, why);
	if (rc == 0)
		rc = carry_source_calm(s->carry, why);
	if (rc == 0)
		rc = source_tell_room(s, why);
	if (rc)
		return rc;
	source_progress(s, "switch");
	struct urgency urgency = thread_urgent_begin();
	uint64_t stopped_us = now_us();
	s->stall_us = s->o->switch_timeout_us;
	rc = hand_over(s, stopped_us, why);
	s->stall_us = SILENCE_US;
	if (rc == 0)
		rc = commit(s, stopped_us, why);
	thread_urgent_end(urgency);
	enclave_stragglers_text(s->e, &s->late, s->r->stragglers, sizeof(s->r->stragglers));
	return rc;
}
