/* SPDX-License-Identifier: Apache-2.0
 *
 * `optmig check NAME [tcp:HOST:PORT]`: begins a move and takes it back before
 * anything has moved. Both enclaves have checked each other by then, and both
 * hosts everything the program has open.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "cli/ask.h"
#include "cli/command.h"
#include "migrate/report.h"

/* True if it could. why is filled otherwise. report: with what there is to carry and what the move would be like, the
 * caller's; NULL if the program could not be asked. */
static bool could_move(const char *name, const struct migrate_options *o, json_t **report, struct failure *why)
{
	struct ask ask;
	json_t *question = migrate_options_json(o), *answer;
	bool possible = false;
	json_object_set_new(question, "command", json_string("migrate"));
	if (ask_open(&ask, name, question, why))
		return false;
	while (!*report && (answer = ask_next(&ask))) {
		const char *result = json_string_value(json_object_get(answer, "result"));
		possible = result && !strcmp(result, "possible");
		if (result)
			*report = json_incref(answer);
		json_decref(answer);
	}
	if (!possible)
		ask_failed(&ask, *report, why);
	ask_close(&ask);
	return possible;
}

static const char *text_of(const json_t *item, const char *key)
{
	const char *text = json_string_value(json_object_get(item, key));
	return text ? text : "";
}

static void print_carried(const json_t *carried)
{
	const json_t *item, *fd;
	size_t i, k;
	int widest = 4;
	json_array_foreach(carried, i, item)
	{
		int width = (int)strlen(text_of(item, "what"));
		widest = width > widest && width <= 48 ? width : widest;
	}
	json_array_foreach(carried, i, item)
	{
		char numbers[64] = "";
		int n = 0;
		json_array_foreach(json_object_get(item, "descriptors"), k,
				   fd) if (n + 12 < (int)sizeof(numbers)) n +=
		    snprintf(numbers + n, sizeof(numbers) - (size_t)n, "%s%lld", k ? "," : "",
			     json_integer_value(fd));
		printf("%8s  %-*s  %s\n", numbers, widest, text_of(item, "what"), text_of(item, "how"));
		if (*text_of(item, "obstacle"))
			printf("%8s  %-*s  IN THE WAY: %s\n", "", widest, "", text_of(item, "obstacle"));
	}
}

static double seconds_of(const json_t *item, const char *key)
{
	return (double)json_integer_value(json_object_get(item, key)) / 1e6;
}

static void print_forecast(const json_t *forecast)
{
	const json_t *item;
	size_t i;
	if (forecast)
		printf("forecast    stands still   all of it   pages still coming after\n");
	json_array_foreach(forecast, i, item)
	{
		printf("%-10s %10.1f ms %9.1f s %9.1f s\n", text_of(item, "mode"),
		       1e3 * seconds_of(item, "downtime_us"), seconds_of(item, "total_us"),
		       seconds_of(item, "postcopy_us"));
	}
}

int check_move(const char *name, const struct migrate_options *o, bool json)
{
	struct failure why = {0};
	json_t *report = NULL;
	bool possible = could_move(name, o, &report, &why);
	json_t *carried = json_object_get(report, "carried"), *forecast = json_object_get(report, "forecast");
	json_t *ahead = forecast ? json_object_get(report, "calendar_ahead_us") : NULL; /* who was asked for one was met */
	if (json) {
		json_t *out =
		    json_pack("{s:i, s:s, s:s, s:b, s:o, s:O?, s:O?, s:O?}", "schema_version", 1, "name", name,
			      "to", o->to, "possible", possible, "error",
			      possible ? json_null()
				       : json_pack("{s:i, s:s}", "code", -why.code, "message", why.message),
			      "carried", carried, "forecast", forecast, "calendar_ahead_us", ahead);
		json_dumpf(out, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(out);
	} else {
		print_carried(carried);
		print_forecast(forecast);
		calendars_print(json_integer_value(ahead));
		if (possible)
			printf("%s could %s%s\n", name, o->to[0] ? "move to " : "leave this machine", o->to);
		else
			command_failed(&why);
	}
	json_decref(report);
	return possible ? EXIT_DONE : EXIT_FAILED;
}
