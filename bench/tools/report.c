/* SPDX-License-Identifier: Apache-2.0
 *
 * report [--short] RESULTS
 *
 * What was promised and what was measured, as two tables in Markdown: medians by workload and mode, and each goal
 * with its value and whether it is reached. A goal for which there are no runs says so; none is left out. The exit
 * status is 0 whatever the figures are. --short, for the README: of the medians only those of the downtime, for uniform writes at
 * 10,000 pages a second and at memory speed, and for each other workload at the largest size.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/tools/results.h"

#define GB (1024.0 * 1024 * 1024)

static json_t *results;

/* ---- goals ---- */

static void goal(const char *what, const char *aim, bool is_known, bool is_reached, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
static void goal(const char *what, const char *aim, bool is_known, bool is_reached, const char *format, ...)
{
	va_list args;

	printf("| %s | %s | ", what, aim);
	va_start(args, format);
	if (is_known)
		vprintf(format, args);
	else
		printf("not measured");
	va_end(args);
	printf(" | %s |\n", !is_known ? "-" : is_reached ? "yes" : "**no**");
}

static double bound(const char *key)
{
	return value_of(json_object_get(results, "bounds"), key);
}

/* Parking alone (or in a move, where that was shorter), two round trips, and what must go over while the program is
 * stopped. */
static double floor_us(double park_us, double fixed_bytes)
{
	return fmin(bound("park_us"), park_us) + 2 * bound("round_trip_us") + fixed_bytes / (bound("tcp_gb_per_s") * 1e3);
}

static struct which hybrid_of(const char *workload)
{
	struct which w = ANY;

	w.workload = workload;
	w.mode = "hybrid";
	return w;
}

static void goal_floor(void)
{
	struct which w = hybrid_of("writer");
	double downtime = median_of(results, &w, "downtime_us"), bytes = median_of(results, &w, "switchover_bytes");
	double floor = floor_us(median_of(results, &w, "park_us"), bytes), ratio = downtime / floor;

	goal("hybrid downtime over the floor (parking alone, two round trips, fixed bytes)", "<= 4", !isnan(ratio),
	     ratio <= 4, "%.1f (%.2f ms over %.2f ms)", ratio, downtime / 1e3, floor / 1e3);
}

static void goal_downtime(void)
{
	struct which w = hybrid_of("writer");

	w.footprint_bytes = GB;
	struct values v = values_of(results, &w, of_key, "downtime_us");
	double median = percentile(&v, 0.5), tail = percentile(&v, 0.99);
	goal("hybrid downtime at 1 GB, median", "<= 5 ms", v.count > 0, median <= 5000, "%.2f ms of %zu moves",
	     median / 1e3, v.count);
	goal("the same, 99th percentile", "<= 15 ms, 300 moves or more", v.count > 0, tail <= 15000 && v.count >= 300,
	     "%.2f ms of %zu moves", tail / 1e3, v.count);
	free(v.value);
}

/* Largest median over the smallest, of all sizes and write rates there are. */
static void goal_spread(void)
{
	json_t *sizes = different(results, "footprint_bytes"), *rates = different(results, "write_pages_per_s");
	double low = INFINITY, high = 0;
	size_t groups = 0, moves_min = ~0ul;

	for (size_t i = 0; i < json_array_size(sizes) * json_array_size(rates); i++) {
		const json_t *rate = json_array_get(rates, i % json_array_size(rates));
		char text[RATE_TEXT];
		struct which w = hybrid_of("writer");
		w.footprint_bytes = json_number_value(json_array_get(sizes, i / json_array_size(rates)));
		w.rate = rate_text(rate, text);
		w.set_percent = 100;
		struct values v = values_of(results, &w, of_key, "downtime_us");
		double median = percentile(&v, 0.5);
		if (v.count > 0) {
			groups++;
			low = fmin(low, median);
			high = fmax(high, median);
			moves_min = v.count < moves_min ? v.count : moves_min;
		}
		free(v.value);
	}
	json_decref(sizes);
	json_decref(rates);
	goal("hybrid downtime over sizes and write rates, largest median by smallest", "< 1.5, 15 moves or more each",
	     groups > 1, high / low < 1.5 && moves_min >= 15, "%.2f over %zu (%.2f to %.2f ms, at least %zu moves each)",
	     high / low, groups, low / 1e3, high / 1e3, moves_min);
}

/* Of the round that carried most: what goes before it tries what pages and round trips cost. */
static double round_rate(const json_t *run, const void *unused)
{
	const json_t *round;
	double most = 0, rate = NAN;
	size_t i;

	json_array_foreach(json_object_get(run, "rounds"), i, round) {
		double pages = value_of(round, "pages"), us = value_of(round, "us");
		if (pages > most && us > 0) {
			most = pages;
			rate = pages / us;
		}
	}
	return rate;
}

static double median_rate(const struct which *w)
{
	struct values v = values_of(results, w, round_rate, NULL);
	double median = percentile(&v, 0.5);

	free(v.value);
	return median;
}

static void goal_stop_copy(void)
{
	json_t *workloads = different(results, "workload");
	double worst = INFINITY, rate = INFINITY;
	const char *worst_name = "";
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(workloads); i++) {
		struct which hybrid = hybrid_of(json_string_value(json_array_get(workloads, i)));
		hybrid.footprint_bytes = 4 * GB;
		struct which stop = hybrid;
		stop.mode = "stop-copy";
		double saved = 1 - median_of(results, &hybrid, "downtime_us") / median_of(results, &stop, "downtime_us");
		double rates = median_rate(&stop) / median_rate(&hybrid);
		if (isnan(saved) || isnan(rates))
			continue;
		count++;
		rate = fmin(rate, rates);
		if (saved < worst) {
			worst = saved;
			worst_name = hybrid.workload;
		}
	}
	goal("hybrid downtime below stop-copy at 4 GB, worst workload", ">= 99.5 %", count > 0, worst >= 0.995,
	     "%.2f %% (%s) of %zu workloads", worst * 100, worst_name, count);
	goal("stop-copy's page rate over that of hybrid's largest round, worst workload", ">= 0.9", count > 0, rate >= 0.9, "%.2f",
	     rate);
	json_decref(workloads);
}

