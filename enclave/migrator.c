/* SPDX-License-Identifier: Apache-2.0
 *
 * Admits the host's migration calls: which call, in which role and phase, and
 * with whom beside it. The host chooses when to call what, so order and
 * concurrency are checked here and nowhere assumed.
 */
#include <errno.h>
#include "enclave/attest.h"
#include "enclave/session.h"

struct session session;

static int peer_report(struct service_call *call);
static int peer_check(struct service_call *call);

#define IN(phase) (1u << (phase))
#define ANY_ROLE (IN(ROLE_SOURCE) | IN(ROLE_DESTINATION))

enum admission { ALONE, PER_STREAM, URGENT, CONTROL };

/* clang-format off */
static const struct operation {
	int (*run)(struct service_call *call);
	uint32_t roles, phases;
	enum admission admission;
} operations[] = {
	[MIGRATE_OFFER - MIGRATE_OFFER]    = {source_offer, ~0u, IN(SESSION_NONE) | IN(SESSION_RESUMED), ALONE},
	[MIGRATE_ACCEPT - MIGRATE_OFFER]   = {destination_accept, IN(ROLE_NONE), IN(SESSION_NONE), ALONE},
	[MIGRATE_ANSWERED - MIGRATE_OFFER] = {source_answered, IN(ROLE_SOURCE), IN(SESSION_HELLO), ALONE},
	[MIGRATE_REPORT - MIGRATE_OFFER]   = {peer_report, ANY_ROLE, IN(SESSION_JOINED) | IN(SESSION_SECURE), ALONE},
	[MIGRATE_PEER - MIGRATE_OFFER]     = {peer_check, ANY_ROLE, IN(SESSION_JOINED), ALONE},
	[MIGRATE_ROUND - MIGRATE_OFFER]    = {source_round, IN(ROLE_SOURCE), IN(SESSION_SECURE), ALONE},
	[MIGRATE_SEND - MIGRATE_OFFER]     = {source_send, IN(ROLE_SOURCE), IN(SESSION_SECURE) | IN(SESSION_FINAL) | IN(SESSION_SERVING), PER_STREAM},
	[MIGRATE_RECEIVE - MIGRATE_OFFER]  = {destination_receive, IN(ROLE_DESTINATION), IN(SESSION_SECURE) | IN(SESSION_FILLING), PER_STREAM},
	[MIGRATE_STOP - MIGRATE_OFFER]     = {source_stop, IN(ROLE_SOURCE), IN(SESSION_SECURE), CONTROL},
	[MIGRATE_CONTINUE - MIGRATE_OFFER] = {source_continue, IN(ROLE_SOURCE), IN(SESSION_SECURE), CONTROL},
	[MIGRATE_PENDING - MIGRATE_OFFER]  = {source_pending, IN(ROLE_SOURCE), IN(SESSION_SECURE), ALONE},
	[MIGRATE_SLOTS - MIGRATE_OFFER]    = {source_slots, IN(ROLE_SOURCE), IN(SESSION_SECURE) | IN(SESSION_FINAL), ALONE},
	[MIGRATE_EXPORT - MIGRATE_OFFER]   = {source_export, IN(ROLE_SOURCE), IN(SESSION_SECURE) | IN(SESSION_FINAL), CONTROL},
	[MIGRATE_READY - MIGRATE_OFFER]    = {destination_ready, IN(ROLE_DESTINATION), IN(SESSION_SECURE), ALONE},
	[MIGRATE_COMMIT - MIGRATE_OFFER]   = {source_commit, IN(ROLE_SOURCE), IN(SESSION_FINAL) | IN(SESSION_COMMITTED), ALONE},
	[MIGRATE_RESUME - MIGRATE_OFFER]   = {destination_resume, IN(ROLE_DESTINATION), IN(SESSION_READY) | IN(SESSION_FILLING) | IN(SESSION_RESUMED), ALONE},
	[MIGRATE_FINISH - MIGRATE_OFFER]   = {source_finish, IN(ROLE_SOURCE), IN(SESSION_COMMITTED), ALONE},
	[MIGRATE_REFUSE - MIGRATE_OFFER]   = {destination_refuse, IN(ROLE_DESTINATION), IN(SESSION_SECURE) | IN(SESSION_READY), ALONE},
	[MIGRATE_CANCEL - MIGRATE_OFFER]   = {source_cancel, IN(ROLE_SOURCE), IN(SESSION_HELLO) | IN(SESSION_JOINED) | IN(SESSION_SECURE) | IN(SESSION_FINAL), ALONE},
	[MIGRATE_SERVE - MIGRATE_OFFER]    = {source_serve, IN(ROLE_SOURCE), IN(SESSION_SERVING), ALONE},
	[MIGRATE_FETCH - MIGRATE_OFFER]    = {source_fetch, IN(ROLE_SOURCE), IN(SESSION_SERVING), URGENT},
	[MIGRATE_REOPEN - MIGRATE_OFFER]   = {destination_reopen, IN(ROLE_DESTINATION), IN(SESSION_FILLING), ALONE},
	[MIGRATE_ARRIVED - MIGRATE_OFFER]  = {destination_arrived, IN(ROLE_DESTINATION), IN(SESSION_FILLING), ALONE},
	[MIGRATE_RELEASE - MIGRATE_OFFER]  = {source_release, IN(ROLE_SOURCE), IN(SESSION_SERVING), ALONE},
	[MIGRATE_RETIRE - MIGRATE_OFFER]   = {destination_retire, IN(ROLE_DESTINATION), IN(SESSION_RESUMED), ALONE},
};
/* clang-format on */
_Static_assert(sizeof(operations) / sizeof(operations[0]) == MIGRATE_OP_END - MIGRATE_OFFER, "one line each");

