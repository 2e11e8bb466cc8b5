/* SPDX-License-Identifier: Apache-2.0
 *
 * writer LISTENER BYTES uniform|zipf|sequential RATE [SET_PERCENT]
 *
 * The microbenchmark: BYTES of pages that differ from each other and do not compress, of which RATE a second
 * are looked at and written anew, all over or only in the first SET_PERCENT (100). RATE 0 writes nothing and
 * looks at one page a millisecond; RATE max is as fast as it goes. An operation is a page.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/meter.h"

#define PAGE 4096
#define BATCH 16 /* pages between two looks at the clock */
#define ZIPF_THETA 0.99

static char *pages;
static uint32_t *versions; /* of each page: what must be there, kept apart from it */
static uint64_t page_count, set_count, random_state = 1, wrong;

static void page_write(uint64_t i)
{
	noise_fill(i << 32 | ++versions[i], pages + i * PAGE, PAGE);
}

static bool page_is_right(uint64_t i)
{
	return noise_is(i << 32 | versions[i], pages + i * PAGE, PAGE);
}

static uint64_t check(char *text, size_t size)
{
	for (uint64_t i = 0; i < page_count; i++)
		wrong += !page_is_right(i);
	snprintf(text, size, "%llu pages", (unsigned long long)page_count);
	return wrong;
}

static uint64_t next_random(void)
{
	return mix64(random_state++);
}

static uint64_t next_uniform(void)
{
	return (uint64_t)((unsigned __int128)next_random() * set_count >> 64);
}

static uint64_t next_sequential(void)
{
	static uint64_t next;

	return next++ % set_count;
}

/* Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994). Ranks are scattered, or
 * the popular pages would lie side by side. */
static struct {
	double zeta, eta, alpha, half;
} zipf;

static void zipf_init(void)
{
	double zeta2 = 1 + pow(0.5, ZIPF_THETA), n = (double)set_count;

	for (uint64_t i = 1; i <= set_count; i++)
		zipf.zeta += pow((double)i, -ZIPF_THETA);
	zipf.alpha = 1 / (1 - ZIPF_THETA);
	zipf.eta = (1 - pow(2 / n, 1 - ZIPF_THETA)) / (1 - zeta2 / zipf.zeta);
	zipf.half = zeta2;
}

static uint64_t next_zipf(void)
{
	double u = (double)(next_random() >> 11) * 0x1p-53, uz = u * zipf.zeta;
	uint64_t rank;

	if (uz < 1)
		rank = 0;
	else if (uz < zipf.half)
		rank = 1;
	else
		rank = (uint64_t)((double)set_count * pow(zipf.eta * u - zipf.eta + 1, zipf.alpha));
	return mix64(rank) % set_count;
}

static const struct pattern {
	const char *name;
	uint64_t (*next)(void);
} patterns[] = {{"uniform", next_uniform}, {"zipf", next_zipf}, {"sequential", next_sequential}};

static void rewrite(uint64_t i)
{
	wrong += !page_is_right(i);
	page_write(i);
}

static void run_unpaced(const struct pattern *p)
{
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			rewrite(p->next());
		meter_add(BATCH);
	}
}

/* A millisecond that was missed is missed: work that is made up for would hide that it had stopped. */
static void run_paced(const struct pattern *p, double per_ms)
{
	double due = 0;

	for (uint64_t now = meter_now_ns();;) {
		now = meter_next_ms(now);
		due += per_ms;
		if (per_ms == 0) {
			wrong += !page_is_right(next_random() % page_count);
			meter_add(1);
		}
		while (due >= 1) {
			uint64_t n = due < BATCH ? (uint64_t)due : BATCH;
			for (uint64_t i = 0; i < n; i++)
				rewrite(p->next());
			due -= (double)n;
			meter_add(n);
		}
	}
}

int main(int argc, char **argv)
{
	const struct pattern *pattern = NULL;

	for (size_t i = 0; argc >= 5 && i < sizeof(patterns) / sizeof(*patterns); i++)
		if (!strcmp(argv[3], patterns[i].name))
			pattern = &patterns[i];
	if (!pattern || argc > 6) {
		fprintf(stderr, "usage: writer LISTENER BYTES uniform|zipf|sequential RATE [SET_PERCENT]\n");
		return 2;
	}
	page_count = strtoull(argv[2], NULL, 10) / PAGE;
	set_count = page_count * (argc > 5 ? strtoull(argv[5], NULL, 10) : 100) / 100;
	if (!set_count || page_count >> 32)
		return 2;
	pages = room(page_count * PAGE);
	versions = room(page_count * sizeof(*versions));
	for (uint64_t i = 0; i < page_count; i++)
		page_write(i);
	if (pattern->next == next_zipf)
		zipf_init();
	meter_start(argv[1], check);
	if (!strcmp(argv[4], "max"))
		run_unpaced(pattern);
	else
		run_paced(pattern, strtod(argv[4], NULL) / 1000);
}
