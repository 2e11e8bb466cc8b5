/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes up to READY, and COMMIT: here the program begins to run, or never will.
 */
#include "migrate/destination_private.h"
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include "host/log.h"
#include "migrate/trusted.h"
#include "migrate/urgent.h"

#define LAST_WORD_US (200ull * 1000)
#define READY_TIMEOUT_US (10ull * 1000 * 1000) /* from READY to COMMIT */

/* ---- frames of the source, up to READY ---- */

static int on_handshake(struct destination *d, struct failure *why)
{
	struct handshake_hello hello;
	struct trusted_call c = {
	    .in = d->control.data, .in_size = d->control.size, .out = &hello, .out_size = sizeof(hello)};
	int rc = trusted(d->e, MIGRATE_ACCEPT, 0, &c);
	return rc ? destination_enclave_failed(rc, "the source's key", why)
		  : destination_tell(d, FRAME_HANDSHAKE, &hello, sizeof(hello), NULL, 0);
}

static int on_evidence(struct destination *d, struct failure *why)
{
	uint8_t evidence[sizeof(struct evidence) + EVIDENCE_BODY_MAX];
	size_t size;
	struct trusted_call c = {.in = d->control.data, .in_size = d->control.size};
	int rc = trusted_evidence(d->e, evidence, sizeof(evidence), &size, why);
	if (rc)
		return rc;
	rc = trusted(d->e, MIGRATE_PEER, 0, &c);
	if (rc)
		return trusted_peer_refused(rc, "the source", why);
	d->secure = true;
	return destination_tell(d, FRAME_EVIDENCE, evidence, size, NULL, 0);
}

static int on_manifest(struct destination *d, struct failure *why)
{
	struct bytes answer = {0};
	if (d->carry)
		return fail(why, -EPROTO, "a second manifest");
	int rc = carry_destination_prepare(enclave_fds(d->e), d->control.data, d->control.size, &answer,
					   &d->carry, why);
	if (rc == 0 && (rc = destination_tell(d, FRAME_ANSWER, answer.data, answer.size, NULL, 0)))
		rc = destination_link_failed(rc, why);
	bytes_free(&answer);
	return rc;
}

/* Threads that are made meanwhile have the program's priority. From the first time on this one is urgent:
 * what the source waits for next is when everything stands still. */
static int on_slots(struct destination *d, struct failure *why)
{
	uint8_t more[THREAD_SLOTS_MAX / 8];
	if (d->control.size != sizeof(more))
		return destination_link_failed(-EPROTO, why);
	for (unsigned i = 0; i < sizeof(more); i++) {
		more[i] = d->control.data[i] & ~d->slots[i];
		d->slots[i] |= more[i];
	}
	thread_urgent_end(d->urgency);
	int rc = enclave_standby(d->e, more, enclave_config(d->e)->slot_count);
	d->urgency = thread_urgent_begin();
	return rc ? fail(why, rc, "cannot make the program's threads: %s", strerror(-rc)) : 0;
}

static int on_parking(struct destination *d, struct failure *why)
{
	struct frame_parking parking;
	if (d->control.size != sizeof(parking))
		return destination_link_failed(-EPROTO, why);
	memcpy(&parking, d->control.data, sizeof(parking));
	d->parking_us = now_us() - parking.for_us;
	return 0;
}

static int on_hurry(struct destination *d, struct failure *why)
{
	(void)why;
	inflow_priority(&d->flow, LANE_URGENT);
	return 0;
}

static int on_carried(struct destination *d, struct failure *why)
{
	if (!d->carry)
		return fail(why, -EPROTO, "descriptors without a manifest");
	struct bytes state = wire_take(&d->control);
	int rc = state.error ? fail(why, state.error, "out of memory") : carry_destination_restore(d->carry, &state, why);
	bytes_free(&state);
	return rc;
}

static int on_room(struct destination *d, struct failure *why)
{
	struct frame_room room;
	if (d->control.size != sizeof(room))
		return destination_link_failed(-EPROTO, why);
	memcpy(&room, d->control.data, sizeof(room));
	wire_room(&d->control, room.size < CARRY_SIZE_MAX ? room.size : CARRY_SIZE_MAX);
	return 0;
}

