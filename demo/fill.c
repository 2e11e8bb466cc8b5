/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes, and later reads again, the bulk of the data over one connection with
 * many commands under way.
 */
#include "demo/load.h"
#include "demo/resp.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUE_SIZE 4096
#define UNDER_WAY_MAX 256
#define REPLY_TIMEOUT_MS 60000

static void send_one(struct resp_buffer *out, uint64_t index, bool is_write)
{
	char key[32], value[VALUE_SIZE];
	struct resp_arg argv[3] = {{is_write ? "SET" : "GET", 3}, {key, 0}, {value, sizeof(value)}};

	argv[1].size = (size_t)snprintf(key, sizeof(key), "fill:%llu", (unsigned long long)index);
	if (is_write)
		load_noise(index, value, sizeof(value));
	resp_command(out, is_write ? 3 : 2, argv);
}

static bool is_right(const struct resp_reply *reply, uint64_t index, bool is_write)
{
	char value[VALUE_SIZE];

	if (is_write)
		return reply->type == '+';
	load_noise(index, value, sizeof(value));
	return reply->type == '$' && reply->size == sizeof(value) && !memcmp(reply->text, value, sizeof(value));
}

static void show_progress(const char *verb, uint64_t done, uint64_t count)
{
	uint64_t tenth = count / 10 ? count / 10 : 1;

	if (done % tenth == 0)
		fprintf(stderr, "%s: %llu of %llu MB\n", verb, (unsigned long long)(done * VALUE_SIZE >> 20),
			(unsigned long long)(count * VALUE_SIZE >> 20));
}

static int transfer(const struct load_options *o, bool is_write)
{
	const char *verb = is_write ? "fill" : "verify";
	uint64_t count = o->bytes / VALUE_SIZE, sent = 0, answered = 0, wrong = 0;
	struct resp_buffer in = {0}, out = {0};
	struct resp_reply reply;
	int fd = resp_connect(o->host, o->port);

	if (fd < 0)
		errx(1, "%s: cannot reach %s port %s: %s", verb, o->host, o->port, strerror(-fd));
	while (answered < count) {
		while (sent < count && sent - answered < UNDER_WAY_MAX)
			send_one(&out, sent++, is_write);
		struct pollfd p = {.fd = fd, .events = POLLIN | (resp_used(&out) ? POLLOUT : 0)};
		if (poll(&p, 1, REPLY_TIMEOUT_MS) == 0)
			errx(1, "%s: no reply in %d s", verb, REPLY_TIMEOUT_MS / 1000);
		long n = resp_used(&out) ? resp_send(&out, fd) : 0;
		if (n >= 0)
			n = resp_receive(&in, fd);
		if (n < 0)
			errx(1, "%s: the connection broke after %llu replies: %s", verb,
			     (unsigned long long)answered, strerror((int)-n));
		int taken;
		while ((taken = resp_next(&in, &reply)) > 0) {
			if (!is_right(&reply, answered, is_write) && wrong++ == 0)
				fprintf(stderr, "%s: key fill:%llu: wrong reply: %.*s\n", verb,
					(unsigned long long)answered, reply.type == '-' ? (int)reply.size : 0,
					reply.text);
			show_progress(verb, ++answered, count);
		}
		if (taken < 0)
			errx(1, "%s: the server does not speak RESP", verb);
	}
	close(fd);
	free(in.data);
	free(out.data);
	if (wrong)
		fprintf(stderr, "%s: %llu of %llu replies were wrong\n", verb, (unsigned long long)wrong,
			(unsigned long long)count);
	return wrong ? 1 : 0;
}

int load_fill(const struct load_options *o)
{
	return transfer(o, true);
}

int load_verify(const struct load_options *o)
{
	return transfer(o, false);
}
