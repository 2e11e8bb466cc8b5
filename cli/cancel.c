/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include "cli/ask.h"
#include "cli/command.h"

int command_cancel(int argc, char **argv)
{
	struct failure why;
	struct ask ask;
	if (argc != 2 || argv[1][0] == '-')
		return command_usage("cancel NAME");
	/* A move is taken back before this is answered: that may take longer than an answer should. */
	if (ask_listens(argv[1], &why))
		return command_failed(&why);
	if (ask_open(&ask, argv[1], json_pack("{s:s}", "command", "cancel"), &why))
		return command_failed(&why);
	ask.until_us = 0;
	json_t *answer = ask_next(&ask);
	ask_close(&ask);
	if (ask_failed(&ask, answer, &why))
		return command_failed(&why);
	const char *result = json_string_value(json_object_get(answer, "result"));
	int code = result && !strcmp(result, "cancelled") ? EXIT_DONE : EXIT_FAILED;
	if (code)
		fail(&why, -EALREADY, "too late: the move has %s", result ? result : "ended");
	json_decref(answer);
	return code ? command_failed(&why) : code;
}
