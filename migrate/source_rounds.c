/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/source_private.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "migrate/trusted.h"

#define ROUNDS_MAX 30
#define RATE_PAGES_MIN 256
#define SWITCH_FIXED_US 2000 /* parking, descriptors, three round trips on one machine */
#define STUBBORN_ROUNDS 3    /* so many that hardly shrink end the hope that it converges */

int source_round_begin(struct source *s, enum migrate_round kind, uint64_t *pages, struct failure *why)
{
	struct trusted_call c = {0};
	int rc = trusted(s->e, MIGRATE_ROUND, kind, &c);
	if (rc)
		return source_enclave_failed(rc, "a round", why);
	*pages = c.ret[0];
	return 0;
}

/* Until the destination says something. Nobody answers while bytes move, so only silence counts. */
int source_await_answer(struct source *s, uint64_t silence_us, const char *phase, struct failure *why)
{
	uint64_t bytes = atomic_load(&s->flow.bytes), moved_us = now_us();
	for (;;) {
		struct pollfd polled[2] = {{.fd = s->control.fd, .events = POLLIN},
					   {.fd = s->m->wake_fd, .events = POLLIN}};
		if (poll(polled, 2, 50) != 0)
			return 0; /* whatever it is, reading will tell */
		source_progress(s, phase);
		uint64_t now = now_us(), moved = atomic_load(&s->flow.bytes);
		if (moved != bytes) {
			bytes = moved;
			moved_us = now;
		}
		if (now - moved_us > silence_us)
			return source_link_failed(s, -ETIMEDOUT, why);
		if (source_out_of_time(s))
			return source_timed_out(s, why);
	}
}

/* Until the destination has installed the round that the streams were told to send. */
int source_round_installed(struct source *s, uint64_t silence_us, struct failure *why)
{
	struct frame_round done;
	int rc = source_await_answer(s, silence_us, "round", why);
	if (rc == 0)
		rc = source_expect(s, FRAME_ROUND_DONE, silence_us, why);
	if (rc)
		return rc;
	memcpy(&done, s->control.data, sizeof(done));
	return s->control.size == sizeof(done) && done.round == s->round
		   ? 0
		   : source_link_failed(s, -EPROTO, why);
}

struct counts source_counts_now(struct source *s)
{
	return (struct counts){atomic_load(&s->flow.pages), atomic_load(&s->flow.zero_pages),
			       atomic_load(&s->flow.bytes), atomic_load(&s->flow.paced_us), now_us()};
}

struct migrate_round_report *source_round_report(struct source *s, struct counts before)
{
	static struct migrate_round_report beyond;
	struct counts now = source_counts_now(s);
	struct migrate_round_report *out =
	    s->r->round_count < REPORT_ROUNDS_MAX ? &s->r->round[s->r->round_count++] : &beyond;
	uint64_t zero = now.zero_pages - before.zero_pages;
	*out = (struct migrate_round_report){now.pages - before.pages + zero, zero, now.bytes - before.bytes,
					     now.us - before.us};
	return out;
}

/* Rounds until what is dirty fits the downtime limit at the best rate seen, fixed costs included. Some
 * programs write faster than that: after STUBBORN_ROUNDS that hardly shrink they are stopped anyway, and the
 * report says so. */
int source_rounds(struct source *s, struct failure *why)
{
	uint64_t dirty, last = UINT64_MAX;
	double page_us = 0;
	unsigned stubborn = 0;
	int rc = source_round_begin(s, ROUND_LIVE, &dirty, why);
	for (unsigned i = 0; rc == 0; i++) {
		struct counts before = source_counts_now(s);
		s->round++;
		outflow_round(&s->flow);
		rc = source_round_installed(s, SILENCE_US, why);
		if (rc)
			break;
		const struct migrate_round_report *round = source_round_report(s, before);
		/* The limit on bandwidth ends with the rounds: what it cost does not count. */
		uint64_t paced_us = atomic_load(&s->flow.paced_us) - before.paced_us;
		if (round->pages >= RATE_PAGES_MIN || i == 0)
			page_us =
			    (double)(round->us - (paced_us < round->us ? paced_us : 0)) / (round->pages + 1);
		if (i == 0)
			s->r->pages_total = round->pages;
		/* Takes what was dirtied meanwhile: sent by the next round, be it the last. */
		rc = source_round_begin(s, ROUND_LIVE, &dirty, why);
		if (rc)
			break;
		s->r->converged = dirty == 0 || SWITCH_FIXED_US + dirty * page_us <= s->o->downtime_limit_us;
		stubborn = dirty > last - last / 10 ? stubborn + 1 : 0;
		last = dirty;
		if (s->r->converged || stubborn == STUBBORN_ROUNDS || i + 1 == ROUNDS_MAX)
			break;
	}
	return rc;
}
