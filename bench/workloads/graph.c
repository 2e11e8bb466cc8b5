/* SPDX-License-Identifier: Apache-2.0
 *
 * Two walks over a random graph in compressed rows: breadth-first search from one node after the other, and
 * PageRank, eight iterations from the start, again and again. An operation is an edge.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define DEGREE 16
#define BATCH 64 /* nodes */
#define ROOTS 4
#define ITERATIONS 8

static uint32_t *to; /* edges of node i: to[i * DEGREE] on */
static uint32_t node_count;
static uint64_t passes, wrong;

static uint32_t edge(uint64_t i)
{
	return (uint32_t)(mix64(i) % node_count);
}

static void make_edges(void)
{
	to = room((uint64_t)node_count * DEGREE * sizeof(*to));
	for (uint64_t i = 0; i < (uint64_t)node_count * DEGREE; i++)
		to[i] = edge(i);
}

static uint64_t check(char *text, size_t size)
{
	for (uint64_t i = 0; i < (uint64_t)node_count * DEGREE; i++)
		wrong += to[i] != edge(i);
	snprintf(text, size, "%u nodes, %llu passes", node_count, (unsigned long long)passes);
	return wrong;
}

/* ---- breadth first ---- */

static uint32_t *distance, *queue;

static void search_prepare(size_t bytes)
{
	node_count = (uint32_t)(bytes / (DEGREE * sizeof(*to) + sizeof(*distance) + sizeof(*queue)));
	make_edges();
	distance = room(node_count * sizeof(*distance));
	queue = room(node_count * sizeof(*queue));
}

static uint64_t search(uint32_t root)
{
	uint64_t head = 0, tail = 1, sum = 0;

	for (uint32_t i = 0; i < node_count; i += 4096) {
		memset(distance + i, 0xff, (node_count - i < 4096 ? node_count - i : 4096) * sizeof(*distance));
		meter_add(0);
	}
	distance[root] = 0;
	queue[0] = root;
	while (head < tail) {
		uint32_t from = queue[head++];
		const uint32_t *next = to + (uint64_t)from * DEGREE;
		for (int e = 0; e < DEGREE; e++)
			if (distance[next[e]] == UINT32_MAX) {
				distance[next[e]] = distance[from] + 1;
				sum += mix64(next[e]) * distance[next[e]];
				queue[tail++] = next[e];
			}
		if (head % BATCH == 0)
			meter_add(BATCH * DEGREE);
	}
	return sum + tail;
}

static void search_run(void)
{
	uint64_t first[ROOTS] = {0};

	for (;; passes++) {
		uint32_t n = passes % ROOTS;
		uint64_t sum = search(n * (node_count / ROOTS));
		if (passes < ROOTS)
			first[n] = sum;
		wrong += sum != first[n];
	}
}

const struct kernel kernel_bfs = {"bfs", search_prepare, search_run, check};

/* ---- ranks ---- */

static double *rank, *next_rank;

static void rank_prepare(size_t bytes)
{
	node_count = (uint32_t)(bytes / (DEGREE * sizeof(*to) + sizeof(*rank) + sizeof(*next_rank)));
	make_edges();
	rank = room(node_count * sizeof(*rank));
	next_rank = room(node_count * sizeof(*next_rank));
}

static void iterate(void)
{
	for (uint32_t i = 0; i < node_count; i++) {
		next_rank[i] = 0.15 / node_count;
		if (i % 4096 == 0)
			meter_add(0);
	}
	for (uint32_t i = 0; i < node_count; i++) {
		double share = 0.85 / DEGREE * rank[i];
		for (int e = 0; e < DEGREE; e++)
			next_rank[to[(uint64_t)i * DEGREE + (uint64_t)e]] += share;
		if (i % BATCH == BATCH - 1)
			meter_add(BATCH * DEGREE);
	}
	double *t = rank;
	rank = next_rank;
	next_rank = t;
}

static void rank_run(void)
{
	double first = 0;

	for (;; passes++) {
		double sum = 0, weighed = 0;
		for (uint32_t i = 0; i < node_count; i++)
			rank[i] = 1.0 / node_count;
		for (int i = 0; i < ITERATIONS; i++)
			iterate();
		for (uint32_t i = 0; i < node_count; i++) {
			sum += rank[i];
			weighed += rank[i] * (double)(i % 1000);
		}
		if (passes == 0)
			first = weighed;
		wrong += fabs(sum - 1) > 1e-6 || weighed != first;
	}
}

const struct kernel kernel_pagerank = {"pagerank", rank_prepare, rank_run, check};
