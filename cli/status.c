/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/ask.h"
#include "cli/command.h"

static const char usage[] = "status NAME [--json]";

static void print_last(const json_t *last)
{
	const char *message = json_string_value(json_object_get(json_object_get(last, "error"), "message"));
	const char *result = json_string_value(json_object_get(last, "result"));
	if (!result)
		return;
	if (message && strcmp(message, result))
		printf("last move: %s: %s\n", result, message);
	else
		printf("last move: %s\n", result);
}

static void print_status(const json_t *s)
{
	const json_t *p = json_object_get(s, "progress");
	long long deferred = json_integer_value(json_object_get(s, "pages_deferred"));
	printf("%s: process %lld, %lld threads, %.1f MB\n", json_string_value(json_object_get(s, "name")),
	       json_integer_value(json_object_get(s, "pid")),
	       json_integer_value(json_object_get(s, "threads")),
	       (double)json_integer_value(json_object_get(s, "pages_accepted")) * 4096 / 1e6);
	if (json_is_object(p))
		printf("moving: %s, round %lld, %.1f MB sent, %.1f s\n",
		       json_string_value(json_object_get(p, "phase")),
		       json_integer_value(json_object_get(p, "round")),
		       (double)json_integer_value(json_object_get(p, "bytes_sent")) / 1e6,
		       (double)json_integer_value(json_object_get(p, "elapsed_us")) / 1e6);
	else if (deferred)
		printf("%.1f MB are still to come from where it ran before\n", (double)deferred * 4096 / 1e6);
	else
		print_last(json_object_get(s, "last"));
}

int command_status(int argc, char **argv)
{
	struct failure why;
	struct ask ask;
	bool json = false;
	if (!json_option(argc, argv, &json))
		return command_usage(usage);
	if (optind != argc - 1)
		return command_usage(usage);
	if (ask_open(&ask, argv[optind], json_pack("{s:s}", "command", "status"), &why))
		return command_failed_json(json, &why);
	json_t *answer = ask_next(&ask);
	ask_close(&ask);
	if (ask_failed(&ask, answer, &why))
		return command_failed_json(json, &why);
	if (json) {
		json_dumpf(answer, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
	} else {
		print_status(answer);
	}
	json_decref(answer);
	return EXIT_DONE;
}
