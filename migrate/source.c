/* SPDX-License-Identifier: Apache-2.0
 *
 *   connect -> handshake -> prepare -> rounds -> switch -> COMMIT -> after
 *   `------------- undo, the program runs on --------'      |
 *                                     answered or given up, never undone
 */
#include "migrate/source_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "host/log.h"
#include "host/signals.h"
#include "migrate/trusted.h"

#define AFTER_TIMEOUT_US (5ull * 1000 * 1000)
#define FAILED_TIMEOUT_US (2ull * 1000 * 1000)
#define FAILED_ANSWER_US (500ull * 1000) /* of it, for one attempt */

/* ---- the migration as others see it ---- */

int migration_open(struct migration *m, struct enclave *e, const char *name,
		   const struct migrate_options *options)
{
	memset(m, 0, sizeof(*m));
	m->enclave = e;
	m->name = name;
	m->options = *options;
	m->progress.phase = "connect";
	m->begun_us = now_us();
	pthread_mutex_init(&m->lock, NULL);
	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return m->wake_fd < 0 ? -errno : 0;
}

void migration_close(struct migration *m)
{
	if (m->wake_fd >= 0)
		close(m->wake_fd);
	pthread_mutex_destroy(&m->lock);
}

void migration_cancel(struct migration *m)
{
	uint64_t one = 1;
	atomic_store(&m->cancelled, true);
	if (write(m->wake_fd, &one, sizeof(one)) < 0)
		return; /* full: already awake */
}

void migration_program_ended(struct migration *m)
{
	atomic_store(&m->program_ended, true);
	migration_cancel(m);
}

struct migrate_progress migration_progress(struct migration *m)
{
	pthread_mutex_lock(&m->lock);
	struct migrate_progress p = m->progress;
	pthread_mutex_unlock(&m->lock);
	p.elapsed_us = now_us() - m->begun_us;
	return p;
}

void source_progress(struct source *s, const char *phase)
{
	struct migrate_progress p = {.phase = phase,
				     .round = s->r->round_count,
				     .pages_total = s->r->pages_total,
				     .pages = atomic_load(&s->flow.pages) + atomic_load(&s->flow.zero_pages),
				     .bytes = atomic_load(&s->flow.bytes)};
	pthread_mutex_lock(&s->m->lock);
	s->m->progress = p;
	pthread_mutex_unlock(&s->m->lock);
}

/* ---- after, or back ---- */

/* The destination's own account; without it the report is shorter. */
static void hear_report(struct source *s)
{
	struct wait wait = {now_us() + AFTER_TIMEOUT_US, -1};
	int rc;
	while ((rc = wire_recv(&s->control, wait)) == 0 && s->control.type != FRAME_REPORT)
		;
	if (rc)
		return;
	json_t *report = json_loadb((const char *)s->control.data, s->control.size, 0, NULL);
	const char *where = json_string_value(json_object_get(report, "enclave"));
	snprintf(s->r->destination, sizeof(s->r->destination), "%s", where ? where : "");
	wire_text(s->r->destination, sizeof(s->r->destination));
	s->r->leaves_destination = json_incref(json_object_get(report, "leaves"));
	/* The destination's figure is the right one: this host may have had other things to do. */
	if (s->left)
		s->r->postcopy_us = (uint64_t)json_integer_value(json_object_get(report, "postcopy_us"));
	s->r->postcopy_faults = (uint64_t)json_integer_value(json_object_get(report, "postcopy_faults"));
	json_decref(report);
}

static int after(struct source *s, struct failure *why)
{
	uint64_t resumed_us = now_us(), signals;
	int rc = 0;
	atomic_store(&s->m->handed_over, true);
	enclave_abandon(s->e);
	if (s->left && source_serve_begin(s, why))
		rc = why->code = -EOWNERDEAD;
	if (s->left)
		source_progress(s, "postcopy");
	carry_source_forget(s->carry);
	if (rc == 0 && s->left) {
		rc = source_serve(s, why);
		s->r->postcopy_us = now_us() - resumed_us;
	}
	signals = signals_take();
	wire_send(s->control.fd, FRAME_BYE, &signals, sizeof(signals), NULL, 0,
		  (struct wait){now_us() + AFTER_TIMEOUT_US, -1});
	source_progress(s, "after");
	if (rc == 0)
		hear_report(s);
	return rc;
}

/* A destination that has said READY waits for COMMIT until it is told: again, over new connections, until it
 * or the service that knows no such session any more has answered. */
