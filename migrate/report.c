/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/report.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "abi/migrate.h"

static const struct {
	const char *name;
	enum migrate_mode mode;
} modes[] = {
    [MODE_HYBRID] = {"hybrid", MODE_HYBRID},
    [MODE_PRECOPY] = {"precopy", MODE_PRECOPY},
    [MODE_POSTCOPY] = {"postcopy", MODE_POSTCOPY},
    [MODE_STOP_COPY] = {"stop-copy", MODE_STOP_COPY},
};

static const char *mode_name(enum migrate_mode mode)
{
	return modes[mode].name;
}

int migrate_mode_parse(const char *text, enum migrate_mode *out, struct failure *why)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(text, modes[i].name) == 0) {
			*out = modes[i].mode;
			return 0;
		}
	return fail(why, -EINVAL, "no mode \"%.32s\": hybrid, precopy, postcopy or stop-copy", text);
}

struct migrate_options migrate_options_default(void)
{
	return (struct migrate_options){.mode = MODE_HYBRID,
					.streams = 2,
					.downtime_limit_us = 5 * 1000,
					.switch_timeout_us = 500 * 1000};
}

static int text_of(const json_t *in, const char *key, char *out, size_t size, struct failure *why)
{
	const json_t *value = json_object_get(in, key);
	if (!value)
		return 0;
	if (!json_is_string(value) || json_string_length(value) >= size)
		return fail(why, -EINVAL, "\"%s\": not a text of less than %zu characters", key, size);
	strcpy(out, json_string_value(value));
	return 0;
}

static int number_of(const json_t *in, const char *key, uint64_t max, uint64_t *out, struct failure *why)
{
	const json_t *value = json_object_get(in, key);
	if (!value)
		return 0;
	json_int_t number = json_integer_value(value);
	if (!json_is_integer(value) || number < 0 || (uint64_t)number > max)
		return fail(why, -EINVAL, "\"%s\": not a number up to %llu", key, (unsigned long long)max);
	*out = (uint64_t)number;
	return 0;
}

int migrate_options_parse(const json_t *in, struct migrate_options *o, struct failure *why)
{
	const uint64_t hour_us = 3600ull * 1000 * 1000;
	char mode[32] = "hybrid";
	*o = migrate_options_default();
	uint64_t streams = o->streams;
	int rc = text_of(in, "to", o->to, sizeof(o->to), why);
	if (rc == 0)
		rc = text_of(in, "hook", o->hook, sizeof(o->hook), why);
	if (rc == 0)
		rc = text_of(in, "mode", mode, sizeof(mode), why);
	if (rc == 0)
		rc = migrate_mode_parse(mode, &o->mode, why);
	if (rc == 0)
		rc = number_of(in, "streams", MIGRATE_STREAMS_MAX, &streams, why);
	if (rc == 0)
		rc = number_of(in, "downtime_limit_us", hour_us, &o->downtime_limit_us, why);
	if (rc == 0)
		rc = number_of(in, "bandwidth", 1ull << 50, &o->bandwidth, why);
	if (rc == 0)
		rc = number_of(in, "timeout_us", 1000 * hour_us, &o->timeout_us, why);
	if (rc == 0)
		rc = number_of(in, "switch_timeout_us", hour_us, &o->switch_timeout_us, why);
	if (rc)
		return rc;
	o->only_check = json_is_true(json_object_get(in, "only_check"));
	if (streams == 0 || (o->to[0] == '\0' && !o->only_check))
		return fail(why, -EINVAL, streams ? "\"to\" is missing" : "\"streams\": at least 1");
	o->streams = (unsigned)streams;
	o->tcp_established = json_is_true(json_object_get(in, "tcp_established"));
	o->file_locks = json_is_true(json_object_get(in, "file_locks"));
	o->files_ignore = json_is_true(json_object_get(in, "files_ignore"));
	return 0;
}

json_t *migrate_options_json(const struct migrate_options *o)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b}", "to", o->to, "hook",
			 o->hook, "mode", mode_name(o->mode), "streams", (int)o->streams, "downtime_limit_us",
			 (json_int_t)o->downtime_limit_us, "bandwidth", (json_int_t)o->bandwidth,
			 "timeout_us", (json_int_t)o->timeout_us, "switch_timeout_us",
			 (json_int_t)o->switch_timeout_us, "tcp_established", o->tcp_established,
			 "file_locks", o->file_locks, "files_ignore", o->files_ignore, "only_check",
			 o->only_check);
}

json_t *migrate_progress_json(const struct migrate_progress *p)
{
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I}", "phase", p->phase, "round", (int)p->round,
			 "pages_total", (json_int_t)p->pages_total, "pages", (json_int_t)p->pages,
			 "bytes_sent", (json_int_t)p->bytes, "elapsed_us", (json_int_t)p->elapsed_us);
}

