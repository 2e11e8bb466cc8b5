/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask.h"
#include <errno.h>
#include <unistd.h>
#include "migrate/control.h"

int ask_open(struct ask *a, const char *name, json_t *question, struct failure *why)
{
	int fd, rc = control_connect(name, &fd, why);
	if (rc == 0) {
		a->stream = fdopen(fd, "r+");
		if (!a->stream) {
			close(fd);
			rc = fail(why, -ENOMEM, "out of memory");
		}
	}
	if (rc == 0) {
		json_dumpf(question, a->stream, JSON_COMPACT);
		fputc('\n', a->stream);
		if (fflush(a->stream)) {
			fclose(a->stream);
			rc = fail(why, -EPIPE, "%s does not listen", name);
		}
	}
	json_decref(question);
	return rc;
}

json_t *ask_next(struct ask *a)
{
	char *line = NULL;
	size_t capacity = 0;
	json_t *answer = NULL;
	if (getline(&line, &capacity, a->stream) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	return answer;
}

void ask_close(struct ask *a)
{
	fclose(a->stream);
}

int ask_failed(const json_t *answer, struct failure *why)
{
	const json_t *error = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	if (!answer)
		return fail(why, -EPIPE, "the program ended without an answer");
	if (!message)
		return 0;
	return fail(why, -(int)json_integer_value(json_object_get(error, "code")), "%s", message);
}
