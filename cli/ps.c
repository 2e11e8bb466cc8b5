/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/ask.h"
#include "cli/command.h"
#include "migrate/control.h"

static const char usage[] = "ps [--json]\n  Lists the programs of this user that run in enclaves here.";

#define SUFFIX ".sock"

/* The name before ".sock", in place. */
static bool name_of(char *file)
{
	size_t size = strlen(file), suffix = strlen(SUFFIX);

	if (size <= suffix || strcmp(file + size - suffix, SUFFIX))
		return false;
	file[size - suffix] = 0;
	return control_name_ok(file);
}

static json_t *silent_json(const struct ask *ask, const struct failure *why)
{
	return json_pack("{s:s, s:o, s:{s:i, s:s}}", "name", ask->name, "pid",
			 ask->pid > 0 ? json_integer(ask->pid) : json_null(), "error", "code", -why->code, "message",
			 why->message);
}

/* NULL for a socket whose process is gone: it says nothing of a program. */
static json_t *status_of(struct ask *ask)
{
	struct failure why;
	json_t *status = ask_next(ask);

	ask_close(ask);
	if (!ask_failed(ask, status, &why))
		return status;
	json_decref(status);
	return why.code == -ETIMEDOUT ? silent_json(ask, &why) : NULL;
}

/* All are asked before the first answer is waited for: many that are silent take no longer than one. */
static void ask_all(struct dirent **entries, int count, json_t *programs)
{
	struct ask *ask = calloc((size_t)count + 1, sizeof(*ask));
	json_t **status = calloc((size_t)count + 1, sizeof(*status));
	struct failure why;

	for (int i = 0; ask && status && i < count; i++) {
		const char *name = entries[i]->d_name;
		int rc = name_of(entries[i]->d_name) ? ask_open(&ask[i], name, json_pack("{s:s}", "command", "status"), &why)
						     : -ENOENT;

		if (rc == -ETIMEDOUT)
			status[i] = silent_json(&ask[i], &why);
	}
	for (int i = 0; ask && status && i < count; i++) {
		if (ask[i].stream)
			status[i] = status_of(&ask[i]);
		if (status[i])
			json_array_append_new(programs, status[i]);
	}
	free(ask);
	free(status);
}

static int list(json_t *programs, struct failure *why)
{
	struct dirent **entries;
	char directory[256];
	int count, rc;

	rc = control_directory(directory, sizeof(directory), why);
	if (rc)
		return rc;
	count = scandir(directory, &entries, NULL, alphasort);
	if (count < 0)
		return fail(why, -errno, "%s: %s", directory, strerror(errno));
	ask_all(entries, count, programs);
	for (int i = 0; i < count; i++)
		free(entries[i]);
	free(entries);
	return 0;
}

static const char *state_of(const json_t *p)
{
	if (json_is_true(json_object_get(p, "migrating")))
		return "moving";
	/* it runs, but needs the machine it came from */
	return json_integer_value(json_object_get(p, "pages_deferred")) ? "arriving" : "running";
}

static void print_text(const json_t *programs)
{
	const json_t *p;
	size_t i;

	printf("%-24s %8s %-8s %8s %12s  %s\n", "NAME", "PID", "STATE", "THREADS", "MEMORY", "MRENCLAVE");
	json_array_foreach(programs, i, p)
	{
		if (json_object_get(p, "error")) {
			char pid[16] = "?";
			if (json_is_integer(json_object_get(p, "pid")))
				snprintf(pid, sizeof(pid), "%d", (int)json_integer_value(json_object_get(p, "pid")));
			printf("%-24s %8s does not answer\n", json_string_value(json_object_get(p, "name")), pid);
			continue;
		}
		printf("%-24s %8lld %-8s %8lld %11lldK  %.16s\n",
		       json_string_value(json_object_get(p, "name")),
		       json_integer_value(json_object_get(p, "pid")),
		       state_of(p),
		       json_integer_value(json_object_get(p, "threads")),
		       json_integer_value(json_object_get(p, "pages_accepted")) * 4,
		       json_string_value(json_object_get(p, "mrenclave")));
	}
}

int command_ps(int argc, char **argv)
{
	json_t *programs = json_array(), *root;
	struct failure why;
	bool json = false;

	if (!json_option(argc, argv, &json))
		return command_usage(usage);
	if (optind != argc)
		return command_usage(usage);
	if (list(programs, &why))
		return command_failed_json(json, &why);
	if (!json) {
		print_text(programs);
		json_decref(programs);
		return EXIT_DONE;
	}
	root = json_pack("{s:i,s:o}", "schema_version", 1, "programs", programs);
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
	return EXIT_DONE;
}
