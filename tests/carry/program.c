/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/carry/program.h"

#include <stdlib.h>

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
