/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions to results.json, for the table and the pictures.
 */
#ifndef BENCH_RESULTS_H
#define BENCH_RESULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Which runs: NULL and negative members take any. */
struct which {
	const char *workload, *mode, *pattern;
	const char *rate; /* as in the plan: a number, or "max" */
	double footprint_bytes, set_percent;
};
#define ANY ((struct which){.footprint_bytes = -1, .set_percent = -1})

json_t *results_load(const char *path); /* exits with a message if it is none */
bool run_is(const json_t *run, const struct which *w);
/* A run's member, or what follows from several; NAN if it is null. */
double value_of(const json_t *run, const char *key);

struct values {
	double *value;
	size_t count;
};
/* Of all runs that fit, those that are known, sorted; the caller's to free(.value). */
struct values values_of(const json_t *results, const struct which *w, double (*of)(const json_t *run, const void *key),
			const void *key);
double of_key(const json_t *run, const void *key); /* value_of() for values_of() */
/* 0 <= part <= 1; NAN of none. */
double percentile(const struct values *v, double part);
double median_of(const json_t *results, const struct which *w, const char *key);

/* Different values of a member among the runs, in their order: numbers or texts. The caller's to json_decref(). */
json_t *different(const json_t *results, const char *key);

/* A write rate as struct which wants it; text is where a number goes. */
#define RATE_TEXT 64
const char *rate_text(const json_t *rate, char text[static RATE_TEXT]);

#endif
