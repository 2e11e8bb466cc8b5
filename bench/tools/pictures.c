/* SPDX-License-Identifier: Apache-2.0
 *
 * pictures RESULTS DIR
 *
 * Four SVG files: downtime over size, downtime over write rate, throughput through a move, tracking cost by workload.
 * A picture for which there are no runs is not written.
 */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/tools/results.h"

#define WIDTH 760.0
#define HEIGHT 440.0
#define LEFT 80.0
#define RIGHT 150.0 /* names of the lines */
#define TOP 50.0
#define BOTTOM 60.0
#define GB (1024.0 * 1024 * 1024)

static json_t *results;
static const char *directory;

static const struct {
	const char *name, *colour;
} modes[] = {{"stop-copy", "#b03030"}, {"precopy", "#c98a1b"}, {"hybrid", "#1f6fb4"}, {"postcopy", "#3a8a4d"}};
#define MODES (sizeof(modes) / sizeof(*modes))

/* ---- axes ---- */

struct plot {
	FILE *out;
	double x_min, x_max, y_min, y_max;
	bool y_is_log;
	unsigned names; /* so far */
};

static double at_x(const struct plot *p, double x)
{
	return LEFT + (x - p->x_min) / (p->x_max - p->x_min) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct plot *p, double y)
{
	double part = p->y_is_log ? log(y / p->y_min) / log(p->y_max / p->y_min) : (y - p->y_min) / (p->y_max - p->y_min);

	return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

static void text(FILE *out, double x, double y, const char *anchor, const char *colour, const char *what)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, anchor, colour, what);
}

static void line(FILE *out, double x1, double y1, double x2, double y2, const char *colour)
{
	fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, colour);
}

static void plot_begin(struct plot *p, const char *file, const char *title, const char *x_title, const char *y_title)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", directory, file);
	p->out = fopen(path, "w");
	p->names = 0;
	if (!p->out)
		err(1, "%s", path);
	fprintf(p->out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" font-family=\"sans-serif\" font-size=\"13\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
		WIDTH, HEIGHT);
	text(p->out, LEFT, TOP - 22, "start", "black", title);
	text(p->out, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, "middle", "black", x_title);
	fprintf(p->out, "<text transform=\"translate(20 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
		(TOP + HEIGHT - BOTTOM) / 2, y_title);
	line(p->out, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "black");
	line(p->out, LEFT, HEIGHT - BOTTOM, LEFT, TOP, "black");
}

static void plot_end(struct plot *p)
{
	fputs("</svg>\n", p->out);
	if (fclose(p->out))
		err(1, "%s", directory);
}

static void x_mark(const struct plot *p, double x, const char *what)
{
	line(p->out, at_x(p, x), HEIGHT - BOTTOM, at_x(p, x), HEIGHT - BOTTOM + 5, "black");
	text(p->out, at_x(p, x), HEIGHT - BOTTOM + 20, "middle", "black", what);
}

static void y_mark(const struct plot *p, double y)
{
	char what[32];

	snprintf(what, sizeof(what), "%g", y);
	line(p->out, LEFT, at_y(p, y), WIDTH - RIGHT, at_y(p, y), "#dddddd");
	text(p->out, LEFT - 8, at_y(p, y) + 4, "end", "black", what);
}

static void y_marks(const struct plot *p)
{
	if (p->y_is_log)
		for (double y = p->y_min; y <= p->y_max * 1.001; y *= 10)
			y_mark(p, y);
	else
		for (int i = 0; i <= 5; i++)
			y_mark(p, p->y_min + (p->y_max - p->y_min) * i / 5);
}

static void name(struct plot *p, const char *colour, const char *what)
{
	double y = TOP + 12 + 20 * p->names++;

	fprintf(p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", WIDTH - RIGHT + 12, y - 10,
		colour);
	text(p->out, WIDTH - RIGHT + 30, y, "start", "black", what);
}

static void curve(const struct plot *p, const double *x, const double *y, size_t count, const char *colour, bool with_dots)
{
	fprintf(p->out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colour);
	for (size_t i = 0; i < count; i++)
		fprintf(p->out, "%.1f,%.1f ", at_x(p, x[i]), at_y(p, y[i]));
	fputs("\"/>\n", p->out);
	for (size_t i = 0; with_dots && i < count; i++)
		fprintf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", at_x(p, x[i]), at_y(p, y[i]), colour);
}

/* ---- downtime over something: medians, a line for each mode ---- */

