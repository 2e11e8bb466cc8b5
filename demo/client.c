/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/client.h"
#include "demo/load.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_SIZE_MIN 64
#define VALUE_SIZE_SPREAD 1400
#define LIST_LENGTH_MAX 200
#define TEXT_MAX 64

enum command {
	COMMAND_SET,
	COMMAND_GET,
	COMMAND_INCR,
	COMMAND_PUSH,
	COMMAND_POP,
	/* the audit's */
	AUDIT_VALUE,
	AUDIT_COUNTER,
	AUDIT_LIST,
	AUDIT_ITEM,
};

struct expect {
	enum command command;
	unsigned key;
	uint64_t number; /* version of the value, count, length or item */
};

/* A number the server holds: between what it acknowledged and what it was sent. */
struct bounds {
	uint64_t acked, sent;
};

struct client {
	unsigned id, key_count;
	uint64_t random, acknowledged;
	struct bounds *version; /* of each key's value; 0: never written */
	struct bounds counter, pushed, popped;

	struct expect *ring; /* outstanding replies, in order */
	unsigned ring_size;
	uint64_t first, next;

	uint64_t items_left; /* of the array an audit is reading */
};

struct client *client_create(unsigned id, unsigned key_count, unsigned depth_max)
{
	struct client *c = calloc(1, sizeof(*c));
	unsigned ring_size = key_count + 2 > depth_max ? key_count + 2 : depth_max;

	if (c) {
		c->version = calloc(key_count, sizeof(*c->version));
		c->ring = calloc(ring_size, sizeof(*c->ring));
	}
	if (!c || !c->version || !c->ring)
		errx(1, "out of memory");
	c->id = id;
	c->random = id + 1;
	c->key_count = key_count;
	c->ring_size = ring_size;
	return c;
}

void client_destroy(struct client *c)
{
	free(c->version);
	free(c->ring);
	free(c);
}

unsigned client_outstanding(const struct client *c)
{
	return (unsigned)(c->next - c->first) + (unsigned)c->items_left;
}

uint64_t client_acknowledged(const struct client *c)
{
	return c->acknowledged;
}

/* Differs in length and in every byte from version to version, and says itself whose it is. */
static size_t make_value(const struct client *c, unsigned key, uint64_t version, char *out)
{
	uint64_t seed = ((uint64_t)c->id << 48) ^ ((uint64_t)key << 32) ^ version;
	size_t size = VALUE_SIZE_MIN + (seed * 0x9e3779b97f4a7c15u >> 32) % VALUE_SIZE_SPREAD;

	load_noise(seed, out, size);
	memset(out, ' ', VALUE_SIZE_MIN);
	int n = snprintf(out, VALUE_SIZE_MIN, "connection %u key %u version %llu", c->id, key,
			 (unsigned long long)version);
	out[n] = ' ';
	return size;
}

static uint64_t next_random(struct client *c)
{
	c->random = c->random * 6364136223846793005u + 1442695040888963407u;
	return c->random >> 33;
}

static void expect(struct client *c, enum command command, unsigned key, uint64_t number)
{
	c->ring[c->next++ % c->ring_size] = (struct expect){command, key, number};
}

static struct resp_arg format(char text[TEXT_MAX], const char *pattern, unsigned id, uint64_t number)
{
	return (struct resp_arg){text, (size_t)snprintf(text, TEXT_MAX, pattern, id, (unsigned long long)number)};
}

static struct resp_arg word(const char *text)
{
	return (struct resp_arg){text, strlen(text)};
}

#define KEY_PATTERN "c%u:%llu"
#define COUNTER_PATTERN "c%u:counter"
#define LIST_PATTERN "c%u:list"
#define ITEM_PATTERN "%u-item-%llu"

