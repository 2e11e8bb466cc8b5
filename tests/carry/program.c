/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/carry/program.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "host/ocall.h"
#include "tests/carry/testbed.h"

void program_open(struct program *p)
{
	CHECK(fdtable_create(&p->fds) == 0);
	p->thread = (struct host_thread){.area = aligned_alloc(4096, sizeof(struct call_area))};
	CHECK(p->thread.area);
}

void program_close(struct program *p)
{
	fdtable_destroy(p->fds);
	free(p->thread.area);
}

long program_call(struct program *p, long nr, long a, long b, long c, long d, long e, long f)
{
	struct call_area *area = p->thread.area;
	const long arg[6] = {a, b, c, d, e, f};
	area->nr = (uint64_t)nr;
	for (int i = 0; i < 6; i++)
		area->arg[i] = (uint64_t)arg[i];
	ocall_syscall(&p->thread, p->fds);
	return area->result;
}

int program_listen(struct program *p, const void *name, socklen_t size, int backlog)
{
	int fd = (int)CALL(p, SYS_socket, ((const struct sockaddr *)name)->sa_family, SOCK_STREAM, 0);
	CHECK(fd >= 0);
	CHECK(CALL(p, SYS_bind, fd, name, size) == 0);
	CHECK(CALL(p, SYS_listen, fd, backlog) == 0);
	return fd;
}

void program_must(int r, const struct failure *why)
{
	if (r)
		fprintf(stderr, "move: %s\n", why->message);
	CHECK(r == 0);
}

void program_refused(struct program *p, const struct carry_options *options, int error, const char *word)
{
	struct failure why = {0};
	struct bytes manifest = {0};
	struct carry_source *s;
	CHECK(carry_source_open(p->fds, options, &s, &why) == 0);
	int r = carry_source_preflight(s, &manifest, NULL, &why);
	if (r != error || !strstr(why.message, word))
		fprintf(stderr, "preflight: %d, \"%s\", expected %d, \"%s\"\n", r, why.message, error, word);
	CHECK(r == error && strstr(why.message, word));
	carry_source_close(s);
	bytes_free(&manifest);
}

void program_move_here(struct program *from, struct program *to, const struct carry_options *options)
{
	program_move_busy(from, to, options, NULL);
}

void program_move_busy(struct program *from, struct program *to, const struct carry_options *options,
		       void (*does)(struct program *from))
{
	struct failure why = {0};
	struct bytes manifest = {0}, answer = {0}, state = {0};
	struct carry_source *s;
	struct carry_destination *d;
	program_must(carry_source_open(from->fds, options, &s, &why), &why);
	program_must(carry_source_preflight(s, &manifest, NULL, &why), &why);
	program_must(carry_destination_prepare(to->fds, manifest.data, manifest.size, &answer, &d, &why),
		     &why);
	program_must(carry_source_prepare(s, answer.data, answer.size, &why), &why);
	if (does)
		does(from);
	program_must(carry_source_freeze(s, &state, &why), &why);
	program_must(carry_destination_restore(d, &state, &why), &why);
	program_must(carry_destination_release(d, &why), &why);
	carry_source_forget(s);
	carry_source_close(s);
	carry_destination_finish(d);
	bytes_free(&manifest);
	bytes_free(&answer);
	bytes_free(&state);
}

struct carry_source *program_offer(struct program *p, int channel, const struct carry_options *options)
{
	struct failure why = {0};
	struct bytes b = {0};
	struct carry_source *s;
	program_must(carry_source_open(p->fds, options, &s, &why), &why);
	program_must(carry_source_preflight(s, &b, NULL, &why), &why);
	message_put(channel, 'm', b.data, b.size);
	message_get(channel, 'a', &b);
	program_must(carry_source_prepare(s, b.data, b.size, &why), &why);
	bytes_free(&b);
	return s;
}

void program_freeze(struct carry_source *s, int channel, void *memory, size_t size)
{
	struct failure why = {0};
	struct bytes state = {0};
	program_must(carry_source_freeze(s, &state, &why), &why);
	bytes_put(&state, memory, size);
	message_put(channel, 's', state.data, state.size);
	bytes_free(&state);
}

struct carry_destination *program_answer(struct program *p, int channel)
{
	struct failure why = {0};
	struct bytes b = {0}, answer = {0};
	struct carry_destination *d;
	message_get(channel, 'm', &b);
	program_must(carry_destination_prepare(p->fds, b.data, b.size, &answer, &d, &why), &why);
	message_put(channel, 'a', answer.data, answer.size);
	bytes_free(&b);
	bytes_free(&answer);
	return d;
}

void program_restore(struct carry_destination *d, int channel, struct bytes *state, void *memory,
		     size_t size)
{
	struct failure why = {0};
	CHECK(state->size > size);
	state->size -= size;
	memcpy(memory, state->data + state->size, size);
	program_must(carry_destination_restore(d, state, &why), &why);
	message_put(channel, 'r', NULL, 0);
}

void program_leave(struct program *p, int channel, const struct carry_options *options, void *memory,
		   size_t size)
{
	struct failure why = {0};
	struct bytes b = {0};
	struct carry_source *s = program_offer(p, channel, options);
	program_must(carry_source_calm(s, &why), &why);
	program_freeze(s, channel, memory, size);
	message_get(channel, 'c', &b);
	carry_source_forget(s);
	carry_source_close(s);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
}

struct carry_destination *program_arrive(struct program *p, int channel, void *memory, size_t size)
{
	struct failure why = {0};
	struct bytes b = {0};
	struct carry_destination *d = program_answer(p, channel);
	message_get(channel, 's', &b);
	program_restore(d, channel, &b, memory, size);
	message_get(channel, 'c', &b);
	program_must(carry_destination_release(d, &why), &why);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
	return d;
}

void program_relay(int from, int to)
{
	struct bytes b = {0};
	message_pass(from, to, 'm');
	message_pass(to, from, 'a');
	message_pass(from, to, 's');
	message_get(to, 'r', &b);
	message_put(to, 'c', NULL, 0);
	message_get(to, 'd', &b);
	message_put(from, 'c', NULL, 0);
	message_get(from, 'd', &b);
	bytes_free(&b);
}