#define POINTS_MAX 64

static void downtime_over(const char *file, const char *title, const char *x_title, const char *key, struct which which)
{
	json_t *values = different(results, key);
	double x[MODES][POINTS_MAX], y[MODES][POINTS_MAX], least = INFINITY, most = 0;
	size_t count[MODES] = {0}, columns = 0;
	const char *names[POINTS_MAX];
	char texts[POINTS_MAX][RATE_TEXT];

	for (size_t i = 0; i < json_array_size(values) && columns < POINTS_MAX; i++) {
		const json_t *value = json_array_get(values, i);
		bool any = false, is_size = !strcmp(key, "footprint_bytes");
		names[columns] = rate_text(value, texts[columns]);
		if (is_size)
			which.footprint_bytes = json_number_value(value);
		else
			which.rate = names[columns];
		for (size_t m = 0; m < MODES; m++) {
			which.mode = modes[m].name;
			double median = median_of(results, &which, "downtime_us") / 1e3;
			if (!(median > 0))
				continue;
			x[m][count[m]] = (double)columns;
			y[m][count[m]++] = median;
			least = fmin(least, median);
			most = fmax(most, median);
			any = true;
		}
		if (any && is_size)
			snprintf(texts[columns], RATE_TEXT, "%.4g GB", json_number_value(value) / GB);
		columns += any;
	}
	if (columns > 0) {
		struct plot p = {.x_min = -0.3, .x_max = (double)columns - 0.7, .y_is_log = true,
				 .y_min = pow(10, floor(log10(least))), .y_max = pow(10, ceil(log10(most)))};
		if (p.y_max <= p.y_min)
			p.y_max = p.y_min * 10;
		plot_begin(&p, file, title, x_title, "downtime, ms (median)");
		y_marks(&p);
		for (size_t i = 0; i < columns; i++)
			x_mark(&p, (double)i, names[i]);
		for (size_t m = 0; m < MODES; m++) {
			if (!count[m])
				continue;
			curve(&p, x[m], y[m], count[m], modes[m].colour, true);
			name(&p, modes[m].colour, modes[m].name);
		}
		plot_end(&p);
	}
	json_decref(values);
}

/* ---- throughput through a move: the run of each mode that stood still for the median time ---- */

static const json_t *middle_run(const struct which *w)
{
	const json_t *runs = json_object_get(results, "runs"), *best = NULL;
	double median = median_of(results, w, "downtime_us"), distance = INFINITY;

	for (size_t i = 0; i < json_array_size(runs); i++) {
		const json_t *run = json_array_get(runs, i);
		double d = fabs(value_of(run, "downtime_us") - median);
		if (run_is(run, w) && json_is_array(json_object_get(run, "timeline")) && d < distance) {
			distance = d;
			best = run;
		}
	}
	return best;
}

static void through_a_move(const char *workload, const char *title, const char *file)
{
	const json_t *of[MODES];
	json_t *sizes = different(results, "footprint_bytes");
	struct plot p = {.x_min = -2, .x_max = 0, .y_min = 0, .y_max = 1.25};
	char what[32];
	struct which w = ANY;

	/* the largest there is, written at memory speed if it is the microbenchmark */
	w.workload = workload;
	if (!strcmp(workload, "writer"))
		w.rate = "max";
	for (size_t i = 0; i < json_array_size(sizes); i++) {
		struct which one = w;
		one.footprint_bytes = json_number_value(json_array_get(sizes, i));
		if (one.footprint_bytes > w.footprint_bytes && middle_run(&one))
			w.footprint_bytes = one.footprint_bytes;
	}
	json_decref(sizes);
	for (size_t m = 0; m < MODES; m++) {
		w.mode = modes[m].name;
		of[m] = middle_run(&w);
		if (of[m]) {
			const json_t *t = json_object_get(of[m], "timeline");
			const json_t *last = json_array_get(t, json_array_size(t) - 1);
			p.x_max = fmax(p.x_max, json_number_value(json_array_get(last, 0)));
		}
	}
	if (p.x_max <= 0)
		return;
	plot_begin(&p, file, title, "seconds since the command", "throughput, of what it was before");
	y_marks(&p);
	for (int i = 0; i <= 6; i++) {
		double x = p.x_min + (p.x_max - p.x_min) * i / 6;
		snprintf(what, sizeof(what), "%.1f", x);
		x_mark(&p, x, what);
	}
	for (size_t m = 0; m < MODES; m++) {
		const json_t *t = of[m] ? json_object_get(of[m], "timeline") : NULL;
		size_t count = json_array_size(t);
		double *x = calloc(count + 1, sizeof(*x)), *y = calloc(count + 1, sizeof(*y));
		if (!x || !y)
			errx(1, "out of memory");
		for (size_t i = 0; i < count; i++) {
			x[i] = json_number_value(json_array_get(json_array_get(t, i), 0));
			y[i] = fmin(json_number_value(json_array_get(json_array_get(t, i), 1)), p.y_max);
		}
		if (count) {
			curve(&p, x, y, count, modes[m].colour, false);
			name(&p, modes[m].colour, modes[m].name);
		}
		free(x);
		free(y);
	}
	plot_end(&p);
}