static void send_set(struct client *c, struct resp_buffer *out, unsigned key)
{
	char name[TEXT_MAX], value[VALUE_SIZE_MIN + VALUE_SIZE_SPREAD];
	uint64_t version = ++c->version[key].sent;
	size_t size = make_value(c, key, version, value);

	resp_command(out, 3, (struct resp_arg[]){word("SET"), format(name, KEY_PATTERN, c->id, key), {value, size}});
	expect(c, COMMAND_SET, key, version);
}

static void send_get(struct client *c, struct resp_buffer *out, unsigned key, enum command command)
{
	char name[TEXT_MAX];

	resp_command(out, 2, (struct resp_arg[]){word("GET"), format(name, KEY_PATTERN, c->id, key)});
	expect(c, command, key, c->version[key].sent);
}

static void send_push(struct client *c, struct resp_buffer *out)
{
	char name[TEXT_MAX], item[TEXT_MAX];
	uint64_t number = c->pushed.sent++;

	resp_command(out, 3, (struct resp_arg[]){word("LPUSH"), format(name, LIST_PATTERN, c->id, 0),
						 format(item, ITEM_PATTERN, c->id, number)});
	expect(c, COMMAND_PUSH, 0, c->pushed.sent - c->popped.sent);
}

void client_command(struct client *c, struct resp_buffer *out)
{
	char name[TEXT_MAX];
	uint64_t dice = next_random(c) % 100;
	unsigned key = (unsigned)(next_random(c) % c->key_count);
	uint64_t length = c->pushed.sent - c->popped.sent;

	if (dice < 40) {
		send_set(c, out, key);
	} else if (dice < 70) {
		send_get(c, out, key, COMMAND_GET);
	} else if (dice < 85) {
		resp_command(out, 2, (struct resp_arg[]){word("INCR"), format(name, COUNTER_PATTERN, c->id, 0)});
		expect(c, COMMAND_INCR, 0, ++c->counter.sent);
	} else if (length == 0 || (length < LIST_LENGTH_MAX && dice < 93)) {
		send_push(c, out);
	} else {
		resp_command(out, 2, (struct resp_arg[]){word("RPOP"), format(name, LIST_PATTERN, c->id, 0)});
		expect(c, COMMAND_POP, 0, c->popped.sent++);
	}
}

void client_audit(struct client *c, struct resp_buffer *out)
{
	char name[TEXT_MAX];

	for (unsigned key = 0; key < c->key_count; key++)
		send_get(c, out, key, AUDIT_VALUE);
	resp_command(out, 2, (struct resp_arg[]){word("GET"), format(name, COUNTER_PATTERN, c->id, 0)});
	expect(c, AUDIT_COUNTER, 0, 0);
	resp_command(out, 4, (struct resp_arg[]){word("LRANGE"), format(name, LIST_PATTERN, c->id, 0), word("0"),
						 word("-1")});
	expect(c, AUDIT_LIST, 0, 0);
}

void client_lost(struct client *c)
{
	c->first = c->next;
	c->items_left = 0;
}

static bool is_value(const struct client *c, const struct resp_reply *r, unsigned key, uint64_t version)
{
	char value[VALUE_SIZE_MIN + VALUE_SIZE_SPREAD];

	if (r->type != '$' || version == 0)
		return r->type == '$' && r->is_nil && version == 0;
	size_t size = make_value(c, key, version, value);
	return r->size == size && !memcmp(r->text, value, size);
}

static bool is_item(const struct client *c, const struct resp_reply *r, uint64_t number)
{
	char text[TEXT_MAX];
	struct resp_arg item = format(text, ITEM_PATTERN, c->id, number);

	return r->type == '$' && !r->is_nil && r->size == item.size && !memcmp(r->text, text, item.size);
}

/* The server holds one of the versions it may hold; what it holds is what later replies follow from. */
static bool audit_value(struct client *c, const struct resp_reply *r, unsigned key)
{
	struct bounds *b = &c->version[key];

	for (uint64_t version = b->acked; version <= b->sent; version++) {
		if (!is_value(c, r, key, version))
			continue;
		b->acked = b->sent = version;
		return true;
	}
	return false;
}