static void goal_total(void)
{
	struct which w = hybrid_of("writer");

	w.footprint_bytes = 4 * GB;
	w.rate = "0";
	double total = median_of(results, &w, "total_us"), best = 4 * GB / (bound("tcp_gcm_gb_per_s") * 1e3);
	double new = 4 * GB / (bound("tcp_gcm_new_memory_gb_per_s") * 1e3);
	goal("total time of a quiet 4 GB over TCP with AES-GCM at both ends", "<= 2", !isnan(total / best),
	     total / best <= 2, "%.1f (%.1f s over %.1f s; into memory that its kernel has to find first: %.1f s)",
	     total / best, total / 1e6, best / 1e6, new / 1e6);
}

static void goal_tracking(const char *what, const char *key, double mean_aim, double worst_aim)
{
	const json_t *rows = json_object_get(results, "tracking");
	double sum = 0, worst = 0;
	size_t count = 0;
	char name[128], aim[32];

	for (size_t i = 0; i < json_array_size(rows); i++) {
		double value = value_of(json_array_get(rows, i), key);
		if (isnan(value))
			continue;
		sum += log(value);
		worst = fmax(worst, value);
		count++;
	}
	double mean = exp(sum / (double)count);
	snprintf(name, sizeof(name), "tracking and safepoints, %s: geometric mean", what);
	snprintf(aim, sizeof(aim), "<= %.2f", mean_aim);
	goal(name, aim, count > 0, mean <= mean_aim, "%.3f of %zu workloads", mean, count);
	snprintf(name, sizeof(name), "tracking and safepoints, %s: worst", what);
	snprintf(aim, sizeof(aim), "<= %.2f", worst_aim);
	goal(name, aim, count > 0, worst <= worst_aim, "%.3f", worst);
}

static double kept_during(const json_t *run, const void *unused)
{
	return value_of(run, "throughput_during") / value_of(run, "throughput_before");
}

static double kept_after(const json_t *run, const void *unused)
{
	return value_of(run, "throughput_after") / value_of(run, "throughput_before");
}

