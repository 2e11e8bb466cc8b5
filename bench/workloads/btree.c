/* SPDX-License-Identifier: Apache-2.0
 *
 * A B+tree in memory: half of the operations look a key up, the rest write a value anew; one in twenty puts in a
 * key that was not there, until there is no room. Nodes are pages.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/kernels.h"
#include "bench/workloads/meter.h"

#define NODE 4096
#define VALUE 56
#define LEAF_MAX 63
#define INNER_MAX 254

struct entry {
	uint64_t key;
	uint64_t version;
	uint8_t noise[VALUE - 8];
};

struct leaf {
	uint32_t is_inner, count;
	struct leaf *next;
	struct entry entry[LEAF_MAX];
	uint8_t spare[NODE - 16 - LEAF_MAX * sizeof(struct entry)];
};

/* child[i] holds the keys from key[i] on; key[0] is not looked at */
struct inner {
	uint32_t is_inner, count;
	uint64_t key[INNER_MAX];
	void *child[INNER_MAX];
};
_Static_assert(sizeof(struct leaf) == NODE && sizeof(struct inner) <= NODE, "nodes are pages");

static char *nodes;
static uint64_t node_count, node_next;
static struct inner *root;
static struct leaf *first_leaf;
static uint64_t key_count, random_state = 7, wrong;

static void *node_new(void)
{
	return nodes + NODE * node_next++;
}

static void value_set(struct entry *e, uint64_t version)
{
	struct {
		uint8_t bytes[64];
	} fresh;

	noise_fill(e->key << 20 ^ version, &fresh, sizeof(fresh));
	e->version = version;
	memcpy(e->noise, &fresh, sizeof(e->noise));
}

static bool value_is_right(const struct entry *e)
{
	uint8_t fresh[64];

	noise_fill(e->key << 20 ^ e->version, fresh, sizeof(fresh));
	return !memcmp(e->noise, fresh, sizeof(e->noise));
}

/* The last child whose keys may include this one. */
static uint32_t child_of(const struct inner *n, uint64_t key)
{
	uint32_t low = 0, high = n->count;

	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;
		if (n->key[middle] <= key)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static uint32_t place_in(const struct leaf *l, uint64_t key)
{
	uint32_t low = 0, high = l->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (l->entry[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_full(const void *node)
{
	const struct leaf *l = node;

	return l->count == (l->is_inner ? INNER_MAX : LEAF_MAX);
}

/* Splits the full child i of n, which is not full. Ascending keys leave full leaves behind. */
static void split(struct inner *n, uint32_t i)
{
	void *right = node_new();
	struct leaf *full = n->child[i];
	uint64_t key;

	if (full->is_inner) {
		struct inner *a = n->child[i], *b = right;
		uint32_t keep = INNER_MAX / 2;
		*b = (struct inner){.is_inner = 1, .count = a->count - keep};
		memcpy(b->key, a->key + keep, b->count * sizeof(*b->key));
		memcpy(b->child, a->child + keep, b->count * sizeof(*b->child));
		a->count = keep;
		key = b->key[0];
	} else {
		struct leaf *b = right;
		uint32_t keep = full->next ? LEAF_MAX / 2 : LEAF_MAX - 1;
		b->count = full->count - keep;
		b->next = full->next;
		memcpy(b->entry, full->entry + keep, b->count * sizeof(*b->entry));
		full->next = b;
		full->count = keep;
		key = b->entry[0].key;
	}
	memmove(n->key + i + 2, n->key + i + 1, (n->count - i - 1) * sizeof(*n->key));
	memmove(n->child + i + 2, n->child + i + 1, (n->count - i - 1) * sizeof(*n->child));
	n->key[i + 1] = key;
	n->child[i + 1] = right;
	n->count++;
}

/* The entry with that key; NULL if there is none and it is not to be put in. */
static struct entry *find(uint64_t key, bool put)
{
	void *at = root;

	if (put && is_full(root)) {
		struct inner *above = node_new();
		*above = (struct inner){.is_inner = 1, .count = 1, .child = {root}};
		root = above;
		split(root, 0);
		at = root;
	}
	while (*(uint32_t *)at) {
		struct inner *n = at;
		uint32_t i = child_of(n, key);
		if (put && is_full(n->child[i])) {
			split(n, i);
			i = child_of(n, key);
		}
		at = n->child[i];
	}
	struct leaf *l = at;
	uint32_t i = place_in(l, key);
	if (i < l->count && l->entry[i].key == key)
		return &l->entry[i];
	if (!put)
		return NULL;
	memmove(l->entry + i + 1, l->entry + i, (l->count - i) * sizeof(*l->entry));
	l->count++;
	l->entry[i].key = key;
	value_set(&l->entry[i], 0);
	key_count++;
	return &l->entry[i];
}

static bool has_room(void)
{
	return node_next + 8 < node_count;
}

/* Even keys fill nine tenths; odd ones come later. */
static uint64_t even_count;

static void prepare(size_t bytes)
{
	node_count = bytes / NODE;
	nodes = room(node_count * NODE);
	root = node_new();
	first_leaf = node_new();
	*root = (struct inner){.is_inner = 1, .count = 1, .child = {first_leaf}};
	while (node_next < node_count * 9 / 10)
		find(2 * even_count++, true);
}

static void run(void)
{
	for (;;) {
		for (int i = 0; i < 16; i++) {
			uint64_t x = mix64(random_state++), key = 2 * ((x >> 16) % even_count);
			if (x % 20 == 0 && has_room())
				key++;
			struct entry *e = find(key, key & 1);
			if (!e || !value_is_right(e))
				wrong++;
			else if (x & 256)
				value_set(e, e->version + 1);
		}
		meter_add(16);
	}
}

static uint64_t check(char *text, size_t size)
{
	uint64_t seen = 0, next = 0;

	for (const struct leaf *l = first_leaf; l; l = l->next)
		for (uint32_t i = 0; i < l->count; i++, seen++) {
			wrong += l->entry[i].key < next || !value_is_right(&l->entry[i]);
			next = l->entry[i].key + 1;
		}
	wrong += seen != key_count;
	snprintf(text, size, "%llu keys in order", (unsigned long long)seen);
	return wrong;
}

const struct kernel kernel_btree = {"btree", prepare, run, check};
