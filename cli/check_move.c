/* SPDX-License-Identifier: Apache-2.0
 *
 * `optmig check NAME [tcp:HOST:PORT]`: begins a move and takes it back before
 * anything has moved. Both enclaves have checked each other by then, and both
 * hosts everything the program has open.
 */
#include <stdio.h>
#include <string.h>
#include "cli/ask.h"
#include "cli/command.h"
#include "migrate/report.h"

/* True if it could. why is filled otherwise. */
static bool could_move(const char *name, const struct migrate_options *o, struct failure *why)
{
	struct ask ask;
	json_t *question = migrate_options_json(o), *answer;
	bool possible = false, ended = false;
	json_object_set_new(question, "command", json_string("migrate"));
	if (ask_open(&ask, name, question, why))
		return false;
	while (!ended && (answer = ask_next(&ask))) {
		const char *result = json_string_value(json_object_get(answer, "result"));
		ended = result != NULL;
		possible = ended && !strcmp(result, "possible");
		if (ended && !possible)
			ask_failed(answer, why);
		json_decref(answer);
	}
	if (!ended)
		ask_failed(NULL, why);
	ask_close(&ask);
	return possible;
}

int check_move(const char *name, const char *to, bool tcp_established, bool json)
{
	struct migrate_options o = migrate_options_default();
	struct failure why = {0};
	o.only_check = true;
	o.tcp_established = tcp_established;
	snprintf(o.to, sizeof(o.to), "%s", to ? to : "");
	bool possible = could_move(name, &o, &why);
	if (json) {
		json_t *out =
		    json_pack("{s:i, s:s, s:s, s:b, s:o}", "schema_version", 1, "name", name, "to", o.to,
			      "possible", possible, "error",
			      possible ? json_null()
				       : json_pack("{s:i, s:s}", "code", -why.code, "message", why.message));
		json_dumpf(out, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(out);
	} else if (possible) {
		printf("%s could %s%s\n", name, to ? "move to " : "leave this machine", o.to);
	} else {
		return command_failed(&why);
	}
	return possible ? EXIT_DONE : EXIT_FAILED;
}
