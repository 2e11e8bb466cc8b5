/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/load.h"

#include <err.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage_text[] =
	"usage: load fill|verify HOST PORT --bytes SIZE\n"
	"       load run HOST PORT [--connections N] [--depth N] [--rate N] [--keys N] [--seconds N]\n"
	"SIZE takes K, M, G. `run` ends after --seconds or on SIGTERM and prints what it saw as JSON.\n";

void load_noise(uint64_t seed, void *out, size_t size)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;

	for (size_t i = 0; i < size; i += sizeof(x)) {
		/* xorshift64*: x never becomes 0, for 0 is not among its states */
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		uint64_t word = x * 0x2545f4914f6cdd1du;
		memcpy((char *)out + i, &word, size - i < sizeof(word) ? size - i : sizeof(word));
	}
}

uint64_t load_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t size = strtoull(text, &end, 10);
	static const char units[] = "KMG";
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (end == text || (*end && (!unit || end[1])))
		errx(2, "%s is not a size: a number and K, M or G", text);
	return unit ? size << (10 * (unit - units + 1)) : size;
}

static unsigned parse_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n > 1000000000)
		errx(2, "%s is not a number", text);
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct load_options *o);
	} jobs[] = {{"fill", load_fill}, {"verify", load_verify}, {"run", load_run}};
	static const struct option names[] = {
		{"bytes", 1, 0, 'b'}, {"connections", 1, 0, 'c'}, {"depth", 1, 0, 'd'}, {"rate", 1, 0, 'r'},
		{"keys", 1, 0, 'k'},  {"seconds", 1, 0, 's'},	  {0},
	};
	struct load_options o = {.connections = 8, .depth = 4, .rate = 4000, .keys = 1000};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'b': o.bytes = parse_size(optarg); break;
		case 'c': o.connections = parse_number(optarg); break;
		case 'd': o.depth = parse_number(optarg); break;
		case 'r': o.rate = parse_number(optarg); break;
		case 'k': o.keys = parse_number(optarg); break;
		case 's': o.seconds = parse_number(optarg); break;
		default: fputs(usage_text, stderr); return 2;
		}
	}
	if (argc - optind != 3 || !o.connections || !o.depth || !o.keys) {
		fputs(usage_text, stderr);
		return 2;
	}
	o.host = argv[optind + 1];
	o.port = argv[optind + 2];
	for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++)
		if (!strcmp(argv[optind], jobs[i].name))
			return jobs[i].run(&o);
	fputs(usage_text, stderr);
	return 2;
}
