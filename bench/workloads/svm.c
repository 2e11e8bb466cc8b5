/* SPDX-License-Identifier: Apache-2.0
 *
 * Training of a linear support vector machine by dual coordinate descent (Hsieh et al., ICML 2008): samples are
 * only read, each visit changes the sample's multiplier and the weights. An operation is a visit.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define FEATURES 256
#define BATCH 32
#define COST 1.0f

static float (*samples)[FEATURES];
static float *multiplier;
static double weight[FEATURES];
static uint64_t sample_count, random_state = 5, visits, wrong;

static float feature(uint64_t sample, uint64_t i)
{
	return (float)((double)(mix64(sample * FEATURES + i) >> 11) * 0x1p-52 - 1);
}

/* which side of a plane that the training is to find; one sample in 16 is on the wrong side */
static float label(uint64_t sample)
{
	double sum = 0;

	for (uint64_t i = 0; i < 8; i++)
		sum += samples[sample][i * 31];
	return (sum > 0) == (mix64(sample ^ 0x77) % 16 != 0) ? 1 : -1;
}

static void prepare(size_t bytes)
{
	sample_count = bytes / (FEATURES * sizeof(float) + sizeof(float));
	samples = room(sample_count * sizeof(*samples));
	multiplier = room(sample_count * sizeof(*multiplier));
	for (uint64_t n = 0; n < sample_count; n++)
		for (uint64_t i = 0; i < FEATURES; i++)
			samples[n][i] = feature(n, i);
}

static void visit(uint64_t n)
{
	const float *x = samples[n];
	double dot = 0, square = 0, y = label(n);

	for (int i = 0; i < FEATURES; i++) {
		dot += weight[i] * x[i];
		square += (double)x[i] * x[i];
	}
	float before = multiplier[n], after = (float)(before - (y * dot - 1) / square);
	after = after < 0 ? 0 : after > COST ? COST : after;
	multiplier[n] = after;
	double step = (after - before) * y;
	if (step != 0)
		for (int i = 0; i < FEATURES; i++)
			weight[i] += step * x[i];
}

static void run(void)
{
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			visit(mix64(random_state++) % sample_count);
		visits += BATCH;
		meter_add(BATCH);
	}
}

/* The weights are the sum of all samples by their multipliers, whatever the order they came in. */
static uint64_t check(char *text, size_t size)
{
	double sum[FEATURES] = {0}, distance = 0, length = 1;

	for (uint64_t n = 0; n < sample_count; n++) {
		wrong += samples[n][n % FEATURES] != feature(n, n % FEATURES);
		for (int i = 0; i < FEATURES && multiplier[n] != 0; i++)
			sum[i] += (double)multiplier[n] * label(n) * samples[n][i];
	}
	for (int i = 0; i < FEATURES; i++) {
		distance += (sum[i] - weight[i]) * (sum[i] - weight[i]);
		length += sum[i] * sum[i];
	}
	wrong += sqrt(distance) > 1e-3 * sqrt(length);
	snprintf(text, size, "%llu samples, %llu visits", (unsigned long long)sample_count, (unsigned long long)visits);
	return wrong;
}

const struct kernel kernel_svm = {"svm", prepare, run, check};