/* Calls for different lanes run side by side: streams, the urgent one, control records. Any other call runs alone.
 * Nobody waits: the host's disorder is the host's to repair. */
static bool admit(enum admission how, unsigned lane)
{
	int count = __atomic_load_n(&session.admitted, __ATOMIC_RELAXED);
	if (how == ALONE) {
		count = 0;
		return __atomic_compare_exchange_n(&session.admitted, &count, -1, false, __ATOMIC_ACQUIRE,
						   __ATOMIC_RELAXED);
	}
	if (__atomic_exchange_n(&session.lane_busy[lane], 1, __ATOMIC_ACQUIRE))
		return false;
	while (count >= 0)
		if (__atomic_compare_exchange_n(&session.admitted, &count, count + 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	__atomic_store_n(&session.lane_busy[lane], 0, __ATOMIC_RELEASE);
	return false;
}

static void dismiss(enum admission how, unsigned lane)
{
	if (how == ALONE) {
		__atomic_store_n(&session.admitted, 0, __ATOMIC_RELEASE);
		return;
	}
	__atomic_sub_fetch(&session.admitted, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&session.lane_busy[lane], 0, __ATOMIC_RELEASE);
}

static bool is_time_for(const struct operation *op)
{
	return (op->roles & IN(__atomic_load_n(&session.role, __ATOMIC_RELAXED))) &&
	       (op->phases & IN(__atomic_load_n(&session.phase, __ATOMIC_RELAXED)));
}

/* The lane whose channel and record the call uses; -1: none. */
static int lane_of(enum admission how, uint64_t stream)
{
	if (how != PER_STREAM)
		return how == URGENT ? LANE_URGENT : LANE_CONTROL;
	if (stream == MIGRATE_CONTROL || stream == MIGRATE_URGENT)
		return stream == MIGRATE_CONTROL ? LANE_CONTROL : LANE_URGENT;
	return stream < MIGRATE_STREAMS_MAX ? (int)stream : -1;
}

int migrate_service(struct service_call *call)
{
	if (call->op < MIGRATE_OFFER || call->op >= MIGRATE_OP_END)
		return -ENOSYS;
	const struct operation *op = &operations[call->op - MIGRATE_OFFER];
	int lane = lane_of(op->admission, call->arg[0]);
	if (lane < 0)
		return -EINVAL;
	/* What cannot be now does not get in the way of what is under way; what counts is the look inside. */
	if (!is_time_for(op))
		return -EPERM;
	if (!admit(op->admission, (unsigned)lane))
		return -EBUSY;
	int rc = is_time_for(op) ? op->run(call) : -EPERM;
	dismiss(op->admission, (unsigned)lane);
	return rc;
}

/* ---- what both roles do ---- */

static int peer_report(struct service_call *call)
{
	struct sgx_targetinfo target;
	struct sgx_report report;
	uint8_t data[64];
	int rc = call_input(call, &target, sizeof(target));
	if (rc)
		return rc;
	handshake_report_data(&session.handshake, session.role, data);
	attest_report(&target, data, &report);
	return call_output(call, &report, sizeof(report));
}

static int peer_check(struct service_call *call)
{
	static uint8_t evidence[sizeof(struct evidence) + EVIDENCE_BODY_MAX];
	uint8_t expected[64];
	if (call->in_size > sizeof(evidence))
		return -EINVAL;
	host_copy_in(evidence, call->in, call->in_size);
	handshake_report_data(&session.handshake,
			      session.role == ROLE_SOURCE ? ROLE_DESTINATION : ROLE_SOURCE, expected);
	int rc = attest_verify(evidence, call->in_size, expected);
	if (rc == 0)
		rc = session_channels();
	if (rc == 0 && session.role == ROLE_SOURCE)
		rc = source_make_share();
	if (rc == 0)
		session.phase = SESSION_SECURE;
	return rc;
}