static int on_control(struct destination *d, struct failure *why)
{
	struct trusted_call c = {.in = d->control.data, .in_size = d->control.size};
	int rc = trusted(d->e, MIGRATE_RECEIVE, MIGRATE_CONTROL, &c);
	return rc ? destination_enclave_failed(rc, "a record of state", why) : 0;
}

/* Its stream rests. */
static int on_last(struct destination *d, struct failure *why)
{
	struct frame_last last = {UINT32_MAX};
	if (d->control.size >= sizeof(last))
		memcpy(&last, d->control.data, sizeof(last));
	if (last.stream >= d->hello->streams)
		return destination_link_failed(-EPROTO, why);
	int rc = arrivals_record(&d->arrivals, last.stream, d->control.data + sizeof(last),
				 d->control.size - sizeof(last));
	return rc ? destination_enclave_failed(rc, "a page record", why) : 0;
}

/* Of a round that came over this connection: whatever was before it has been dealt with. */
static int on_round_end(struct destination *d, struct failure *why)
{
	int rc = destination_tell(d, FRAME_ROUND_DONE, d->control.data, d->control.size, NULL, 0);
	return rc ? destination_link_failed(rc, why) : 0;
}

/* From READY on the program may be here and nowhere else: the service's end is no end for this process any more. */
static bool stand_alone(struct destination *d)
{
	int coming = STAGE_COMING;
	prctl(PR_SET_PDEATHSIG, 0);
	return atomic_compare_exchange_strong(d->stage, &coming, STAGE_READY);
}

/* Everything was sent: once it is installed, say so. Returns 1 when READY is out. */
static int on_final(struct destination *d, struct failure *why)
{
	struct frame_round final;
	uint8_t record[1024];
	struct trusted_call c = {.out = record, .out_size = sizeof(record)};
	if (d->control.size != sizeof(final) || !d->carry)
		return destination_link_failed(-EPROTO, why);
	memcpy(&final, d->control.data, sizeof(final));
	int rc = inflow_wait(&d->flow, final.round, now_us() + SILENCE_MS * 1000ull);
	if (rc)
		return destination_flow_failed(d, why);
	/* Nothing leaves any more; ready to ask for pages before any thread can need one. */
	arrivals_begin(&d->arrivals);
	rc = hook_tell(d->hook, HOOK_PRE_RESUME, d->name, HOOK_TIMEOUT_MS, why);
	if (rc)
		return rc;
	rc = trusted(d->e, MIGRATE_READY, 0, &c);
	if (rc)
		return destination_enclave_failed(rc, "to be ready", why);
	if (!stand_alone(d))
		return fail(why, -ECANCELED, "the receive service was ended");
	rc = destination_tell(d, FRAME_READY, record, c.out_size, NULL, 0);
	return rc ? destination_link_failed(rc, why) : 1;
}

static int (*const handlers[FRAME_TYPE_COUNT])(struct destination *d, struct failure *why) = {
    [FRAME_HANDSHAKE] = on_handshake,
    [FRAME_EVIDENCE] = on_evidence,
    [FRAME_MANIFEST] = on_manifest,
    [FRAME_SLOTS] = on_slots,
    [FRAME_PARKING] = on_parking,
    [FRAME_ROOM] = on_room,
    [FRAME_CARRIED] = on_carried,
    [FRAME_CONTROL] = on_control,
    [FRAME_ROUND_END] = on_round_end,
    [FRAME_FINAL] = on_final,
    [FRAME_HURRY] = on_hurry,
    [FRAME_LAST] = on_last,
    [FRAME_FAILED] = destination_source_failed,
};

/* Whoever has not shown to be the same enclave is listened to no further: what the other frames do costs this host something,
 * or shows it to others. */
static bool is_time_for(const struct destination *d, enum frame_type type)
{
	bool early = type == FRAME_HANDSHAKE || type == FRAME_EVIDENCE || type == FRAME_FAILED;
	return handlers[type] && (d->secure || early);
}

