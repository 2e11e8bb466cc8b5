/* SPDX-License-Identifier: Apache-2.0
 *
 * summary LABEL CLIENT FROM_US TO_US BEFORE_S MIGRATE CPU
 *
 * One move as one line of JSON: LABEL (an object: workload, sizes, mode), the report that `optmig migrate --json`
 * ended with (MIGRATE), and what follows from what a client saw (CLIENT: listen's log, or the object that a load
 * client prints) between the wall-clock times of the command, and for BEFORE_S seconds before. CPU is what tools/cpu
 * wrote. Where a figure could not be measured it is null.
 *
 * Throughput is operations a second. Lost work is the integral of what is missing of the throughput before, from the
 * command to a second after its end; lost_work_ratio sets it against the processor time that the migration used,
 * divided by the processors.
 */
#include <err.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_US 100000.0 /* the worst one, and the first good one */
#define STEP_US 10000.0
#define AFTER_US 1000000.0
#define GOOD 0.9

/* What a client saw: by the time of `us`, `operations` in all were done. */
struct sample {
	double us, operations;
	double silence_us;   /* before it, as the client saw it */
	double heartbeat_us; /* longest pause inside the program since the last sample; < 0: not known */
};

static struct sample *samples;
static size_t sample_count;
static uint64_t missed, wrong, reconnects, errors;
static bool has_heartbeat, is_load, was_checked;

static void sample_add(struct sample s)
{
	samples = realloc(samples, (sample_count + 1) * sizeof(*samples));
	if (!samples)
		errx(1, "out of memory");
	samples[sample_count++] = s;
}

static void read_beats(FILE *f)
{
	char line[256];
	unsigned long long arrival, sequence, program_us, operations, gap_us, n, last = 0;

	has_heartbeat = true;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "checked %llu", &n) == 1) {
			wrong = n;
			was_checked = true;
			break; /* a program that looks at all it has is silent, and that is not the move's doing */
		}
		if (sscanf(line, "beat %llu %llu %llu %llu %llu", &arrival, &sequence, &program_us, &operations,
			   &gap_us) != 5)
			continue;
		double silence = sample_count ? (double)arrival - samples[sample_count - 1].us : 0;
		if (sample_count && sequence > last + 1)
			missed += sequence - last - 1;
		last = sequence;
		sample_add((struct sample){(double)arrival, (double)operations, silence, (double)gap_us});
	}
}

static void read_load(FILE *f, const char *name)
{
	json_error_t why;
	json_t *load = json_loadf(f, 0, &why);
	json_t *timeline = json_object_get(load, "timeline"), *silence, *replies;
	double start, interval, operations = 0;

	if (json_unpack(timeline, "{s:F, s:F, s:o, s:o}", "start_us", &start, "interval_us", &interval,
			"silence_us_max", &silence, "replies", &replies))
		errx(1, "%s: %s", name, load ? "no timeline" : why.text);
	is_load = true;
	was_checked = true;
	wrong = (uint64_t)json_integer_value(json_object_get(load, "wrong"));
	errors = (uint64_t)json_integer_value(json_object_get(load, "errors"));
	reconnects = (uint64_t)json_integer_value(json_object_get(load, "reconnects"));
	for (size_t i = 0; i < json_array_size(replies); i++) {
		operations += (double)json_integer_value(json_array_get(replies, i));
		sample_add((struct sample){start + interval * (double)(i + 1), operations,
					   (double)json_integer_value(json_array_get(silence, i)), -1});
	}
	json_decref(load);
}

/* Operations done by then, between samples in proportion. */
static double done_at(double us)
{
	size_t low = 0, high = sample_count - 1;

	if (us <= samples[0].us)
		return samples[0].operations;
	if (us >= samples[high].us)
		return samples[high].operations;
	while (high - low > 1) {
		size_t middle = (low + high) / 2;
		*(samples[middle].us <= us ? &low : &high) = middle;
	}
	const struct sample *a = &samples[low], *b = &samples[high];
	return a->operations + (b->operations - a->operations) * (us - a->us) / (b->us - a->us);
}

static double rate(double from, double to)
{
	return (done_at(to) - done_at(from)) * 1e6 / (to - from);
}

/* Longest of one member over the samples that end in a stretch; where it ended in *at. */
static double longest(double from, double to, bool heartbeat, double *at)
{
	double most = -1;

	for (size_t i = 0; i < sample_count; i++) {
		double value = heartbeat ? samples[i].heartbeat_us : samples[i].silence_us;
		if (samples[i].us >= from && samples[i].us <= to && value > most) {
			most = value;
			if (at)
				*at = samples[i].us;
		}
	}
	return most;
}

static json_t *real_or_null(bool is_known, double value)
{
	return is_known && isfinite(value) ? json_real(round(value * 1e4) / 1e4) : json_null();
}

static json_t *us_or_null(bool is_known, double value)
{
	return is_known && value >= 0 ? json_integer((json_int_t)value) : json_null();
}

