/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "migrate/control.h"
#include "migrate/wire.h"

int ask_open(struct ask *a, const char *name, json_t *question, struct failure *why)
{
	*a = (struct ask){.name = name, .until_us = now_us() + CONTROL_SILENCE_US};
	int fd, rc = control_connect(name, &fd, why);
	if (rc == 0) {
		a->pid = control_peer(fd);
		/* Not through a stream: what has just ended would end this process by SIGPIPE. */
		if ((rc = control_say(fd, json_incref(question), CONTROL_SILENCE_US)))
			fail(why, rc, "%s does not listen: %s", name, strerror(-rc));
		else if (!(a->stream = fdopen(fd, "r")))
			rc = fail(why, -ENOMEM, "out of memory");
		if (rc)
			close(fd);
	}
	json_decref(question);
	return rc;
}

/* False: it has not come in time. */
static bool first_comes(struct ask *a)
{
	struct pollfd polled = {.fd = fileno(a->stream), .events = POLLIN};
	int n;
	do {
		uint64_t now = now_us();
		n = poll(&polled, 1, now < a->until_us ? (int)((a->until_us - now + 999) / 1000) : 0);
	} while (n < 0 && errno == EINTR);
	return n > 0;
}

json_t *ask_next(struct ask *a)
{
	char *line = NULL;
	size_t capacity = 0;
	json_t *answer = NULL;
	a->silent = a->until_us && !first_comes(a);
	if (a->silent)
		return NULL;
	a->until_us = 0;
	if (getline(&line, &capacity, a->stream) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	return answer;
}

void ask_close(struct ask *a)
{
	fclose(a->stream);
}

int ask_listens(const char *name, struct failure *why)
{
	struct ask a;
	int rc = ask_open(&a, name, json_pack("{s:s}", "command", "status"), why);
	if (rc)
		return rc;
	json_t *answer = ask_next(&a);
	ask_close(&a);
	rc = ask_failed(&a, answer, why);
	json_decref(answer);
	return rc;
}

int ask_failed(const struct ask *a, const json_t *answer, struct failure *why)
{
	if (a->silent)
		return fail(why, -ETIMEDOUT,
			    "%s does not answer: if its process %d was stopped, kill -CONT lets it go on", a->name,
			    a->pid);
	const json_t *error = json_object_get(answer, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	if (!answer)
		return fail(why, -EPIPE, "the program ended without an answer");
	if (!message)
		return 0;
	return fail(why, -(int)json_integer_value(json_object_get(error, "code")), "%s", message);
}
