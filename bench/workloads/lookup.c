/* SPDX-License-Identifier: Apache-2.0
 *
 * Lookups of cross sections as a Monte Carlo neutron transport makes them (the habit of XSBench, not its code):
 * for a random energy, in each of a material's nuclides, a binary search in a table that is only read, and an
 * interpolation between two points. An operation is a nuclide.
 */
#include <stdio.h>
#include <stdlib.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define NUCLIDES 64
#define IN_MATERIAL 12
#define CHANNELS 5
#define BATCH 4
#define PROBES 1000 /* lookups whose sum is compared in a check */

struct point {
	double energy, section[CHANNELS];
};

static struct point *points; /* those of nuclide i: points[i * point_count] on, by energy */
static uint64_t point_count, random_state = 11, lookups, wrong, first_sum;
static double total[CHANNELS];

static double unit(uint64_t x)
{
	return (double)(x >> 11) * 0x1p-53;
}

static struct point make(uint64_t nuclide, uint64_t i)
{
	uint64_t seed = (nuclide << 40) + i * 8;
	struct point p = {.energy = ((double)i + unit(mix64(seed))) / (double)point_count};

	for (uint64_t c = 0; c < CHANNELS; c++)
		p.section[c] = unit(mix64(seed + c + 1));
	return p;
}

static void look_up(uint64_t nuclide, double energy, double out[CHANNELS])
{
	const struct point *p = points + nuclide * point_count;
	uint64_t low = 0, high = point_count - 1;

	while (high - low > 1) {
		uint64_t middle = (low + high) / 2;
		if (p[middle].energy <= energy)
			low = middle;
		else
			high = middle;
	}
	double f = (energy - p[low].energy) / (p[high].energy - p[low].energy);
	for (int c = 0; c < CHANNELS; c++)
		out[c] += p[low].section[c] + f * (p[high].section[c] - p[low].section[c]);
}

static void look_up_material(uint64_t random, double out[CHANNELS])
{
	double energy = unit(mix64(random));

	for (uint64_t k = 0; k < IN_MATERIAL; k++)
		look_up((random + k * 5) % NUCLIDES, energy, out);
}

static uint64_t probe(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < PROBES; i++) {
		double out[CHANNELS] = {0};
		look_up_material(mix64(i), out);
		for (int c = 0; c < CHANNELS; c++)
			sum = mix64(sum ^ (uint64_t)(out[c] * 1e9));
	}
	return sum;
}

static void prepare(size_t bytes)
{
	point_count = bytes / sizeof(struct point) / NUCLIDES;
	points = room(NUCLIDES * point_count * sizeof(*points));
	for (uint64_t n = 0; n < NUCLIDES; n++)
		for (uint64_t i = 0; i < point_count; i++)
			points[n * point_count + i] = make(n, i);
	first_sum = probe();
}

static void run(void)
{
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			look_up_material(mix64(random_state++), total);
		lookups += BATCH;
		meter_add(BATCH * IN_MATERIAL);
	}
}

static uint64_t check(char *text, size_t size)
{
	for (uint64_t n = 0; n < NUCLIDES; n++)
		for (uint64_t i = 0; i < point_count; i++) {
			struct point p = make(n, i), *is = &points[n * point_count + i];
			wrong += p.energy != is->energy || p.section[CHANNELS - 1] != is->section[CHANNELS - 1];
		}
	wrong += probe() != first_sum;
	snprintf(text, size, "%llu points, %llu lookups", (unsigned long long)(NUCLIDES * point_count),
		 (unsigned long long)lookups);
	return wrong;
}

const struct kernel kernel_lookup = {"lookup", prepare, run, check};