/* Last of the objects in a file, one a line. */
static json_t *last_object(const char *name)
{
	char *line = NULL;
	size_t size = 0;
	json_t *last = NULL;
	FILE *f = fopen(name, "r");

	while (f && getline(&line, &size, f) > 0) {
		json_t *object = json_loads(line, 0, NULL);
		if (object) {
			json_decref(last);
			last = object;
		}
	}
	if (f)
		fclose(f);
	free(line);
	return last;
}

/* Throughput through the move, for the picture: [seconds from the command, part of what it was before] */
static json_t *through(double from, double to, double before)
{
	json_t *out = json_array();
	double step = (to - from + 4e6) / 400;

	if (step < STEP_US)
		step = STEP_US;
	for (double at = from - 2e6; at < to + 2e6; at += step)
		json_array_append_new(out, json_pack("[f, f]", round((at + step / 2 - from) / 1e3) / 1e3,
						     round(rate(at, at + step) / before * 1e3) / 1e3));
	return out;
}

static void judge(json_t *out, double from, double to, double before_us, const json_t *cpu)
{
	double end = to + AFTER_US, resumed = to, worst = INFINITY, lost_us = 0, good_at = -1;
	double last = samples[sample_count - 1].us, first = samples[0].us;
	double before = rate(from - before_us, from), after_to = last < to + 2e6 ? last : to + 2e6;
	bool is_known = before > 0 && first <= from - before_us * 0.9 && last >= to;

	double silence = longest(from, end, false, &resumed);
	for (double at = from; at < to && is_known; at += STEP_US) {
		double r = rate(at, at + WINDOW_US) / before;
		worst = r < worst ? r : worst;
	}
	for (double at = resumed; at < last - WINDOW_US && good_at < 0; at += STEP_US)
		if (rate(at, at + WINDOW_US) >= GOOD * before)
			good_at = at;
	lost_us = (end - from) - (done_at(end) - done_at(from)) * 1e6 / before;
	if (lost_us < 0)
		lost_us = 0;
	double cpu_us = json_number_value(json_object_get(cpu, "migration_us"));
	double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);

	json_object_set_new(out, "heartbeat_gap_us_max",
			    us_or_null(has_heartbeat, longest(from, end, true, NULL)));
	json_object_set_new(out, "heartbeat_gap_us_max_undisturbed",
			    us_or_null(has_heartbeat, longest(from - before_us, from, true, NULL)));
	json_object_set_new(out, "client_silence_us_max", us_or_null(true, silence));
	json_object_set_new(out, "client_silence_us_max_undisturbed",
			    us_or_null(true, longest(from - before_us, from, false, NULL)));
	json_object_set_new(out, "throughput_before", real_or_null(is_known, before));
	json_object_set_new(out, "throughput_during", real_or_null(is_known, rate(from, to)));
	json_object_set_new(out, "throughput_after",
			    real_or_null(is_known && after_to > to + 5e5, rate(to + 2e5, after_to)));
	json_object_set_new(out, "throughput_worst_100ms", real_or_null(is_known, worst * before));
	json_object_set_new(out, "back_to_90_percent_us", us_or_null(is_known, good_at - resumed));
	json_object_set_new(out, "lost_work_s", real_or_null(is_known && last >= end, lost_us / 1e6));
	json_object_set_new(out, "migration_cpu_s", real_or_null(cpu_us > 0, cpu_us / 1e6));
	json_object_set_new(out, "lost_work_ratio",
			    real_or_null(is_known && last >= end && cpu_us > 0, lost_us / (cpu_us / cores)));
	if (is_known)
		json_object_set_new(out, "timeline", through(from, to, before));
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "usage: summary LABEL CLIENT FROM_US TO_US BEFORE_S MIGRATE CPU\n");
		return 2;
	}
	double from = strtod(argv[3], NULL), to = strtod(argv[4], NULL), before_us = strtod(argv[5], NULL) * 1e6;
	json_t *out = json_loads(argv[1], 0, NULL), *report = last_object(argv[6]), *cpu = last_object(argv[7]);
	FILE *client = fopen(argv[2], "r");
	int begins = client ? fgetc(client) : EOF;

	if (!json_is_object(out) || !json_is_object(report) || !client)
		errx(1, "%s", !client ? "the client saw nothing" : "no label, or no report of the move");
	ungetc(begins, client);
	if (begins == '{')
		read_load(client, argv[2]);
	else
		read_beats(client);
	fclose(client);
	if (sample_count < 2)
		errx(1, "the client saw nothing");
	json_object_update_missing(out, report);
	judge(out, from, to, before_us, cpu);
	json_object_set_new(out, "beats_missed", json_integer((json_int_t)missed));
	json_object_set_new(out, "client_errors", json_integer((json_int_t)(errors + (is_load ? wrong : 0))));
	json_object_set_new(out, "client_reconnects", json_integer((json_int_t)reconnects));
	json_object_set_new(out, "wrong", was_checked ? json_integer((json_int_t)wrong) : json_null());
	json_dumpf(out, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(out);
	json_decref(report);
	json_decref(cpu);
	free(samples);
	return fflush(stdout) != 0;
}
