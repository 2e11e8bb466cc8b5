/* SPDX-License-Identifier: Apache-2.0
 *
 * With the stop word set, every kind of long-running code reaches a safepoint
 * at least once in STRIP steps, and computes the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/layout.h"

#define NOINLINE __attribute__((noinline))
#define STRIP 1024
#define STEPS 1000000L

extern volatile uint64_t __optmig_native_stops;

struct node {
	struct node *next;
	long value;
};

static struct node *nodes;
static unsigned char *bytes;

NOINLINE static long count_up(long n)
{
	unsigned long x = 1;

	for (long i = 0; i < n; i++)
		x = x * 6364136223846793005u + (unsigned long)i;
	return (long)x;
}
NOINLINE static long fill(long n)
{
	for (long i = 0; i < n; i++)
		bytes[i] = (unsigned char)(i * 7);
	return bytes[n / 2];
}
NOINLINE static long sum(long n)
{
	long x = 0;

	for (long i = 0; i < n; i++)
		x += bytes[i];
	return x;
}
NOINLINE static long walk(long n)
{
	long x = 0;

	for (struct node *at = nodes; n--; at = at->next)
		x += at->value++;
	return x;
}
NOINLINE static long nest(long n)
{
	long x = 0;

	for (long i = 0; i < n / 10; i++)
		for (long j = 0; j < 10; j++)
			x += bytes[(i * j) & 4095];
	return x;
}
NOINLINE static long leaf(long x)
{
	return x * 3 + 1;
}
NOINLINE static long call_leaf(long n)
{
	long (*volatile pointer)(long) = leaf;
	long x = 0;

	for (long i = 0; i < n; i++)
		x = pointer(x);
	return x;
}
NOINLINE static long recurse(long n)
{
	if (n <= 0)
		return 1;
	return recurse(n - 1) * 3 + recurse(-1);
}
NOINLINE static long recurse_often(long n)
{
	long x = 0;

	for (long i = 0; i < n / 1000; i++)
		x += recurse(1000);
	return x;
}
NOINLINE static long jump_about(long n)
{
	long i = 0, x = 0;

	if (n & 1)
		goto middle;
again:
	x += i;
middle:
	x ^= i;
	if (++i < n)
		goto again;
	return x;
}
NOINLINE static long set_memory(long n)
{
	memset(bytes, 5, (size_t)n);
	memmove(bytes + 1, bytes, (size_t)n - 1);
	return bytes[n - 1];
}
NOINLINE static long scan_string(long n)
{
	memset(bytes, 'x', (size_t)n);
	bytes[n - 1] = 0;
	return (long)strlen((char *)bytes);
}

static const struct {
	const char *name;
	long (*run)(long);
	long steps_per_stop; /* at most so many of STEPS pass between two stops */
} kernels[] = {
    {"count_up", count_up, STRIP},
    {"fill", fill, 64 * STRIP}, /* vectorized and unrolled: many steps are one iteration */
    {"sum", sum, 64 * STRIP},
    {"walk", walk, STRIP},
    {"nest", nest, STRIP},
    {"call_leaf", call_leaf, STRIP},
    {"recurse", recurse_often, STRIP},
    {"jump_about", jump_about, STRIP},
    {"set_memory", set_memory, 128 << 10},
    {"scan_string", scan_string, 256 << 10},
};

int main(void)
{
	volatile uint8_t *stop_word = (volatile uint8_t *)STOP_WORD;
	int failed = 0;

	bytes = calloc(1, STEPS);
	nodes = calloc(1000, sizeof(*nodes));
	for (int i = 0; i < 1000; i++)
		nodes[i] = (struct node){&nodes[(i * 7 + 1) % 1000], i};
	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++) {
		for (int k = 0; k < 1000; k++)
			nodes[k].value = k;
		long expected = kernels[i].run(STEPS);

		for (int k = 0; k < 1000; k++)
			nodes[k].value = k;
		__optmig_native_stops = 0;
		*stop_word = 1;
		long got = kernels[i].run(STEPS);
		*stop_word = 0;
		uint64_t stops = __optmig_native_stops;
		uint64_t least = (uint64_t)(STEPS / kernels[i].steps_per_stop);

		printf("%-12s %7lu stops (at least %lu)\n", kernels[i].name, stops, least);
		if (stops < least) {
			printf("%s: too few stops\n", kernels[i].name);
			failed = 1;
		}
		if (got != expected) {
			printf("%s: computed %ld instead of %ld when stopped\n", kernels[i].name, got,
			       expected);
			failed = 1;
		}
	}
	return failed;
}