static double extra_silence(const json_t *run, const void *unused)
{
	return value_of(run, "client_silence_us_max") - value_of(run, "client_silence_us_max_undisturbed");
}

static double faults(const json_t *run, const void *unused)
{
	return value_of(run, "client_errors") + value_of(run, "client_reconnects");
}

static double wrong_of(const json_t *run, const void *unused)
{
	return value_of(run, "wrong");
}

static void goal_work(void)
{
	struct which w = hybrid_of(NULL), set = hybrid_of("writer");
	struct values lost = values_of(results, &w, of_key, "lost_work_ratio");

	goal("lost work over processor time of the migration by cores, hybrid: median of all runs", "<= 1.5",
	     lost.count > 0, percentile(&lost, 0.5) <= 1.5, "%.2f (90th percentile %.2f) of %zu", percentile(&lost, 0.5),
	     percentile(&lost, 0.9), lost.count);
	free(lost.value);
	set.set_percent = 10;
	struct values during = values_of(results, &set, kept_during, NULL);
	goal("throughput during hybrid, memory speed on a tenth of the footprint", ">= 60 %", during.count > 0,
	     percentile(&during, 0.5) >= 0.6, "%.0f %%", percentile(&during, 0.5) * 100);
	free(during.value);
	struct values after = values_of(results, &w, kept_after, NULL);
	goal("throughput after the tail, hybrid: median of all runs", ">= 98 %", after.count > 0,
	     percentile(&after, 0.5) >= 0.98, "%.1f %% (10th percentile %.1f %%)", percentile(&after, 0.5) * 100,
	     percentile(&after, 0.1) * 100);
	free(after.value);
}

/* By how much of what came it was off. */
static double forecast_error(const json_t *run, const void *key)
{
	return fabs(value_of(json_object_get(run, "forecast"), key) / value_of(run, key) - 1);
}

static void goal_forecast(const char *what, const char *key)
{
	struct which all = ANY;
	struct values off = values_of(results, &all, forecast_error, key);

	goal(what, "<= 30 %", off.count > 0, percentile(&off, 0.5) <= 0.3, "%.0f %% of %zu moves", percentile(&off, 0.5) * 100,
	     off.count);
	free(off.value);
}

static void goal_client(void)
{
	struct which w = hybrid_of("redis"), all = ANY;

	w.footprint_bytes = 4 * GB;
	struct values silence = values_of(results, &w, extra_silence, NULL);
	goal("client silence beyond the undisturbed, Redis at 4 GB, hybrid, median", "<= 20 ms", silence.count > 0,
	     percentile(&silence, 0.5) <= 20000, "%.1f ms (worst %.1f) of %zu; the machine itself holds threads up for as much as %.1f ms",
	     percentile(&silence, 0.5) / 1e3, percentile(&silence, 1) / 1e3, silence.count, bound("late_us_max") / 1e3);
	free(silence.value);
	struct values bad = values_of(results, &all, faults, NULL);
	double sum = 0;
	for (size_t i = 0; i < bad.count; i++)
		sum += bad.value[i];
	goal("client errors and reconnections, all runs", "0", bad.count > 0, sum == 0, "%.0f of %zu runs", sum, bad.count);
	free(bad.value);
	struct values content = values_of(results, &all, wrong_of, NULL);
	sum = 0;
	for (size_t i = 0; i < content.count; i++)
		sum += content.value[i];
	size_t runs = json_array_size(json_object_get(results, "runs"));
	goal("content that is not what it must be, looked at after every move", "0", runs > 0,
	     sum == 0 && content.count == runs, "%.0f; %zu of %zu moves looked at", sum, content.count, runs);
	free(content.value);
}

static void print_goals(void)
{
	printf("\n| goal | | measured | reached |\n|---|---|---|---|\n");
	goal_floor();
	goal_downtime();
	goal_spread();
	goal_stop_copy();
	goal_total();
	goal_tracking("idle", "ratio_idle", 1.03, 1.08);
	goal_tracking("collector running", "ratio_migrating", 1.10, 1.20);
	goal_work();
	goal_forecast("forecast of the downtime, median error over all modes", "downtime_us");
	goal_forecast("forecast of the total time, median error over all modes", "total_us");
	goal_client();
}