/* A stream failed, or has ended because the source gave up: then it says so. */
static int stream_lost(struct destination *d, struct failure *why)
{
	struct wait soon = {now_us() + LAST_WORD_US, -1};
	while (wire_recv(&d->control, soon) == 0)
		if (d->control.type == FRAME_FAILED)
			return destination_source_failed(d, why);
	return destination_flow_failed(d, why);
}

int destination_until_ready(struct destination *d, struct failure *why)
{
	int rc;
	do {
		/* The source may be busy for long; keepalive finds a dead one. */
		rc = wire_recv(&d->control, (struct wait){WIRE_FOREVER, d->wake_fd});
		if (rc == -ECANCELED)
			return stream_lost(d, why);
		if (rc)
			return destination_link_failed(rc, why);
		if (!is_time_for(d, d->control.type))
			return fail(why, -EPROTO, "the source sent frame %u out of order", d->control.type);
		rc = handlers[d->control.type](d, why);
		if (rc < 0 && why->code == 0)
			destination_link_failed(rc, why);
	} while (rc == 0);
	return rc < 0 ? rc : 0;
}

/* ---- COMMIT ---- */

static void threads_go(struct destination *d)
{
	struct failure why;
	if (d->deferred)
		atomic_store(&d->filling, true);
	if (carry_destination_release(d->carry, &why))
		log_line("%s: %s", d->name, why.message);
	enclave_unpark_all(d->e);
}

int destination_on_commit(struct destination *d, struct failure *why)
{
	uint8_t record[1024];
	struct trusted_call c = {
	    .in = d->control.data, .in_size = d->control.size, .out = record, .out_size = sizeof(record)};
	int rc = trusted(d->e, MIGRATE_RESUME, 0, &c);
	if (rc)
		return destination_enclave_failed(rc, "the commit", why);
	if (!d->handed_over) {
		d->handed_over = true;
		d->deferred = c.ret[0];
		threads_go(d);
		d->resumed_us = now_us();
		d->downtime_us = d->resumed_us - d->parking_us;
	}
	struct frame_resumed times = {d->downtime_us};
	/* If it does not get through, the source asks again. */
	destination_tell(d, FRAME_RESUMED, &times, sizeof(times), record, c.out_size);
	return 0;
}

/* This instance will never run the program: says so in a way the source's enclave believes. */
static void refuse(struct destination *d)
{
	struct trusted_call c = {.out = d->refused, .out_size = sizeof(d->refused)};
	if (trusted(d->e, MIGRATE_REFUSE, 0, &c))
		return;
	d->refused_size = c.out_size;
	log_line("%s: refused; stays for up to %llu s, for a source that asks late", d->name,
		 REFUSED_KEPT_US / 1000000);
	/* Only the answer is kept: the program's addresses and ports are free for another attempt. */
	carry_destination_discard(d->carry);
	d->carry = NULL;
	inflow_close(&d->flow);
	for (uint64_t until_us = now_us() + REFUSED_KEPT_US; destination_await(d, until_us) == 0;) {
		if (d->control.type == FRAME_COMMIT)
			destination_tell(d, FRAME_REFUSED, d->refused, d->refused_size, NULL, 0);
		else
			return; /* BYE or FAILED: it knows */
	}
}

/* From READY to running. A source that fell silent has either undone everything or will come back with
 * COMMIT. */
int destination_serve_commit(struct destination *d, struct failure *why)
{
	uint64_t until_us = now_us() + READY_TIMEOUT_US;
	for (;;) {
		int rc = destination_await(d, until_us);
		if (rc) {
			rc = fail(why, rc, "the source did not say commit after ready");
			refuse(d);
			return rc;
		}
		if (d->control.type == FRAME_FAILED)
			return destination_source_failed(d, why);
		if (d->control.type != FRAME_COMMIT)
			continue;
		rc = destination_on_commit(d, why);
		if (rc == 0)
			return 0;
		/* Not authentic: as if it had not been. Authentic but of no use: the enclave can only refuse.
		 */
		log_line("%s: %s", d->name, why->message);
		if (rc != -EBADMSG) {
			refuse(d);
			return rc;
		}
	}
}
