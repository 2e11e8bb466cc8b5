/* SPDX-License-Identifier: Apache-2.0
 *
 * memcached's text protocol: values of many sizes, counters, compare-and-swap,
 * expiry by its own clock, a connection that says little.
 */
#include "tests/servers/load.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT 64
#define KEYS 50
#define BATCH 8
#define VALUE_MAX 20000

static void expect_line(struct peer *p, const char *what, const char *expected)
{
	char *line = peer_line(p);

	PEER_EXPECT(p, !strcmp(line, expected), "%s answered %.100s, not %s", what, line, expected);
	p->operations++;
}

static void value_of(const struct peer *p, unsigned key, uint64_t version, char out[VALUE_MAX + 1])
{
	uint64_t seed = (uint64_t)p->id << 40 ^ (uint64_t)key << 32 ^ version;
	uint64_t size = (seed * 0x9e3779b97f4a7c15u >> 40) % VALUE_MAX;

	/* most are small, some are not */
	noise_text(seed, out, (version % 8 ? size % 500 : size) + 1);
}

/* VALUE name flags size, the value */
static void expect_value(struct peer *p, const char *name, unsigned flags, const char *value)
{
	char expected[2 * TEXT];
	size_t size = strlen(value);

	snprintf(expected, sizeof(expected), "VALUE %s %u %zu", name, flags, size);
	expect_line(p, "get", expected);
	char *got = peer_take(p, size + 2);
	PEER_EXPECT(p, !memcmp(got, value, size), "%s is %.60s, not %.60s", name, got, value);
}

/* more: what follows the size */
static void put_value(struct peer *p, const char *verb, const char *name, unsigned flags, const char *value,
		      const char *more)
{
	peer_printf(p, "%s %s %u 0 %zu%s\r\n", verb, name, flags, strlen(value), more);
	peer_put(p, value, strlen(value));
	peer_put(p, "\r\n", 2);
}

static void run_values(struct peer *p)
{
	uint64_t version[KEYS] = {0}; /* 0: not there */
	uint64_t next = 1;
	char name[BATCH][TEXT], value[VALUE_MAX + 1];

	while (!load_is_over()) {
		unsigned key[BATCH];

		for (unsigned i = 0; i < BATCH; i++) {
			key[i] = (unsigned)peer_random(p, KEYS);
			snprintf(name[i], sizeof(name[i]), "value-%u-%u", p->id, key[i]);
		}
		/* written, some without being answered, then all read back, in one go */
		for (unsigned i = 0; i < BATCH / 2; i++) {
			version[key[i]] = next++;
			value_of(p, key[i], version[key[i]], value);
			put_value(p, "set", name[i], key[i], value, i % 2 ? " noreply" : "");
		}
		peer_printf(p, "get");
		for (unsigned i = 0; i < BATCH; i++)
			peer_printf(p, " %s", name[i]);
		peer_printf(p, "\r\n");
		bool is_deleted = peer_random(p, 4) == 0;
		if (is_deleted)
			peer_printf(p, "delete %s\r\nget %s\r\n", name[0], name[0]);
		peer_flush(p);
		for (unsigned i = 0; i < BATCH / 2; i += 2)
			expect_line(p, "set", "STORED");
		for (unsigned i = 0; i < BATCH; i++) {
			if (!version[key[i]])
				continue;
			value_of(p, key[i], version[key[i]], value);
			expect_value(p, name[i], key[i], value);
		}
		expect_line(p, "get", "END");
		if (is_deleted) {
			version[key[0]] = 0;
			expect_line(p, "delete", "DELETED");
			expect_line(p, "get", "END");
		}
		load_pause_us(peer_random(p, 15000));
	}
}

static atomic_ullong shared_sent, shared_done;
static atomic_bool shared_exists;

/* One counter of its own, and one that all of these count up together: none may be lost, none counted twice. */
static void run_numbers(struct peer *p)
{
	char name[TEXT], expected[TEXT];
	unsigned long long count = 1000, shared = 0;

	snprintf(name, sizeof(name), "number-%u", p->id);
	put_value(p, "set", name, 0, "1000", "");
	peer_flush(p);
	expect_line(p, "set", "STORED");
	if (p->id == 0) {
		put_value(p, "set", "shared", 0, "0", "");
		peer_flush(p);
		expect_line(p, "set", "STORED");
		shared_exists = true;
	}
	while (!shared_exists)
		load_pause_us(1000);
	while (!load_is_over()) {
		unsigned long long by = peer_random(p, 100);
		bool is_down = by < count && peer_random(p, 2);
		unsigned long long least = shared_done + 1;

		shared_sent++;
		peer_printf(p, "%s %s %llu\r\nincr shared 1\r\n", is_down ? "decr" : "incr", name, by);
		peer_flush(p);
		count = is_down ? count - by : count + by;
		snprintf(expected, sizeof(expected), "%llu", count);
		expect_line(p, "incr", expected);
		unsigned long long now = strtoull(peer_line(p), NULL, 10);
		PEER_EXPECT(p, now >= least && now <= shared_sent && now > shared,
			    "the shared counter is %llu: at least %llu, at most %llu were expected, %llu seen before", now,
			    least, (unsigned long long)shared_sent, shared);
		shared = now;
		shared_done++;
		p->operations++;
		load_pause_us(peer_random(p, 8000));
	}
}