/* ---- medians ---- */

static void print_ms(const struct which *w, const char *key)
{
	double us = median_of(results, w, key);

	if (isnan(us))
		printf(" - |");
	else
		printf(us < 1e5 ? " %.1f |" : " %.0f |", us / 1e3);
}

static void print_row(const struct which *w)
{
	struct values v = values_of(results, w, of_key, "downtime_us");

	if (v.count == 0) {
		free(v.value);
		return;
	}
	printf("| %s, %.4g GB", w->workload, w->footprint_bytes / GB);
	if (w->pattern)
		printf(", %s %s", w->pattern, w->rate);
	if (w->set_percent >= 0 && w->set_percent < 100)
		printf(" in %g %%", w->set_percent);
	printf(" | %s | %zu |", w->mode, v.count);
	free(v.value);
	print_ms(w, "downtime_us");
	print_ms(w, "heartbeat_gap_us_max");
	print_ms(w, "client_silence_us_max");
	double total = median_of(results, w, "total_us"), sent = median_of(results, w, "bytes_sent");
	printf(" %.2f | %.2f |", total / 1e6, sent / GB);
	struct values during = values_of(results, w, kept_during, NULL), after = values_of(results, w, kept_after, NULL);
	double lost = median_of(results, w, "lost_work_ratio");
	printf(" %.0f %% | %.0f %% |", percentile(&during, 0.5) * 100, percentile(&after, 0.5) * 100);
	printf(isnan(lost) ? " - |\n" : " %.2f |\n", lost);
	free(during.value);
	free(after.value);
}

static void print_medians(void)
{
	json_t *workloads = different(results, "workload"), *sizes = different(results, "footprint_bytes");
	json_t *modes = different(results, "mode"), *patterns = different(results, "write_pattern");
	json_t *rates = different(results, "write_pages_per_s"), *sets = different(results, "write_set_percent");

	printf("| | mode | moves | downtime, ms | heartbeat | client | total, s | sent, GB | during | after | lost work |\n"
	       "|---|---|---|---|---|---|---|---|---|---|---|\n");
	for (size_t n = 0; n < json_array_size(workloads); n++)
		for (size_t s = 0; s < json_array_size(sizes); s++) {
			struct which w = ANY;
			w.workload = json_string_value(json_array_get(workloads, n));
			w.footprint_bytes = json_number_value(json_array_get(sizes, s));
			bool is_writer = !strcmp(w.workload, "writer");
			for (size_t p = 0; p < (is_writer ? json_array_size(patterns) : 1); p++)
				for (size_t r = 0; r < (is_writer ? json_array_size(rates) : 1); r++)
					for (size_t k = 0; k < (is_writer ? json_array_size(sets) : 1); k++)
						for (size_t m = 0; m < json_array_size(modes); m++) {
							const json_t *rate = json_array_get(rates, r);
							char text[RATE_TEXT];
							w.mode = json_string_value(json_array_get(modes, m));
							if (is_writer) {
								w.pattern = json_string_value(json_array_get(patterns, p));
								w.rate = rate_text(rate, text);
								w.set_percent = json_number_value(json_array_get(sets, k));
							}
							print_row(&w);
						}
		}
	json_decref(workloads);
	json_decref(sizes);
	json_decref(modes);
	json_decref(patterns);
	json_decref(rates);
	json_decref(sets);
}

static const char *const modes[] = {"stop-copy", "precopy", "hybrid", "postcopy"};
#define MODES (sizeof(modes) / sizeof(*modes))

