/* SPDX-License-Identifier: Apache-2.0
 *
 * Small programs with one habit of writing each, for what marks and safepoints
 * cost. usage: kernels NAME; prints a checksum.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

static uint64_t seed = 88172645463325252u;

static inline uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void *room(size_t size)
{
	void *p = malloc(size);

	if (!p)
		exit(1);
	memset(p, 1, size);
	return p;
}

/* ---- arrays ---- */

NOINLINE static void triad(double *a, const double *b, const double *c, long n)
{
	for (long i = 0; i < n; i++)
		a[i] = b[i] + 3.0 * c[i];
}

static uint64_t run_triad(void)
{
	long n = 2000;
	double *a = room(n * sizeof(*a)), *b = room(n * sizeof(*b)), *c = room(n * sizeof(*c));

	for (int i = 0; i < 1200000; i++)
		triad(a, b, c, n);
	return (uint64_t)a[7];
}

NOINLINE static void put_bytes(volatile unsigned char *p, long n)
{
	for (long i = 0; i < n; i++)
		p[i] = (unsigned char)i;
}

static uint64_t run_bytes(void)
{
	long n = 100000;
	unsigned char *p = room(n);

	for (int i = 0; i < 24000; i++)
		put_bytes(p, n);
	return p[n - 1];
}

NOINLINE static void short_rows(uint32_t *p, long rows, const uint8_t *length)
{
	for (long i = 0; i < rows; i++)
		for (int k = 0; k < length[i & 255]; k++)
			p[i * 8 + k] = (uint32_t)(i ^ k);
}

static uint64_t run_short_loops(void)
{
	long rows = 10000;
	uint32_t *p = room((rows + 1) * 8 * sizeof(*p));
	uint8_t length[256];

	for (int i = 0; i < 256; i++)
		length[i] = random64() % 6;
	for (int i = 0; i < 40000; i++)
		short_rows(p, rows, length);
	return p[77];
}

/* ---- sorting ---- */

NOINLINE static void quick_sort(uint32_t *a, long low, long high)
{
	while (low < high) {
		uint32_t pivot = a[(low + high) / 2];
		long i = low, j = high;

		while (i <= j) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i <= j) {
				uint32_t t = a[i];

				a[i++] = a[j];
				a[j--] = t;
			}
		}
		if (j - low < high - i) {
			quick_sort(a, low, j);
			low = i;
		} else {
			quick_sort(a, i, high);
			high = j;
		}
	}
}

static uint64_t run_sort(void)
{
	long n = 5000000;
	uint32_t *a = room(n * sizeof(*a));

	for (long i = 0; i < n; i++)
		a[i] = (uint32_t)random64();
	quick_sort(a, 0, n - 1);
	return a[n / 2];
}

/* ---- graphs ---- */

struct graph {
	uint32_t count;
	uint64_t *first; /* edges of node i: to[first[i]] .. to[first[i + 1]] */
	uint32_t *to;
};

static struct graph make_graph(uint32_t count, unsigned degree)
{
	struct graph g = {count, room((count + 1) * sizeof(uint64_t)),
			  room((uint64_t)count * degree * sizeof(uint32_t))};

	for (uint64_t i = 0; i <= count; i++)
		g.first[i] = i * degree;
	for (uint64_t i = 0; i < (uint64_t)count * degree; i++)
		g.to[i] = (uint32_t)(random64() % count);
	return g;
}

NOINLINE static uint64_t search(const struct graph *g, uint32_t *distance, uint32_t *queue)
{
	uint64_t head = 0, tail = 1;

	memset(distance, 0xff, g->count * sizeof(*distance));
	distance[0] = 0;
	queue[0] = 0;
	while (head < tail) {
		uint32_t from = queue[head++];

		for (uint64_t e = g->first[from]; e < g->first[from + 1]; e++)
			if (distance[g->to[e]] == UINT32_MAX) {
				distance[g->to[e]] = distance[from] + 1;
				queue[tail++] = g->to[e];
			}
	}
	return tail + distance[g->count - 1];
}

static uint64_t run_bfs(void)
{
	struct graph g = make_graph(300000, 12);
	uint32_t *distance = room(g.count * 4ul), *queue = room(g.count * 4ul);
	uint64_t sum = 0;

	for (int i = 0; i < 12; i++)
		sum += search(&g, distance, queue);
	return sum;
}