/* ---- tracking ---- */

static void bar(const struct plot *p, double x, double width, double y, const char *colour)
{
	double top = at_y(p, y), base = at_y(p, p->y_min);

	fprintf(p->out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", at_x(p, x), top,
		at_x(p, x + width) - at_x(p, x), base - top, colour);
}

static void tracking(void)
{
	const json_t *rows = json_object_get(results, "tracking");
	size_t count = json_array_size(rows);
	struct plot p = {.x_min = 0, .x_max = (double)count, .y_min = 0, .y_max = 1};

	for (size_t i = 0; i < count; i++) {
		const json_t *row = json_array_get(rows, i);
		p.y_max = fmax(p.y_max, fmax(value_of(row, "ratio_idle"), value_of(row, "ratio_migrating")));
	}
	if (!count)
		return;
	p.y_max = ceil(p.y_max * 2) / 2;
	plot_begin(&p, "tracking.svg", "Tracking and safepoints: time by that of the same compiler without them", "", "ratio");
	y_marks(&p);
	line(p.out, LEFT, at_y(&p, 1), WIDTH - RIGHT, at_y(&p, 1), "black");
	for (size_t i = 0; i < count; i++) {
		const json_t *row = json_array_get(rows, i);
		double idle = value_of(row, "ratio_idle"), migrating = value_of(row, "ratio_migrating");
		if (!isnan(idle))
			bar(&p, (double)i + 0.15, 0.35, idle, modes[2].colour);
		if (!isnan(migrating))
			bar(&p, (double)i + 0.5, 0.35, migrating, modes[1].colour);
		fprintf(p.out, "<text transform=\"translate(%.1f %.1f) rotate(-30)\" text-anchor=\"end\">%s</text>\n",
			at_x(&p, (double)i + 0.5), HEIGHT - BOTTOM + 16,
			json_string_value(json_object_get(row, "workload")));
	}
	name(&p, modes[2].colour, "idle");
	name(&p, modes[1].colour, "collector runs");
	plot_end(&p);
}

int main(int argc, char **argv)
{
	struct which writer = ANY;

	if (argc != 3) {
		fprintf(stderr, "usage: pictures RESULTS DIR\n");
		return 2;
	}
	results = results_load(argv[1]);
	directory = argv[2];
	writer.workload = "writer";
	writer.pattern = "uniform";
	writer.set_percent = 100;
	struct which by_size = writer;
	by_size.rate = "10000";
	downtime_over("downtime-over-size.svg", "Downtime over size: uniform writes of 10,000 pages a second", "memory in use",
		      "footprint_bytes", by_size);
	/* at the size for which most rates were measured */
	json_t *sizes = different(results, "footprint_bytes");
	size_t most = 0;
	for (size_t i = 0; i < json_array_size(sizes); i++) {
		struct which w = writer;
		w.footprint_bytes = json_number_value(json_array_get(sizes, i));
		struct values v = values_of(results, &w, of_key, "downtime_us");
		if (v.count > most) {
			most = v.count;
			writer.footprint_bytes = w.footprint_bytes;
		}
		free(v.value);
	}
	json_decref(sizes);
	char title[128];
	snprintf(title, sizeof(title), "Downtime over write rate: uniform writes to %.4g GB", writer.footprint_bytes / GB);
	downtime_over("downtime-over-write-rate.svg", title, "pages written a second", "write_pages_per_s", writer);
	through_a_move("writer", "Throughput through a move: microbenchmark at memory speed", "throughput-writer.svg");
	through_a_move("redis", "Throughput through a move: Redis under load", "throughput-redis.svg");
	tracking();
	json_decref(results);
	return 0;
}
