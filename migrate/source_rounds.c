/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/source_private.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include "migrate/trusted.h"

#define ROUNDS_MAX 30
#define RATE_PAGES_MIN 256
#define TRIP_PAGES_MAX 32
#define SLOW_PAGE_US 200ull
#define FEW_PAGES 32	     /* are never worth another round */
#define LAST_PAGES 16	     /* the stop hardly notices them */
#define TRIP_US 1000	     /* until one was seen: parking, descriptors, two round trips */
#define THROTTLE_GO_US 2000l /* long enough to be woken and to work, on a busy host too */
#define THROTTLE_FIRST 30    /* percent */
#define THROTTLE_MAX 95
#define WATCH_STEP_US (20ull * 1000)
#define TRIAL_PAGES 4096
#define NEWS_PER_PAGE_MAX 0.5 /* written for the first time while one is sent */
#define RESTLESS_US (5ull * 1000)
#define FORGIVE_US (100ull * 1000) /* quiet for so long, pages that were written before may count as quiet */
#define RETURN_US (10ull * 1000)   /* ... or for so long, when little is left to do */
/* ... if to send them takes no longer than so often the time that they were quiet: then most will still be. */
#define QUIET_GOES_ON 4
#define PAGE_US 10.0 /* until one was sent */
#define RETURNS_MAX 8

int source_round_begin(struct source *s, enum migrate_round kind, uint64_t most, uint64_t grow,
		       struct round_choice *out, struct failure *why)
{
	struct trusted_call c = {.more = {most, grow}};
	uint64_t begun = now_us();
	int rc;
	while ((rc = trusted(s->e, MIGRATE_ROUND, kind, &c)) == -EAGAIN && !atomic_load(&s->m->cancelled)) {
		if (now_us() - begun > s->o->switch_timeout_us) {
			char which[200];
			enclave_stragglers(s->e, which, sizeof(which));
			return fail(why, -ETIMEDOUT, "tracking could not begin within %llu ms: %s",
				    (unsigned long long)(s->o->switch_timeout_us / 1000), which);
		}
		nanosleep(&(struct timespec){0, 20 * 1000}, NULL);
	}
	if (rc == -EAGAIN)
		return source_was_cancelled(s, why);
	if (rc)
		return source_enclave_failed(rc, "a round", why);
	*out = (struct round_choice){c.ret[0], c.ret[1], c.ret[2], c.ret[3]};
	return 0;
}

int source_export(struct source *s, struct failure *why)
{
	for (;;) {
		struct trusted_call c = {.out = s->record, .out_size = RECORD_SIZE_MAX};
		int rc = trusted(s->e, MIGRATE_EXPORT, 0, &c);
		if (rc)
			return source_enclave_failed(rc, "to hand out its state", why);
		if (c.ret[0] == 0)
			return 0;
		rc = source_tell(s, FRAME_CONTROL, s->record, c.out_size, why);
		if (rc)
			return rc;
		s->other_bytes += c.out_size;
	}
}

/* What the program may not use of its time. Threads that compute stop, those that wait in the host go on
 * waiting. */
static void throttle_step(struct source *s)
{
	struct pollfd polled = {.fd = s->control.fd, .events = POLLIN};
	long stop_us = THROTTLE_GO_US * s->throttle / (100 - s->throttle);
	if (trusted(s->e, MIGRATE_STOP, 0, NULL))
		return;
	nanosleep(&(struct timespec){0, stop_us * 1000}, NULL);
	trusted(s->e, MIGRATE_CONTINUE, 0, NULL);
	enclave_unpark_all(s->e);
	ppoll(&polled, 1, &(struct timespec){0, THROTTLE_GO_US * 1000}, NULL);
}

