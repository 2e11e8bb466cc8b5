/* SPDX-License-Identifier: Apache-2.0
 *
 * What a migration is asked to do, how far it is, and what came of it, and the
 * JSON of each. Untrusted side.
 */
#ifndef MIGRATE_REPORT_H
#define MIGRATE_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "host/failure.h"
#include "softsgx/softsgx.h"

enum migrate_mode { MODE_HYBRID, MODE_PRECOPY, MODE_POSTCOPY, MODE_STOP_COPY, MODE_COUNT };
/* May pages stay behind when the program goes on? */
static inline bool migrate_mode_defers(enum migrate_mode mode)
{
	return mode == MODE_HYBRID || mode == MODE_POSTCOPY;
}

struct migrate_options {
	char to[300];
	char hook[300]; /* empty: none */
	enum migrate_mode mode;
	unsigned streams;
	uint64_t downtime_limit_us;
	uint64_t bandwidth;	    /* bytes per second, 0: no limit */
	uint64_t timeout_us;	    /* for all of it, 0: none */
	uint64_t switch_timeout_us; /* without progress while the program stands still */
	bool tcp_established;
	bool file_locks;
	bool files_ignore; /* --files ignore */
	bool only_check;   /* could it move? `to` may be empty: could it leave? */
};
struct migrate_options migrate_options_default(void);
/* From the object a client sends. Names the first thing that is wrong. */
int migrate_options_parse(const json_t *in, struct migrate_options *out, struct failure *why);
json_t *migrate_options_json(const struct migrate_options *o);
int migrate_mode_parse(const char *text, enum migrate_mode *out, struct failure *why);

#define REPORT_ROUNDS_MAX 128
struct migrate_round_report {
	uint64_t pages, zero_pages; /* all of them, and those of zeros among them */
	uint64_t bytes, us;
};

enum migrate_result { RESULT_RUNNING, RESULT_COMPLETED, RESULT_CANCELLED, RESULT_FAILED, RESULT_POSSIBLE };

struct migrate_forecast {
	uint64_t downtime_us, total_us, tail_us; /* tail: after the program goes on there */
};

/* Moments of the switch, after the program was asked to stop: where a downtime went. */
struct migrate_switch {
	uint64_t parked_us, carried_us, chosen_us, sent_us, ready_us, resumed_us;
};

struct migrate_report {
	enum migrate_result result;
	struct failure failure;
	bool gone; /* the enclave has handed over, whatever came after: the program never runs here again */
	enum migrate_mode mode;
	uint64_t setup_us, total_us, downtime_us, downtime_destination_us, park_us;
	uint64_t round_trip_us; /* over the network, at least; 0: not known */
	int64_t calendar_ahead_us; /* of the destination's CLOCK_REALTIME before the source's */
	struct migrate_switch moments;
	uint64_t switchover_bytes, bytes_sent, pages_total;
	unsigned throttle_percent; /* of their time the program's threads were made to stand still, at most */
	uint64_t watch_us, pages_deferred, postcopy_faults, postcopy_us;
	struct migrate_round_report round[REPORT_ROUNDS_MAX];
	unsigned round_count;
	char stragglers[200]; /* threads that took long to stop, and what they did; empty: none */
	bool converged;	      /* what had to go in the switch fitted the downtime limit */
	bool has_leaves;
	struct softsgx_stats leaves; /* of the source, during the migration */
	bool has_forecast;
	struct migrate_forecast forecast[MODE_COUNT];
	json_t *leaves_destination;	    /* as it reported them; may be NULL */
	json_t *carried;		    /* only_check: what there is to carry; else NULL */
	char source[128], destination[128]; /* where: host and process */
};
json_t *migrate_report_json(const struct migrate_report *r);
json_t *migrate_leaves_json(const struct softsgx_stats *now, const struct softsgx_stats *before);

struct migrate_progress {
	const char
	    *phase; /* "connect", "prepare", "watch", "round", "switch", "commit", "postcopy", "after" */
	unsigned round;
	uint64_t pages_total, pages, bytes, elapsed_us;
};
json_t *migrate_progress_json(const struct migrate_progress *p);

#endif