static void run_swaps(struct peer *p)
{
	char name[TEXT], value[VALUE_MAX + 1], expected[TEXT];

	snprintf(name, sizeof(name), "swap-%u", p->id);
	value_of(p, 0, 1, value);
	put_value(p, "set", name, 7, value, "");
	peer_flush(p);
	expect_line(p, "set", "STORED");
	for (uint64_t version = 2; !load_is_over(); version++) {
		unsigned long long unique;
		int end = 0;

		peer_printf(p, "gets %s\r\n", name);
		peer_flush(p);
		char *line = peer_line(p);
		snprintf(expected, sizeof(expected), "VALUE %s 7 %zu ", name, strlen(value));
		PEER_EXPECT(p, !strncmp(line, expected, strlen(expected)) &&
				       sscanf(line + strlen(expected), "%llu%n", &unique, &end) == 1,
			    "gets answered %.100s, not %s", line, expected);
		char *got = peer_take(p, strlen(value) + 2);
		PEER_EXPECT(p, !memcmp(got, value, strlen(value)), "%s is %.60s, not %.60s", name, got, value);
		expect_line(p, "gets", "END");

		load_pause_us(peer_random(p, 10000));
		value_of(p, 0, version, value);
		snprintf(expected, sizeof(expected), " %llu", unique);
		put_value(p, "cas", name, 7, value, expected);
		/* the second time it has changed meanwhile */
		peer_printf(p, "cas %s 7 0 5 %llu\r\nwrong\r\n", name, unique);
		peer_flush(p);
		expect_line(p, "cas", "STORED");
		expect_line(p, "a second cas", "EXISTS");
	}
}

/* memcached counts seconds by a timer of its own, which is late when the program stands still or has no processor: a few
 * seconds either way say nothing. A clock that jumps or stops does. */
static void run_expiry(struct peer *p)
{
	char name[TEXT];

	for (unsigned number = 0; !load_is_over(); number++) {
		snprintf(name, sizeof(name), "mortal-%u-%u", p->id, number);
		peer_printf(p, "set %s 0 6 4\r\nhere\r\n", name);
		peer_flush(p);
		expect_line(p, "set", "STORED");
		uint64_t stored = load_now_us();
		for (bool is_gone = false; !is_gone && !load_is_over();) {
			load_pause_us(peer_random(p, 300000));
			uint64_t before = load_now_us();
			peer_printf(p, "get %s\r\n", name);
			peer_flush(p);
			char *line = peer_line(p);
			is_gone = !strcmp(line, "END");
			if (!is_gone) {
				PEER_EXPECT(p, !strncmp(line, "VALUE", 5), "get answered %.60s", line);
				peer_line(p);
				expect_line(p, "get", "END");
			}
			uint64_t after = load_now_us();
			PEER_EXPECT(p, !is_gone || after - stored > 2500000, "expired after %llu us instead of 6 s",
				    (unsigned long long)(after - stored));
			PEER_EXPECT(p, is_gone || before - stored < 11000000, "still there after %llu us instead of 6 s",
				    (unsigned long long)(before - stored));
			p->operations++;
		}
	}
}

static void run_quiet(struct peer *p)
{
	do {
		peer_printf(p, "version\r\n");
		peer_flush(p);
		char *line = peer_line(p);
		PEER_EXPECT(p, !strncmp(line, "VERSION ", 8), "version answered %.60s", line);
		p->operations++;
		for (unsigned i = 0; i < 40 && !load_is_over(); i++)
			load_pause_us(100000);
	} while (!load_is_over());
}

const struct role memcached_roles[] = {
	{"values", 4, run_values}, {"numbers", 3, run_numbers}, {"swaps", 2, run_swaps},
	{"expiry", 1, run_expiry}, {"quiet", 2, run_quiet},	{0},
};
