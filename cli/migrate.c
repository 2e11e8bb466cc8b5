/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "abi/migrate.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "migrate/address.h"
#include "migrate/report.h"

static const char usage[] =
    "migrate NAME tcp:HOST:PORT [OPTIONS]\n"
    "  --mode MODE            hybrid (the default): pages go while the program runs, what it writes all the time\n"
    "                         after it went on there; precopy: all before; postcopy: all after; stop-copy: it\n"
    "                         stands still for all of it\n"
    "  --downtime-limit MS    hybrid, precopy: what goes while it stands still should take no longer (5)\n"
    "  --bandwidth BYTES      per second, while the program runs; no limit unless given\n"
    "  --streams N            connections for pages (2)\n"
    "  --tcp-established      take established TCP connections and their addresses along\n"
    "  --file-locks           take locks on files along\n"
    "  --files check, ignore  compare the files the program has open with those at the other side (check)\n"
    "  --hook PROGRAM         is told pre-stop, post-stop and failed\n"
    "  --timeout S            give up, and let the program run on, if not done by then\n"
    "  --switch-timeout MS    undo if nothing moves for that long while the program is stopped (500)\n"
    "  --detach               return at once; optmig status shows how it goes\n"
    "  --json                 one object a line while it goes on, then the report\n"
    "  Returns 0 once this machine is no longer needed. Interrupted: the move is cancelled, the program runs "
    "on.";

struct migrate_args {
	struct migrate_options options;
	const char *name;
	bool detach, json;
};

#define HOUR_MS (3600u * 1000)
#define BANDWIDTH_MAX (1ull << 50)

/* What an option's number may be, in its unit, and how many of what it becomes that is. */
struct number {
	double min, max, scale;
	bool whole;
	const char *unit; /* with a space before it, or empty */
};
static const struct number downtime_limit = {0, HOUR_MS, 1000, false, " ms"};
static const struct number switch_timeout = {1, HOUR_MS, 1000, false, " ms"};
static const struct number timeout = {0, 1000 * 3600, 1e6, false, " s"};
static const struct number streams = {1, MIGRATE_STREAMS_MAX, 1, true, ""};

static bool number_parse(const char *option, const char *text, const struct number *n, uint64_t *out,
			 struct failure *why)
{
	char *end;
	double value = strtod(text, &end);
	*out = 0;
	if (end != text && !*end && value >= n->min && value <= n->max)
		*out = (uint64_t)(value * n->scale);
	else
		end = NULL;
	if (end && (!n->whole || value == (double)*out))
		return true;
	fail(why, -EINVAL, "--%s cannot be \"%s\": a %snumber from %.0f to %.0f%s", option, text,
	     n->whole ? "whole " : "", n->min, n->max, n->unit);
	return false;
}

static bool args_parse(int argc, char **argv, struct migrate_args *a, struct failure *why)
{
	static const struct option options[] = {
	    {"mode", required_argument, NULL, 'm'},
	    {"downtime-limit", required_argument, NULL, 'd'},
	    {"bandwidth", required_argument, NULL, 'b'},
	    {"streams", required_argument, NULL, 's'},
	    {"tcp-established", no_argument, NULL, 't'},
	    {"file-locks", no_argument, NULL, 'l'},
	    {"files", required_argument, NULL, 'f'},
	    {"hook", required_argument, NULL, 'h'},
	    {"timeout", required_argument, NULL, 'T'},
	    {"detach", no_argument, NULL, 'D'},
	    {"switch-timeout", required_argument, NULL, 'S'},
	    {"json", no_argument, NULL, 'j'},
	    {NULL, 0, NULL, 0},
	};
	struct migrate_options *o = &a->options;
	uint64_t number;
	bool good = true;
	int option;
	*a = (struct migrate_args){.options = migrate_options_default(), .json = json_asked(argc, argv)};
	while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'm':
			good = migrate_mode_parse(optarg, &o->mode, why) == 0;
			break;
		case 'd':
			good = number_parse("downtime-limit", optarg, &downtime_limit, &o->downtime_limit_us, why);
			break;
		case 'b':
			good = size_parse(optarg, &o->bandwidth) && o->bandwidth <= BANDWIDTH_MAX;
			if (!good)
				fail(why, -EINVAL, "--bandwidth cannot be \"%s\": bytes per second, up to 1024T", optarg);
			break;
		case 's':
			good = number_parse("streams", optarg, &streams, &number, why);
			o->streams = (unsigned)number;
			break;
		case 't':
			o->tcp_established = true;
			break;
		case 'l':
			o->file_locks = true;
			break;
		case 'f':
			good = files_option(optarg, &o->files_ignore);
			if (!good)
				fail(why, -EINVAL, "--files cannot be \"%s\": check or ignore", optarg);
			break;
		case 'h':
			good = strlen(optarg) < sizeof(o->hook);
			if (good)
				strcpy(o->hook, optarg);
			else
				fail(why, -EINVAL, "--hook: a path of less than %zu characters", sizeof(o->hook));
			break;
		case 'T':
			good = number_parse("timeout", optarg, &timeout, &o->timeout_us, why);
			break;
		case 'S':
			good = number_parse("switch-timeout", optarg, &switch_timeout, &o->switch_timeout_us, why);
			break;
		case 'D':
			a->detach = true;
			break;
		case 'j': /* abbreviated: json_asked() has not seen it */
			a->json = true;
			break;
		default:
			return false;
		}
	}
	if (!good || optind != argc - 2 || address_check(argv[optind + 1], why))
		return false;
	a->name = argv[optind];
	strcpy(o->to, argv[optind + 1]);
	return true;
}

