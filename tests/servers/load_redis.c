/* SPDX-License-Identifier: Apache-2.0
 *
 * Redis: pipelines, publishers with subscribers, blocking pops with and without
 * a time-out, transactions, Lua. Keys belong to one connection each, or to a
 * pair of which one writes and the other reads.
 */
#include "tests/servers/load.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT 64
#define PIPELINE_DEPTH 32
#define PIPELINE_KEYS 64
#define VALUE_MAX 3000
#define SUBSCRIBERS 3
#define PAIRS 2

/* command(p, "SET", key, value, NULL): appended, not sent yet */
static void __attribute__((sentinel)) command(struct peer *p, ...)
{
	const char *word;
	unsigned count = 0;
	va_list args;

	va_start(args, p);
	while (va_arg(args, const char *))
		count++;
	va_end(args);
	peer_printf(p, "*%u\r\n", count);
	va_start(args, p);
	while ((word = va_arg(args, const char *))) {
		peer_printf(p, "$%zu\r\n", strlen(word));
		peer_put(p, word, strlen(word));
		peer_put(p, "\r\n", 2);
	}
	va_end(args);
}

static void expect_line(struct peer *p, const char *what, const char *expected)
{
	char *line = peer_line(p);

	PEER_EXPECT(p, !strcmp(line, expected), "%s answered %.100s, not %s", what, line, expected);
	p->operations++;
}

static void expect_number(struct peer *p, const char *what, char type, long long number)
{
	char expected[TEXT];

	snprintf(expected, sizeof(expected), "%c%lld", type, number);
	expect_line(p, what, expected);
}

static void expect_text(struct peer *p, const char *what, const char *text)
{
	size_t size = strlen(text);

	expect_number(p, what, '$', (long long)size);
	char *got = peer_take(p, size + 2);
	PEER_EXPECT(p, !memcmp(got, text, size), "%s answered %.60s, not %.60s", what, got, text);
}

static void value_of(const struct peer *p, unsigned key, uint64_t version, char out[VALUE_MAX + 1])
{
	uint64_t seed = (uint64_t)p->id << 40 ^ (uint64_t)key << 32 ^ version;

	noise_text(seed, out, (seed * 0x9e3779b97f4a7c15u >> 40) % VALUE_MAX + 1);
}

/* Many commands under way at once; answers must come in their order. */
static void run_pipeline(struct peer *p)
{
	uint64_t version[PIPELINE_KEYS] = {0}, count = 0;
	char name[TEXT], counter[TEXT], value[VALUE_MAX + 1];
	struct {
		unsigned key;
		uint64_t version; /* 0: a counter; the value is what it counts to */
		bool is_set;
	} sent[PIPELINE_DEPTH];

	snprintf(counter, sizeof(counter), "pipeline:%u:count", p->id);
	while (!load_is_over()) {
		for (unsigned i = 0; i < PIPELINE_DEPTH; i++) {
			unsigned key = (unsigned)peer_random(p, PIPELINE_KEYS), dice = (unsigned)peer_random(p, 3);
			snprintf(name, sizeof(name), "pipeline:%u:%u", p->id, key);
			sent[i].key = key;
			sent[i].is_set = dice == 0 || !version[key];
			sent[i].version = 0;
			if (sent[i].is_set) {
				sent[i].version = ++version[key];
				value_of(p, key, version[key], value);
				command(p, "SET", name, value, NULL);
			} else if (dice == 1) {
				sent[i].version = version[key];
				command(p, "GET", name, NULL);
			} else {
				command(p, "INCR", counter, NULL);
			}
		}
		peer_flush(p);
		for (unsigned i = 0; i < PIPELINE_DEPTH; i++) {
			if (sent[i].is_set) {
				expect_line(p, "SET", "+OK");
			} else if (sent[i].version) {
				value_of(p, sent[i].key, sent[i].version, value);
				expect_text(p, "GET", value);
			} else {
				expect_number(p, "INCR", ':', (long long)++count);
			}
		}
		load_pause_us(peer_random(p, 20000));
	}
}

static atomic_uint subscribed;

static void message_of(uint64_t number, char out[VALUE_MAX + 1])
{
	int n = snprintf(out, TEXT, "%llu ", (unsigned long long)number);

	noise_text(number, out + n, 10 + number % 700);
}