static bool print_short_row(struct which *w)
{
	double median[MODES];
	bool any = false;

	for (size_t m = 0; m < MODES; m++) {
		w->mode = modes[m];
		median[m] = median_of(results, w, "downtime_us");
		any = any || !isnan(median[m]);
	}
	if (!any)
		return false;
	printf("| %s, %.4g GB", w->workload, w->footprint_bytes / GB);
	if (w->rate)
		printf(", %s pages/s", w->rate);
	printf(" |");
	for (size_t m = 0; m < MODES; m++)
		if (isnan(median[m]))
			printf(" - |");
		else
			printf(median[m] < 1e5 ? " %.1f |" : " %.0f |", median[m] / 1e3);
	printf("\n");
	return true;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_short(void)
{
	json_t *workloads = different(results, "workload"), *sizes = different(results, "footprint_bytes");
	size_t count = json_array_size(sizes);
	double *size = calloc(count + 1, sizeof(*size));
	static const char *const rates[] = {"10000", "max"};

	for (size_t i = 0; size && i < count; i++)
		size[i] = json_number_value(json_array_get(sizes, i));
	qsort(size, count, sizeof(*size), by_size);
	printf("| downtime, ms | stop-copy | precopy | hybrid | postcopy |\n|---|---|---|---|---|\n");
	for (size_t n = 0; n < json_array_size(workloads); n++) {
		struct which w = ANY;
		w.workload = json_string_value(json_array_get(workloads, n));
		bool is_writer = !strcmp(w.workload, "writer"), is_done = false;
		for (size_t r = 0; r < (is_writer ? 2 : 1); r++)
			for (size_t i = 0; i < count && !is_done; i++) {
				w.footprint_bytes = size[is_writer ? i : count - 1 - i];
				w.rate = is_writer ? rates[r] : NULL;
				w.pattern = is_writer ? "uniform" : NULL;
				w.set_percent = is_writer ? 100 : -1;
				/* of the others, the largest is enough */
				is_done = print_short_row(&w) && !is_writer;
			}
	}
	free(size);
	json_decref(workloads);
	json_decref(sizes);
}

static void print_rest(void)
{
	const json_t *machine = json_object_get(results, "machine"), *bounds = json_object_get(results, "bounds");
	const json_t *skipped = json_object_get(results, "skipped"), *peers = json_object_get(results, "peers");
	const char *key;
	json_t *value;

	printf("\nPlan %s, %zu moves; %s, %d cores, %.0f GB, Linux %s, %s SGX, %s; load average when it began %.1f\n",
	       json_string_value(json_object_get(results, "plan")), json_array_size(json_object_get(results, "runs")),
	       json_string_value(json_object_get(machine, "cpu")), (int)value_of(machine, "cores"),
	       value_of(machine, "memory_bytes") / GB, json_string_value(json_object_get(machine, "kernel")),
	       json_string_value(json_object_get(machine, "sgx")), json_string_value(json_object_get(machine, "date")),
	       value_of(machine, "load_average_before"));
	const json_t *tracking = json_object_get(results, "tracking_machine");
	if (json_is_object(tracking))
		printf("\nTracking: measured %s on %s\n", json_string_value(json_object_get(tracking, "date")),
		       json_string_value(json_object_get(tracking, "cpu")));
	printf("\nBounds in the same run:");
	json_object_foreach((json_t *)bounds, key, value)
		printf(" %s %g;", key, json_number_value(value));
	printf("\n");
	for (size_t i = 0; i < json_array_size(peers); i++) {
		const json_t *p = json_array_get(peers, i);
		printf("\nPeer %s, %.4g GB: downtime %.0f ms, total %.1f s (%s)\n",
		       json_string_value(json_object_get(p, "peer")), value_of(p, "footprint_bytes") / GB,
		       value_of(p, "downtime_us") / 1e3, value_of(p, "total_us") / 1e6,
		       json_string_value(json_object_get(p, "what")));
	}
	for (size_t i = 0; i < json_array_size(skipped); i++) {
		const json_t *s = json_array_get(skipped, i);
		printf("\nLeft out: %s: %s\n", json_string_value(json_object_get(s, "what")),
		       json_string_value(json_object_get(s, "reason")));
	}
}

int main(int argc, char **argv)
{
	bool is_short = argc == 3 && !strcmp(argv[1], "--short");

	if (argc != 2 && !is_short) {
		fprintf(stderr, "usage: report [--short] RESULTS\n");
		return 2;
	}
	results = results_load(argv[argc - 1]);
	if (is_short)
		print_short();
	else
		print_medians();
	print_goals();
	print_rest();
	json_decref(results);
	return 0;
}