static double number(const json_t *in, const char *key)
{
	return (double)json_integer_value(json_object_get(in, key));
}

static void print_progress(const json_t *p)
{
	double total = number(p, "pages_total"), pages = number(p, "pages");
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s", json_string_value(json_object_get(p, "phase")));
	if (total > 0)
		fprintf(stderr, " %d: %.0f MB of %.0f MB in use, %.1f s", (int)number(p, "round"),
			pages * 4096 / 1e6, total * 4096 / 1e6, number(p, "elapsed_us") / 1e6);
	fflush(stderr);
}

/* Why it took longer than it should, if it did, and what the program may notice of it. */
static void print_remarks(const json_t *r, uint64_t limit_us)
{
	const char *mode = json_string_value(json_object_get(r, "mode"));
	const char *late = json_string_value(json_object_get(r, "stragglers"));
	double network_us = 2 * number(r, "round_trip_us");
	bool has_rounds = mode && (!strcmp(mode, "precopy") || !strcmp(mode, "hybrid"));
	if (late && *late)
		printf("  slow to stop: %s\n", late);
	if (has_rounds && network_us > (double)limit_us)
		printf("  the downtime limit is less than two round trips over this network, %.1f ms\n", network_us / 1e3);
	calendars_print(json_integer_value(json_object_get(r, "calendar_ahead_us")));
	if (number(r, "throttle_percent") > 0)
		printf("  it writes faster than the link carries: made to stand still for up to %.0f %% of its time\n",
		       number(r, "throttle_percent"));
	if (has_rounds && json_is_false(json_object_get(r, "converged")))
		puts("  what was left when it stopped was more than fits the downtime limit");
}

static void print_report(const json_t *r, const struct migrate_args *a)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	printf("%s moved to %s: stood still %.1f ms, %.1f s in all, %.0f MB sent in %zu rounds\n", a->name,
	       a->options.to, number(r, "downtime_us") / 1e3, number(r, "total_us") / 1e6,
	       number(r, "bytes_sent") / 1e6, json_array_size(json_object_get(r, "rounds")));
	print_remarks(r, a->options.downtime_limit_us);
}

/* Reads until the report. */
static int follow(struct ask *ask, const struct migrate_args *a)
{
	struct failure why;
	for (json_t *answer; (answer = ask_next(ask)); json_decref(answer)) {
		const char *result = json_string_value(json_object_get(answer, "result"));
		if (a->json) {
			json_dumpf(answer, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
			putchar('\n');
			fflush(stdout);
		} else if (!result) {
			print_progress(answer);
		}
		if (!result)
			continue;
		int code =
		    !strcmp(result, "completed") || !strcmp(result, "started") ? EXIT_DONE : EXIT_FAILED;
		if (code == EXIT_FAILED && ask_failed(ask, answer, &why))
			command_failed(&why);
		else if (!a->json && !strcmp(result, "completed"))
			print_report(answer, a);
		json_decref(answer);
		return code;
	}
	ask_failed(ask, NULL, &why);
	return command_failed_json(a->json, &why);
}

int command_migrate(int argc, char **argv)
{
	struct migrate_args a;
	struct failure why = {0};
	struct ask ask;
	if (!args_parse(argc, argv, &a, &why)) {
		if (!why.code)
			return command_usage(usage);
		command_failed_json(a.json, &why);
		return EXIT_USAGE;
	}
	json_t *question = migrate_options_json(&a.options);
	json_object_set_new(question, "command", json_string("migrate"));
	json_object_set_new(question, "detach", json_boolean(a.detach));
	if (ask_open(&ask, a.name, question, &why))
		return command_failed_json(a.json, &why);
	int code = follow(&ask, &a);
	ask_close(&ask);
	return code;
}