static void run_publisher(struct peer *p)
{
	char message[VALUE_MAX + 1];
	bool is_last = false;

	while (subscribed < SUBSCRIBERS)
		load_pause_us(1000);
	for (uint64_t number = 1; !is_last; number++) {
		is_last = load_is_over();
		message_of(number, message);
		command(p, "PUBLISH", "news", is_last ? "end" : message, NULL);
		peer_flush(p);
		expect_number(p, "PUBLISH", ':', SUBSCRIBERS);
		load_pause_us(peer_random(p, 8000));
	}
}

static void run_subscriber(struct peer *p)
{
	char message[VALUE_MAX + 1];

	p->is_patient = true;
	command(p, "SUBSCRIBE", "news", NULL);
	peer_flush(p);
	expect_line(p, "SUBSCRIBE", "*3");
	expect_text(p, "SUBSCRIBE", "subscribe");
	expect_text(p, "SUBSCRIBE", "news");
	expect_line(p, "SUBSCRIBE", ":1");
	subscribed++;
	for (uint64_t number = 1;; number++) {
		expect_line(p, "a message", "*3");
		expect_text(p, "a message", "message");
		expect_text(p, "a message", "news");
		char *size = peer_line(p);
		if (!strcmp(size, "$3"))
			break;
		message_of(number, message);
		PEER_EXPECT(p, size[0] == '$' && strtoull(size + 1, NULL, 10) == strlen(message),
			    "message %llu has size %s, not %zu", (unsigned long long)number, size, strlen(message));
		char *got = peer_take(p, strlen(message) + 2);
		PEER_EXPECT(p, !memcmp(got, message, strlen(message)), "message %llu is %.60s",
			    (unsigned long long)number, got);
		p->operations++;
	}
}

static void run_pusher(struct peer *p)
{
	char list[TEXT], item[TEXT];
	bool is_last = false;

	snprintf(list, sizeof(list), "queue:%u", p->id);
	for (unsigned long long number = 0; !is_last; number++) {
		is_last = load_is_over();
		snprintf(item, sizeof(item), "item %llu", number);
		command(p, "RPUSH", list, is_last ? "end" : item, NULL);
		peer_flush(p);
		char *line = peer_line(p);
		PEER_EXPECT(p, line[0] == ':' && atoi(line + 1) >= 1, "RPUSH answered %.60s", line);
		p->operations++;
		/* now and then so long that pops run into their time-outs */
		load_pause_us(peer_random(p, 8) ? peer_random(p, 20000) : 300000 + peer_random(p, 500000));
	}
}

/* Items arrive in order and none is missing. A pop that gives up has waited as long as it was told to. */
static void run_popper(struct peer *p)
{
	static const char *const timeouts[] = {"0", "0.05", "0.2", "0.5", "1.5"};
	char list[TEXT], item[TEXT];

	p->is_patient = true;
	snprintf(list, sizeof(list), "queue:%u", p->id);
	for (unsigned long long number = 0;;) {
		const char *timeout = timeouts[peer_random(p, sizeof(timeouts) / sizeof(*timeouts))];
		uint64_t before = load_now_us();
		command(p, "BLPOP", list, timeout, NULL);
		peer_flush(p);
		char *line = peer_line(p);
		if (!strcmp(line, "*-1")) {
			double waited_s = (double)(load_now_us() - before) / 1e6;
			/* Redis counts in whole milliseconds */
			PEER_EXPECT(p, atof(timeout) > 0 && waited_s > atof(timeout) - 0.005,
				    "BLPOP with time-out %s gave up after %f s", timeout, waited_s);
			p->operations++;
			continue;
		}
		PEER_EXPECT(p, !strcmp(line, "*2"), "BLPOP answered %.60s", line);
		expect_text(p, "BLPOP", list);
		snprintf(item, sizeof(item), "item %llu", number++);
		line = peer_line(p);
		if (!strcmp(line, "$3"))
			break;
		PEER_EXPECT(p, line[0] == '$' && strtoull(line + 1, NULL, 10) == strlen(item),
			    "%s has size %s", item, line);
		char *got = peer_take(p, strlen(item) + 2);
		PEER_EXPECT(p, !memcmp(got, item, strlen(item)), "%.30s came, not %s", got, item);
		p->operations++;
	}
}

