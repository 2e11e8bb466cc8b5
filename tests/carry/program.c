/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/carry/program.h"

#include <stdlib.h>
#include <string.h>

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

void program_move_here(struct program *from, struct program *to, const struct carry_options *options)
{
	struct failure why = {0};
	struct bytes manifest = {0}, answer = {0}, state = {0};
	struct carry_source *s;
	struct carry_destination *d;
	CHECK(carry_source_open(from->fds, options, &s, &why) == 0);
	int r = carry_source_preflight(s, &manifest, NULL, &why);
	if (!r)
		r = carry_destination_prepare(to->fds, manifest.data, manifest.size, &answer, &d, &why);
	if (!r)
		r = carry_source_prepare(s, answer.data, answer.size, &why);
	if (!r)
		r = carry_source_freeze(s, &state, &why);
	if (!r)
		r = carry_destination_restore(d, state.data, state.size, &why);
	if (!r)
		r = carry_destination_release(d, &why);
	if (r)
		fprintf(stderr, "move: %s\n", why.message);
	CHECK(r == 0);
	carry_source_forget(s);
	carry_source_close(s);
	carry_destination_finish(d);
	bytes_free(&manifest);
	bytes_free(&answer);
	bytes_free(&state);
}

static void must(int r, const struct failure *why)
{
	if (r)
		fprintf(stderr, "move: %s\n", why->message);
	CHECK(r == 0);
}

void program_leave(struct program *p, int channel, const struct carry_options *options, void *memory,
		   size_t size)
{
	struct failure why = {0};
	struct bytes b = {0}, state = {0};
	struct carry_source *s;
	must(carry_source_open(p->fds, options, &s, &why), &why);
	must(carry_source_preflight(s, &b, NULL, &why), &why);
	message_put(channel, 'm', b.data, b.size);
	message_get(channel, 'a', &b);
	must(carry_source_prepare(s, b.data, b.size, &why), &why);
	must(carry_source_calm(s, &why), &why);
	must(carry_source_freeze(s, &state, &why), &why);
	bytes_put(&state, memory, size);
	message_put(channel, 's', state.data, state.size);
	message_get(channel, 'c', &b);
	carry_source_forget(s);
	carry_source_close(s);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
	bytes_free(&state);
}

struct carry_destination *program_arrive(struct program *p, int channel, void *memory, size_t size)
{
	struct failure why = {0};
	struct bytes b = {0}, answer = {0};
	struct carry_destination *d;
	message_get(channel, 'm', &b);
	must(carry_destination_prepare(p->fds, b.data, b.size, &answer, &d, &why), &why);
	message_put(channel, 'a', answer.data, answer.size);
	message_get(channel, 's', &b);
	CHECK(b.size > size);
	memcpy(memory, b.data + b.size - size, size);
	must(carry_destination_restore(d, b.data, b.size - size, &why), &why);
	message_put(channel, 'r', NULL, 0);
	message_get(channel, 'c', &b);
	must(carry_destination_release(d, &why), &why);
	message_put(channel, 'd', NULL, 0);
	bytes_free(&b);
	bytes_free(&answer);
	return d;
}

static void pass_on(int from, int to, uint8_t type)
{
	struct bytes b = {0};
	message_get(from, type, &b);
	message_put(to, type, b.data, b.size);
	bytes_free(&b);
}

void program_relay(int from, int to)
{
	struct bytes b = {0};
	pass_on(from, to, 'm');
	pass_on(to, from, 'a');
	pass_on(from, to, 's');
	message_get(to, 'r', &b);
	message_put(to, 'c', NULL, 0);
	message_get(to, 'd', &b);
	message_put(from, 'c', NULL, 0);
	message_get(from, 'd', &b);
	bytes_free(&b);
}