static void tell_failed(struct source *s, const struct failure *because)
{
	uint64_t until_us = now_us() + FAILED_TIMEOUT_US;
	struct frame_failed said = {.code = because->code};
	struct failure ignored;
	bool lost = s->link_lost;
	int rc;
	snprintf(said.message, sizeof(said.message), "%s", because->message);
	do {
		struct wait soon = {now_us() + FAILED_ANSWER_US, -1};
		rc = lost && s->attached ? source_reattach(s, &ignored) : s->control.fd < 0 ? -ENOTCONN : 0;
		if (rc == 0)
			rc = wire_send(s->control.fd, FRAME_FAILED, &said, sizeof(said), NULL, 0, soon);
		while (rc == 0 && (rc = wire_recv(&s->control, soon)) == 0)
			if (s->control.type == FRAME_FAILED)
				return;
		lost = true;
		nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
	} while (s->attached && now_us() < until_us);
}

/* In reverse. The program runs when this returns. */
static void undo(struct source *s, const struct failure *because)
{
	struct failure why;
	if (s->carry && carry_source_undo(s->carry, &why))
		log_line("%s: %s", s->m->name, why.message);
	/* Threads go on before anything that may take time. The enclave is told alone: streams end first. */
	outflow_close(&s->flow);
	if (s->offered && trusted(s->e, MIGRATE_CANCEL, 0, NULL))
		log_line("%s: the enclave did not take the migration back", s->m->name);
	if (s->hurried)
		enclave_hurry(s->e, false);
	enclave_unpark_all(s->e);
	signals_release(s->e);
	tell_failed(s, because);
	if (!s->o->only_check)
		hook_tell(s->hook, HOOK_FAILED, s->m->name, HOOK_TIMEOUT_MS, &why);
}

static void account(struct source *s)
{
	struct migrate_report *r = s->r;
	struct softsgx_stats now;
	r->bytes_sent = s->other_bytes + atomic_load(&s->flow.bytes);
	r->has_leaves = enclave_stats(s->e, &now) == 0;
	if (!r->has_leaves)
		return;
	for (unsigned i = 0; i < SGX_ENCLU_LEAF_COUNT; i++)
		r->leaves.leaf[i] = now.leaf[i] - s->before.leaf[i];
	r->leaves.aex = now.aex - s->before.aex;
	r->leaves.eaug = now.eaug - s->before.eaug;
	r->leaves.eadd = now.eadd - s->before.eadd;
	r->leaves.ioctls = now.ioctls - s->before.ioctls;
}

static int begin(struct source *s, struct failure *why)
{
	s->record = malloc(RECORD_SIZE_MAX);
	if (!s->record || parcel_init(&s->parcel))
		return fail(why, -ENOMEM, "out of memory");
	memset(s->record, 0, RECORD_SIZE_MAX);
	int rc = source_connect(s, why);
	source_progress(s, "prepare");
	if (rc == 0)
		rc = source_handshake(s, why);
	return rc ? rc : source_prepare(s, why);
}

static int leave_only(struct source *s, struct failure *why)
{
	struct bytes manifest = {0};
	int rc = source_leave_check(s, &manifest, why);
	bytes_free(&manifest);
	return rc;
}

int migration_run(struct migration *m, struct migrate_report *r)
{
	struct source s = {.m = m, .e = m->enclave, .o = &m->options, .r = r, .begun_us = m->begun_us};
	static const struct failure only_asked = {0, "it only wanted to know"};
	char host[64] = "";
	memset(r, 0, sizeof(*r));
	r->mode = m->options.mode;
	gethostname(host, sizeof(host) - 1);
	snprintf(r->source, sizeof(r->source), "%s:%d", host, getpid());
	wire_init(&s.control, -1);
	s.urgent_fd = s.parcel.fd = -1;
	s.stall_us = SILENCE_US;
	enclave_stats(s.e, &s.before);

	int rc = m->options.to[0] ? begin(&s, &r->failure) : leave_only(&s, &r->failure);
	bool possible = rc == 0 && m->options.only_check;
	if (possible)
		rc = -ECANCELED;
	atomic_store(&s.flow.bandwidth, m->options.bandwidth);
	if (rc == 0)
		rc = source_rounds(&s, &r->failure);
	if (rc == 0)
		rc = source_switch_over(&s, &r->failure);
	if (rc == 0)
		rc = after(&s, &r->failure);
	account(&s);
	if (rc == 0)
		r->failure = (struct failure){0}; /* of a connection that was made again */
	r->gone = s.committed;
	if (rc && s.committed) {
		enclave_abandon(s.e);
		/* The program may live there: this host must not say a word on its connections, nor have its address. */
		if (s.carry)
			carry_source_forget(s.carry);
	} else if (rc)
		undo(&s, possible ? &only_asked : &r->failure);
	r->total_us = now_us() - s.begun_us;
	r->result = possible	       ? RESULT_POSSIBLE
		    : rc == 0	       ? RESULT_COMPLETED
		    : rc == -ECANCELED ? RESULT_CANCELLED
				       : RESULT_FAILED;
	outflow_close(&s.flow);
	source_urgent_stop(&s);
	carry_source_close(s.carry);
	hook_stop(s.hook);
	wire_close(&s.control);
	free(s.record);
	parcel_free(&s.parcel);
	return rc;
}