/* Two counters that only ever change together; now and then somebody else writes in between, and nothing may happen. */
static void run_transaction(struct peer *p)
{
	struct peer other = *p;
	char left[TEXT], right[TEXT];
	long long count = 0;

	other.in = other.out = NULL;
	peer_connect(&other);
	snprintf(left, sizeof(left), "transaction:%u:left", p->id);
	snprintf(right, sizeof(right), "transaction:%u:right", p->id);
	while (!load_is_over()) {
		bool is_disturbed = peer_random(p, 4) == 0, is_discarded = peer_random(p, 4) == 0;

		command(p, "WATCH", left, NULL);
		command(p, "MULTI", NULL);
		command(p, "INCR", left, NULL);
		command(p, "DECR", right, NULL);
		peer_flush(p);
		expect_line(p, "WATCH", "+OK");
		expect_line(p, "MULTI", "+OK");
		expect_line(p, "INCR", "+QUEUED");
		expect_line(p, "DECR", "+QUEUED");
		load_pause_us(peer_random(p, 5000));
		if (is_disturbed) {
			command(&other, "INCRBY", left, "1", NULL);
			command(&other, "INCRBY", right, "-1", NULL);
			peer_flush(&other);
			expect_number(&other, "INCRBY", ':', ++count);
			expect_number(&other, "INCRBY", ':', -count);
		}
		command(p, is_discarded ? "DISCARD" : "EXEC", NULL);
		peer_flush(p);
		if (is_discarded) {
			expect_line(p, "DISCARD", "+OK");
		} else if (is_disturbed) {
			expect_line(p, "EXEC after somebody wrote", "*-1");
		} else {
			expect_line(p, "EXEC", "*2");
			expect_number(p, "EXEC", ':', ++count);
			expect_number(p, "EXEC", ':', -count);
		}
	}
	peer_close(&other);
}

static const char script[] = "local count = redis.call('INCR', KEYS[1])\n"
			     "local sum, parts = 0, {}\n"
			     "for i = 1, tonumber(ARGV[1]) do\n"
			     "  sum = (sum * 31 + i) % 1000003\n"
			     "  if i % 100 == 0 then parts[#parts + 1] = sum end\n"
			     "end\n"
			     "redis.call('SET', KEYS[2], table.concat(parts, ','))\n"
			     "return {count, sum, redis.call('GET', KEYS[2])}\n";

static void run_lua(struct peer *p)
{
	static const unsigned lengths[] = {10, 500, 5000, 100000};
	char counter[TEXT], value[TEXT], length_text[TEXT], hash[TEXT], parts[VALUE_MAX * 10];
	long long count = 0;

	snprintf(counter, sizeof(counter), "lua:%u:count", p->id);
	snprintf(value, sizeof(value), "lua:%u:value", p->id);
	command(p, "SCRIPT", "LOAD", script, NULL);
	peer_flush(p);
	expect_line(p, "SCRIPT LOAD", "$40");
	memcpy(hash, peer_take(p, 42), 40);
	hash[40] = 0;
	while (!load_is_over()) {
		/* the longest take milliseconds: some are under way when the program is stopped */
		unsigned length = lengths[peer_random(p, sizeof(lengths) / sizeof(*lengths))];
		long long sum = 0;
		size_t used = 0;

		parts[0] = 0;
		for (unsigned i = 1; i <= length; i++) {
			sum = (sum * 31 + i) % 1000003;
			if (i % 100 == 0)
				used += (size_t)snprintf(parts + used, sizeof(parts) - used, "%s%lld", used ? "," : "", sum);
		}
		snprintf(length_text, sizeof(length_text), "%u", length);
		if (peer_random(p, 2))
			command(p, "EVALSHA", hash, "2", counter, value, length_text, NULL);
		else
			command(p, "EVAL", script, "2", counter, value, length_text, NULL);
		peer_flush(p);
		expect_line(p, "EVAL", "*3");
		expect_number(p, "EVAL", ':', ++count);
		expect_number(p, "EVAL", ':', sum);
		expect_text(p, "EVAL", parts);
		load_pause_us(peer_random(p, 20000));
	}
}

const struct role redis_roles[] = {
	{"pipeline", 4, run_pipeline},	 {"publisher", 1, run_publisher}, {"subscriber", SUBSCRIBERS, run_subscriber},
	{"pusher", PAIRS, run_pusher},	 {"popper", PAIRS, run_popper},	  {"transaction", 2, run_transaction},
	{"lua", 2, run_lua},		 {0},
};
