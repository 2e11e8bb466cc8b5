/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash join: a table is made of one relation's rows, all over again for each pass, and probed with the rows of
 * the other. An operation is a row put in or probed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define BATCH 1024

struct row {
	uint64_t key, value;
};

static struct row *build, *table, *probe;
static uint64_t row_count, table_mask, expected, passes, wrong;

static void table_put(const struct row *r)
{
	uint64_t at = mix64(r->key) & table_mask;

	while (table[at].key)
		at = (at + 1) & table_mask;
	table[at] = *r;
}

static const struct row *table_get(uint64_t key)
{
	uint64_t at = mix64(key) & table_mask;

	while (table[at].key && table[at].key != key)
		at = (at + 1) & table_mask;
	return table[at].key ? &table[at] : NULL;
}

/* Three parts: table as large as the largest power of two in half, and the relations in what is left. */
static void prepare(size_t bytes)
{
	uint64_t slots = 1;

	while (slots * 2 * sizeof(struct row) <= bytes / 2)
		slots *= 2;
	table_mask = slots - 1;
	row_count = (bytes - slots * sizeof(struct row)) / (2 * sizeof(struct row));
	if (row_count > slots * 3 / 4)
		row_count = slots * 3 / 4;
	table = room(slots * sizeof(struct row));
	build = room(row_count * sizeof(struct row));
	probe = room(row_count * sizeof(struct row));
	for (uint64_t i = 0; i < row_count; i++) {
		build[i] = (struct row){mix64(i + 1) | 1ull << 63, mix64(~i)};
		uint64_t match = mix64(i ^ 0x5555) % row_count;
		probe[i] = (struct row){mix64(match + 1) | 1ull << 63, mix64(i * 3)};
		expected += mix64(~match) ^ probe[i].value;
	}
}

static void run(void)
{
	for (;;) {
		uint64_t sum = 0;
		for (uint64_t i = 0; i <= table_mask; i += BATCH) {
			memset(table + i, 0, BATCH * sizeof(*table));
			meter_add(0);
		}
		for (uint64_t i = 0; i < row_count; i++) {
			table_put(&build[i]);
			if (i % BATCH == BATCH - 1)
				meter_add(BATCH);
		}
		for (uint64_t i = 0; i < row_count; i++) {
			const struct row *match = table_get(probe[i].key);
			sum += match ? match->value ^ probe[i].value : 1;
			if (i % BATCH == BATCH - 1)
				meter_add(BATCH);
		}
		passes++;
		wrong += sum != expected;
	}
}

static uint64_t check(char *text, size_t size)
{
	for (uint64_t i = 0; i < row_count; i++)
		wrong += build[i].value != mix64(~i) || probe[i].value != mix64(i * 3);
	snprintf(text, size, "%llu passes", (unsigned long long)passes);
	return wrong;
}

const struct kernel kernel_hash_join = {"hash-join", prepare, run, check};