NOINLINE static void push_ranks(const struct graph *g, const double *rank, double *next)
{
	for (uint32_t i = 0; i < g->count; i++)
		next[i] = 0.15 / g->count;
	for (uint32_t i = 0; i < g->count; i++) {
		double share = 0.85 * rank[i] / (double)(g->first[i + 1] - g->first[i]);

		for (uint64_t e = g->first[i]; e < g->first[i + 1]; e++)
			next[g->to[e]] += share;
	}
}

static uint64_t run_pagerank(void)
{
	struct graph g = make_graph(300000, 12);
	double *rank = room(g.count * 8ul), *next = room(g.count * 8ul);

	for (uint32_t i = 0; i < g.count; i++)
		rank[i] = 1.0 / g.count;
	for (int i = 0; i < 60; i++) {
		push_ranks(&g, rank, next);
		double *t = rank;
		rank = next;
		next = t;
	}
	return (uint64_t)(rank[1] * 1e18);
}

/* ---- pointers ---- */

struct object {
	struct object *next;
	uint64_t a, b, c, d;
};

NOINLINE static uint64_t visit(struct object *at, long n)
{
	for (long i = 0; i < n; i++) {
		at->a += (uint64_t)i;
		at->b ^= at->a;
		at->c = at->b + 1;
		at->d++;
		at = at->next;
	}
	return at->a;
}

static uint64_t run_list(void)
{
	long n = 4000;
	struct object *objects = room(n * sizeof(*objects));

	for (long i = 0; i < n; i++)
		objects[i].next = &objects[(i * 7919 + 1) % n];
	return visit(objects, 400000000);
}

struct tree {
	struct tree *left, *right;
	uint64_t key, value;
};

NOINLINE static struct tree *insert(struct tree **at, uint64_t key)
{
	while (*at && (*at)->key != key)
		at = key < (*at)->key ? &(*at)->left : &(*at)->right;
	if (!*at) {
		*at = malloc(sizeof(**at));
		**at = (struct tree){.key = key};
	}
	(*at)->value++;
	return *at;
}

static void release(struct tree *t)
{
	if (!t)
		return;
	release(t->left);
	release(t->right);
	free(t);
}

static uint64_t run_tree(void)
{
	uint64_t sum = 0;

	for (int round = 0; round < 3; round++) {
		struct tree *root = NULL;

		for (int i = 0; i < 600000; i++)
			sum += insert(&root, random64() % 400000)->value;
		release(root);
	}
	return sum;
}

NOINLINE static void hash_add(uint64_t (*table)[2], uint64_t mask, uint64_t key, uint64_t value)
{
	uint64_t at = (key * 0x9e3779b97f4a7c15u) >> 20 & mask;

	while (table[at][0] && table[at][0] != key)
		at = (at + 1) & mask;
	table[at][0] = key;
	table[at][1] += value;
}

static uint64_t run_hash(void)
{
	uint64_t size = 1 << 16;
	uint64_t(*table)[2] = calloc(size, sizeof(*table));

	for (uint64_t i = 0; i < 100000000; i++)
		hash_add(table, size - 1, random64() % 30000 + 1, i);
	return table[5][1];
}

/* ---- text ---- */

static uint64_t run_format(void)
{
	char line[128];
	uint64_t sum = 0;

	for (int i = 0; i < 5000000; i++) {
		snprintf(line, sizeof(line), "%d:%s:%x", i, "a word", i * 7);
		sum += strlen(line) + (unsigned char)line[i % 8];
	}
	return sum;
}

static const struct {
	const char *name;
	uint64_t (*run)(void);
} kernels[] = {
    {"triad", run_triad},   {"bytes", run_bytes}, {"short_loops", run_short_loops},
    {"sort", run_sort},	    {"bfs", run_bfs},	  {"pagerank", run_pagerank},
    {"list", run_list},	    {"tree", run_tree},	  {"hash", run_hash},
    {"format", run_format},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++) {
		if (argc < 2)
			puts(kernels[i].name);
		else if (!strcmp(argv[1], kernels[i].name))
			return printf("%llx\n", (unsigned long long)kernels[i].run()) < 0;
	}
	return argc >= 2;
}