json_t *migrate_leaves_json(const struct softsgx_stats *now, const struct softsgx_stats *before)
{
	static const struct {
		const char *name;
		enum sgx_enclu_leaf leaf;
	} leaves[] = {
	    {"ereport", SGX_EREPORT}, {"egetkey", SGX_EGETKEY},
	    {"eenter", SGX_EENTER},   {"eresume", SGX_ERESUME},
	    {"eexit", SGX_EEXIT},     {"eaccept", SGX_EACCEPT},
	    {"emodpe", SGX_EMODPE},   {"eacceptcopy", SGX_EACCEPTCOPY},
	};
	json_t *out = json_object();
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		json_object_set_new(
		    out, leaves[i].name,
		    json_integer((json_int_t)(now->leaf[leaves[i].leaf] - before->leaf[leaves[i].leaf])));
	json_object_set_new(out, "aex", json_integer((json_int_t)(now->aex - before->aex)));
	json_object_set_new(out, "eaug", json_integer((json_int_t)(now->eaug - before->eaug)));
	json_object_set_new(out, "eadd", json_integer((json_int_t)(now->eadd - before->eadd)));
	json_object_set_new(out, "ioctls", json_integer((json_int_t)(now->ioctls - before->ioctls)));
	json_object_set_new(
	    out, "projected_us",
	    json_integer((json_int_t)(softsgx_projected_us(now) - softsgx_projected_us(before))));
	return out;
}

static json_t *rounds_json(const struct migrate_report *r)
{
	json_t *out = json_array();
	for (unsigned i = 0; i < r->round_count; i++) {
		const struct migrate_round_report *round = &r->round[i];
		json_array_append_new(out,
				      json_pack("{s:I, s:I, s:I, s:I}", "pages", (json_int_t)round->pages,
						"zero_pages", (json_int_t)round->zero_pages, "bytes",
						(json_int_t)round->bytes, "us", (json_int_t)round->us));
	}
	return out;
}

static json_t *error_json(const struct failure *why)
{
	if (why->code == 0)
		return json_null();
	return json_pack("{s:i, s:s}", "code", -why->code, "message", why->message);
}

static json_t *switch_json(const struct migrate_switch *m)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "parked_us", (json_int_t)m->parked_us, "carried_us",
			 (json_int_t)m->carried_us, "chosen_us", (json_int_t)m->chosen_us, "sent_us",
			 (json_int_t)m->sent_us, "ready_us", (json_int_t)m->ready_us, "resumed_us",
			 (json_int_t)m->resumed_us);
}

static json_t *forecast_json(const struct migrate_report *r)
{
	json_t *out = json_array();
	for (unsigned mode = 0; mode < MODE_COUNT; mode++)
		json_array_append_new(out, json_pack("{s:s, s:I, s:I, s:I}", "mode", mode_name(mode),
						     "downtime_us", (json_int_t)r->forecast[mode].downtime_us,
						     "total_us", (json_int_t)r->forecast[mode].total_us,
						     "postcopy_us", (json_int_t)r->forecast[mode].tail_us));
	return out;
}

json_t *migrate_report_json(const struct migrate_report *r)
{
	static const char *const results[] = {"running", "completed", "cancelled", "failed", "possible"};
	static const struct softsgx_stats none;
	json_t *leaves = json_object();
	if (r->has_leaves)
		json_object_set_new(leaves, "source", migrate_leaves_json(&r->leaves, &none));
	if (r->leaves_destination)
		json_object_set(leaves, "destination", r->leaves_destination);
	json_t *out = json_pack(
	    "{s:i, s:s, s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:i, s:I, s:I, s:I, s:I, "
	    "s:i, s:b, s:s, s:o, s:s, s:s}",
	    "schema_version", 1, "result", results[r->result], "error", error_json(&r->failure), "mode",
	    mode_name(r->mode), "page_size", PAGE_SIZE, "setup_us", (json_int_t)r->setup_us, "total_us",
	    (json_int_t)r->total_us, "downtime_us", (json_int_t)r->downtime_us, "downtime_destination_us",
	    (json_int_t)r->downtime_destination_us, "park_us", (json_int_t)r->park_us, "round_trip_us",
	    (json_int_t)r->round_trip_us, "calendar_ahead_us", (json_int_t)r->calendar_ahead_us, "switchover_bytes",
	    (json_int_t)r->switchover_bytes, "rounds", rounds_json(r), "bytes_sent",
	    (json_int_t)r->bytes_sent, "pages_total", (json_int_t)r->pages_total, "pages_staged", 0,
	    "pages_deferred", (json_int_t)r->pages_deferred, "postcopy_faults",
	    (json_int_t)r->postcopy_faults, "postcopy_us", (json_int_t)r->postcopy_us, "watch_us",
	    (json_int_t)r->watch_us, "throttle_percent", (int)r->throttle_percent, "converged", r->converged,
	    "stragglers", r->stragglers, "leaves", leaves, "source_enclave", r->source, "destination_enclave",
	    r->destination);
	if (r->moments.parked_us)
		json_object_set_new(out, "switch", switch_json(&r->moments));
	if (r->carried)
		json_object_set(out, "carried", r->carried);
	if (r->has_forecast)
		json_object_set_new(out, "forecast", forecast_json(r));
	return out;
}