static bool audit_counter(struct client *c, const struct resp_reply *r)
{
	uint64_t count = 0;

	for (size_t i = 0; r->type == '$' && !r->is_nil && i < r->size; i++)
		count = count * 10 + (uint64_t)(r->text[i] - '0');
	bool is_right = r->type == '$' && count >= c->counter.acked && count <= c->counter.sent;
	c->counter.acked = c->counter.sent = count;
	return is_right;
}

static bool audit_list(struct client *c, const struct resp_reply *r)
{
	uint64_t length = (uint64_t)r->integer;
	uint64_t least = c->pushed.acked > c->popped.sent ? c->pushed.acked - c->popped.sent : 0;

	if (r->type != '*')
		return false;
	c->items_left = length;
	if (length == 0)
		c->pushed.sent = c->pushed.acked = c->popped.acked = c->popped.sent;
	return length >= least && length <= c->pushed.sent - c->popped.acked;
}

/* Newest first: the first item says how far pushes went, the last how far pops did. */
static bool audit_item(struct client *c, const struct resp_reply *r)
{
	struct bounds *pushed = &c->pushed, *popped = &c->popped;
	bool is_right = false;

	if (pushed->acked != pushed->sent || popped->acked != popped->sent) {
		/* the first item read after a loss fixes the bounds */
		for (uint64_t n = pushed->acked; n <= pushed->sent && !is_right; n++) {
			is_right = n > 0 && is_item(c, r, n - 1);
			if (is_right) {
				pushed->acked = pushed->sent = n;
				popped->acked = popped->sent = n - c->items_left;
			}
		}
	} else {
		is_right = is_item(c, r, popped->sent + c->items_left - 1);
	}
	c->items_left--;
	return is_right;
}

static bool check_reply(struct client *c, const struct resp_reply *r, const struct expect *e)
{
	switch (e->command) {
	case COMMAND_SET:
		c->version[e->key].acked = e->number;
		c->acknowledged++;
		return r->type == '+';
	case COMMAND_GET:
		return is_value(c, r, e->key, e->number);
	case COMMAND_INCR:
		c->counter.acked = e->number;
		c->acknowledged++;
		return r->type == ':' && r->integer == (long long)e->number;
	case COMMAND_PUSH:
		c->pushed.acked++;
		c->acknowledged++;
		return r->type == ':' && r->integer == (long long)e->number;
	case COMMAND_POP:
		c->popped.acked++;
		c->acknowledged++;
		return is_item(c, r, e->number);
	case AUDIT_VALUE:
		return audit_value(c, r, e->key);
	case AUDIT_COUNTER:
		return audit_counter(c, r);
	case AUDIT_LIST:
		return audit_list(c, r);
	case AUDIT_ITEM:
		return audit_item(c, r);
	}
	return false;
}

bool client_reply(struct client *c, const struct resp_reply *reply, const char **why)
{
	static const char *const names[] = {
		"SET",	       "GET",		"INCR",		"LPUSH",     "RPOP",
		"GET (audit)", "GET (counter)", "LRANGE (length)", "LRANGE (item)",
	};
	static char text[256];
	struct expect e = {.command = AUDIT_ITEM};

	*why = text;
	if (!c->items_left) {
		if (c->first == c->next) {
			snprintf(text, sizeof(text), "connection %u: a reply to nothing", c->id);
			return false;
		}
		e = c->ring[c->first++ % c->ring_size];
	}
	if (check_reply(c, reply, &e))
		return true;
	snprintf(text, sizeof(text), "connection %u: %s key %u, expected %llu, got '%c' %.*s", c->id,
		 names[e.command], e.key, (unsigned long long)e.number, reply->type,
		 (int)(reply->size < 80 ? reply->size : 80), reply->is_nil ? "" : reply->text);
	return false;
}