/* Until the destination says something. Nobody answers while bytes move, so only silence counts. */
int source_await_answer(struct source *s, uint64_t silence_us, const char *phase, struct failure *why)
{
	uint64_t bytes = atomic_load(&s->flow.bytes), moved_us = now_us();
	for (;;) {
		struct pollfd polled[2] = {{.fd = s->control.fd, .events = POLLIN},
					   {.fd = s->m->wake_fd, .events = POLLIN}};
		if (s->throttle)
			throttle_step(s);
		if (poll(polled, 2, s->throttle ? 0 : 50) != 0)
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

int source_round_send(struct source *s, uint64_t coming, struct failure *why)
{
	struct frame_round done;
	s->round++;
	outflow_round(&s->flow);
	int rc = source_export(s, why);
	/* Pages that come into being or leave take their time, and few bytes. */
	if (rc == 0)
		rc = source_await_answer(s, SILENCE_US + coming * SLOW_PAGE_US, "round", why);
	if (rc == 0)
		rc = source_expect(s, FRAME_ROUND_DONE, SILENCE_US, why);
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

/* ---- prices ---- */

uint64_t source_affordable(const struct source *s, double page_us)
{
	uint64_t trip_us = s->trip_us ? s->trip_us : TRIP_US, limit_us = s->o->downtime_limit_us;
	/* A round is one round trip and two crossings of each border; a switch is two, parking and
	 * descriptors. */
	double pages = limit_us > 3 * trip_us && page_us > 0 ? (double)(limit_us - 3 * trip_us) / page_us : 0;
	return pages > FEW_PAGES ? (uint64_t)pages : FEW_PAGES;
}

/* A quarter of what the limit allows: the program waits for few of those that follow. */
uint64_t source_affordable_absent(const struct source *s)
{
	return source_affordable(s, s->new_page_us) / 4;
}

/* Sends what was chosen and learns from it. old: the pages existed there. */
static int measured_round(struct source *s, uint64_t coming, bool old, struct failure *why)
{
	struct counts before = source_counts_now(s);
	int rc = source_round_send(s, coming, why);
	if (rc)
		return rc;
	const struct migrate_round_report *round = source_round_report(s, before);
	/* The limit on bandwidth ends with the rounds: what it cost does not count. */
	uint64_t paced_us = atomic_load(&s->flow.paced_us) - before.paced_us;
	uint64_t us = round->us - (paced_us < round->us ? paced_us : 0);
	double page_us = (double)us / (double)(round->pages + 1);
	if (round->pages <= TRIP_PAGES_MAX && (s->trip_us == 0 || us < s->trip_us))
		s->trip_us = us;
	if (round->pages >= RATE_PAGES_MIN && old)
		s->page_us = page_us;
	if (round->pages >= RATE_PAGES_MIN && !old)
		s->new_page_us = page_us;
	if (s->page_us == 0)
		s->page_us = page_us;
	if (s->new_page_us == 0)
		s->new_page_us = page_us;
	return 0;
}

/* ---- precopy ---- */

/* Each time the last step was not enough, a third of what the program still had is taken. */
static void throttle_more(struct source *s)
{
	s->throttle = s->throttle == 0 ? THROTTLE_FIRST : s->throttle + (100 - s->throttle + 2) / 3;
	if (s->throttle > THROTTLE_MAX)
		s->throttle = THROTTLE_MAX;
	s->r->throttle_percent = s->throttle;
}

/*
 * What would go while the program stands still goes once more while it runs, for as long as that leaves less than half:
 * the limit says what a stop may last, not what it has to. kind: LIVE or OLD.
 */
static int last_rounds(struct source *s, enum migrate_round kind, struct failure *why)
{
	struct round_choice choice;
	for (uint64_t last = UINT64_MAX;;) {
		int rc = source_round_begin(s, kind, 0, GROW_NOT, &choice, why);
		if (rc)
			return rc;
		if (choice.pages <= LAST_PAGES || choice.pages > last / 2)
			return source_export(s, why);
		last = choice.pages;
		rc = measured_round(s, 0, true, why);
		if (rc)
			return rc;
	}
}

/* Rounds until what is dirty fits the downtime limit at the best rate seen, fixed costs included. A program
 * that writes faster than that is slowed down until rounds get ahead of it. */
static int precopy_rounds(struct source *s, struct failure *why)
{
	struct round_choice choice;
	uint64_t last = UINT64_MAX;
	int rc = source_round_begin(s, ROUND_LIVE, 0, GROW_NOT, &choice, why);
	for (unsigned i = 0; rc == 0; i++) {
		rc = measured_round(s, 0, true, why);
		if (i == 0)
			s->r->pages_total = choice.pages;
		/* Takes what was dirtied meanwhile: sent by the next round, be it the last. */
		if (rc == 0)
			rc = source_round_begin(s, ROUND_LIVE, 0, GROW_NOT, &choice, why);
		if (rc)
			break;
		s->r->converged = choice.pages <= source_affordable(s, s->page_us);
		bool shrinks = choice.pages <= last - last / 4;
		if (s->r->converged || i + 1 == ROUNDS_MAX || (!shrinks && s->throttle == THROTTLE_MAX)) {
			/* Left alone it writes more than in the rounds that slowed it down. */
			bool more = s->r->converged && s->throttle == 0;
			s->throttle = 0;
			rc = source_export(s, why);
			return rc || !more ? rc : last_rounds(s, ROUND_LIVE, why);
		}
		if (!shrinks)
			throttle_more(s);
		last = choice.pages;
	}
	return rc;
}

/* ---- hybrid and postcopy ---- */

/* Waits that long, or until there is something else to do. */
static int pause_us(struct source *s, uint64_t us, struct failure *why)
{
	struct pollfd polled = {.fd = s->m->wake_fd, .events = POLLIN};
	source_progress(s, "watch");
	if (poll(&polled, 1, (int)(us / 1000)) > 0)
		return source_link_failed(s, -ECANCELED, why);
	return source_out_of_time(s) ? source_timed_out(s, why) : 0;
}

/* Looks at what is written before anything is sent: what is written all the time is not worth it. *news_per_s: pages
 * written for the first time, at the end. */
static int watch(struct source *s, uint64_t *news_per_s, struct failure *why)
{
	struct round_choice choice;
	uint64_t begun = now_us(), last = begun;
	int rc;
	do {
		rc = pause_us(s, WATCH_STEP_US, why);
		if (rc == 0)
			rc = source_round_begin(s, ROUND_WATCH, 0, GROW_NOT, &choice, why);
		if (rc == 0)
			rc = source_export(s, why);
		if (rc)
			return rc;
		uint64_t now = now_us();
		bool first = last == begun; /* since the session began: no rate */
		*news_per_s = choice.written * 1000000 / (now - last + 1);
		last = now;
		if (!first && *news_per_s < WATCH_NEWS_PER_S)
			break;
	} while (last - begun < WATCH_MAX_US);
	s->r->watch_us = last - begun;
	s->r->pages_total = choice.old + choice.absent;
	return 0;
}

bool source_quiet_lasts(const struct source *s, double news_per_s)
{
	return news_per_s * s->new_page_us < NEWS_PER_PAGE_MAX * 1e6;
}

/* Tries with a few what a page costs, if it matters. */
static int is_worth_sending(struct source *s, uint64_t news_per_s, bool *worth, struct failure *why)
{
	struct round_choice choice;
	*worth = true;
	if (news_per_s < WATCH_NEWS_PER_S)
		return 0;
	int rc = source_round_begin(s, ROUND_SAMPLE, TRIAL_PAGES, GROW_NOT, &choice, why);
	if (rc == 0)
		rc = measured_round(s, choice.pages, false, why);
	*worth = source_quiet_lasts(s, (double)news_per_s);
	return rc;
}

/* So many pages that were written before are worth sending when nobody has written them for so long. */
static uint64_t worth_if_quiet_for(const struct source *s, uint64_t us)
{
	double page_us = s->new_page_us > 0 ? s->new_page_us : PAGE_US;
	return GROW_UNSEEN + (uint64_t)((double)us * QUIET_GOES_ON / page_us);
}

/*
 * Sends what is quiet, again what has changed since, until what exists there in an old version fits the
 * downtime limit. A page that is found written twice is taken out there and stays behind, so every page goes
 * at most a few times, and this ends however fast the program writes. grow: pages that do not exist there are
 * sent too, at the end also those that were taken out, if they have become quiet: each that stays behind is
 * one the program may have to wait for.
 */
static int quiet_rounds(struct source *s, bool grow, struct failure *why)
{
	struct round_choice choice;
	uint64_t sent = 0, last_us = now_us(), last_absent = UINT64_MAX;
	unsigned returns = grow ? 0 : RETURNS_MAX;
	bool paused = false;
	for (unsigned i = 0;; i++) {
		uint64_t most = source_affordable(s, s->page_us), now = now_us();
		uint64_t quiet_us = now - last_us;
		uint64_t growth = paused || (grow && quiet_us >= FORGIVE_US) ? worth_if_quiet_for(s, quiet_us)
				  : grow				     ? GROW_UNSEEN
									     : GROW_NOT;
		int rc = source_round_begin(s, ROUND_QUIET, most, growth, &choice, why);
		last_us = now;
		if (rc)
			return rc;
		if (s->r->pages_total == 0)
			s->r->pages_total = choice.old + choice.absent;
		s->r->converged = choice.old <= most;
		if (i == ROUNDS_MAX)
			return source_export(s, why);
		if (i > 0 && !paused && s->r->converged && choice.pages <= most) {
			rc = source_export(s, why);
			bool fewer = choice.absent <= last_absent - last_absent / 4;
			if (rc)
				return rc;
			if (choice.absent <= FEW_PAGES || !fewer || returns == RETURNS_MAX)
				return last_rounds(
				    s, choice.absent <= source_affordable_absent(s) ? ROUND_LIVE : ROUND_OLD,
				    why);
			returns++;
			last_absent = choice.absent;
			grow = false;
			paused = true;
			rc = pause_us(s, RETURN_US, why);
			if (rc)
				return rc;
			continue;
		}
		paused = false;
		/* Much of what was quiet is not: then it is not worth sending more of its kind. */
		if (i > 0 && choice.old > sent / 8)
			grow = false;
		if (choice.pages == 0) {
			rc = source_export(s, why);
			if (rc == 0)
				rc = pause_us(s, RESTLESS_US, why);
			if (rc)
				return rc;
			continue;
		}
		sent = choice.pages;
		rc = measured_round(s, choice.pages, choice.pages <= choice.old, why);
		if (rc)
			return rc;
	}
}

int source_rounds(struct source *s, struct failure *why)
{
	uint64_t news_per_s = 0;
	bool grow = false;
	int rc = 0;
	switch (s->o->mode) {
	case MODE_STOP_COPY:
		return 0;
	case MODE_PRECOPY:
		return precopy_rounds(s, why);
	case MODE_POSTCOPY:
		return quiet_rounds(s, false, why);
	case MODE_HYBRID:
		rc = watch(s, &news_per_s, why);
		if (rc == 0)
			rc = is_worth_sending(s, news_per_s, &grow, why);
		return rc ? rc : quiet_rounds(s, grow, why);
	case MODE_COUNT:
		break;
	}
	return fail(why, -EINVAL, "no such mode");
}
