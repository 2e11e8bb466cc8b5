/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/tools/results.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *results_load(const char *path)
{
	json_error_t why;
	json_t *results = json_load_file(path, 0, &why);

	if (!results)
		errx(1, "%s: %s", path, why.text);
	if (json_integer_value(json_object_get(results, "schema_version")) != 1 ||
	    !json_is_array(json_object_get(results, "runs")))
		errx(1, "%s: no results of the bench", path);
	return results;
}

static bool text_is(const json_t *value, const char *text)
{
	return !text || (json_is_string(value) && !strcmp(json_string_value(value), text)) ||
	       (json_is_number(value) && json_number_value(value) == strtod(text, NULL) && strcmp(text, "max"));
}

bool run_is(const json_t *run, const struct which *w)
{
	return text_is(json_object_get(run, "workload"), w->workload) &&
	       text_is(json_object_get(run, "mode"), w->mode) &&
	       text_is(json_object_get(run, "write_pattern"), w->pattern) &&
	       text_is(json_object_get(run, "write_pages_per_s"), w->rate) &&
	       (w->footprint_bytes < 0 || value_of(run, "footprint_bytes") == w->footprint_bytes) &&
	       (w->set_percent < 0 || value_of(run, "write_set_percent") == w->set_percent);
}

double value_of(const json_t *run, const char *key)
{
	const json_t *value = json_object_get(run, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

double of_key(const json_t *run, const void *key)
{
	return value_of(run, key);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct values values_of(const json_t *results, const struct which *w, double (*of)(const json_t *run, const void *key),
			const void *key)
{
	const json_t *runs = json_object_get(results, "runs");
	struct values v = {calloc(json_array_size(runs) + 1, sizeof(double)), 0};

	if (!v.value)
		errx(1, "out of memory");
	for (size_t i = 0; i < json_array_size(runs); i++) {
		const json_t *run = json_array_get(runs, i);
		double value = run_is(run, w) ? of(run, key) : NAN;
		if (!isnan(value))
			v.value[v.count++] = value;
	}
	qsort(v.value, v.count, sizeof(double), compare);
	return v;
}

double percentile(const struct values *v, double part)
{
	double at = part * (double)(v->count - 1);
	size_t low = (size_t)at;

	if (v->count == 0)
		return NAN;
	if (low + 1 >= v->count)
		return v->value[v->count - 1];
	return v->value[low] + (at - (double)low) * (v->value[low + 1] - v->value[low]);
}

double median_of(const json_t *results, const struct which *w, const char *key)
{
	struct values v = values_of(results, w, of_key, key);
	double median = percentile(&v, 0.5);

	free(v.value);
	return median;
}

json_t *different(const json_t *results, const char *key)
{
	const json_t *runs = json_object_get(results, "runs");
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(runs); i++) {
		json_t *value = json_object_get(json_array_get(runs, i), key);
		size_t k = 0;
		while (k < json_array_size(out) && !json_equal(json_array_get(out, k), value))
			k++;
		if (value && !json_is_null(value) && k == json_array_size(out))
			json_array_append(out, value);
	}
	return out;
}

const char *rate_text(const json_t *rate, char text[static RATE_TEXT])
{
	if (json_is_string(rate))
		return json_string_value(rate);
	snprintf(text, RATE_TEXT, "%.0f", json_number_value(rate));
	return text;
}
