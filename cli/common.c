/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/command.h"

#define CALENDARS_DIFFER_S 0.5 /* what keeps hosts' time keeps them to milliseconds */

bool size_parse(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	value = strtoull(text, &end, 10);
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit || end[1])
			return false;
		shift = 10 * (unit - units + 1);
	}
	if (value >= 1ull << 63 >> shift)
		return false;
	*out = value << shift;
	return true;
}

void hex_format(const uint8_t *bytes, unsigned size, char *out)
{
	for (unsigned i = 0; i < size; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
}

int command_failed(const struct failure *why)
{
	fprintf(stderr, "optmig: %s\n", why->message);
	return EXIT_FAILED;
}

int command_failed_json(bool json, const struct failure *why)
{
	if (json) {
		json_t *out = json_pack("{s:i, s:s, s:{s:i, s:s}}", "schema_version", 1, "result", "failed",
					"error", "code", -why->code, "message", why->message);
		json_dumpf(out, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(out);
	}
	return command_failed(why);
}

bool json_asked(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

void calendars_print(int64_t ahead_us)
{
	double ahead_s = (double)ahead_us / 1e6;

	if (fabs(ahead_s) >= CALENDARS_DIFFER_S)
		printf("  the time of day there is %.1f s %s: a program that counts by it (Redis: expiry, blocking pops) "
		       "notices; keep both hosts by NTP\n",
		       fabs(ahead_s), ahead_s > 0 ? "ahead" : "behind");
}

bool files_option(const char *text, bool *ignore)
{
	*ignore = !strcmp(text, "ignore");
	return *ignore || !strcmp(text, "check");
}

bool json_option(int argc, char **argv, bool *json)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option != 'j')
			return false;
		*json = true;
	}
	return true;
}

int command_usage(const char *usage)
{
	fprintf(stderr, "usage: optmig %s\n", usage);
	return EXIT_USAGE;
}
