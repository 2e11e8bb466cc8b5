/* SPDX-License-Identifier: Apache-2.0
 *
 * Hybrid and postcopy: which pages go while the program runs, and which stay
 * behind because they are written too often to be worth it. Page by page the
 * enclave decides (enclave/source_pages.c); here is when it is asked what.
 */
#include "migrate/source_private.h"
#include <errno.h>
#include <poll.h>

#define LOOKS_MAX 30
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
#define NEARLY_FITS 2
#define NEARLY 8	   /* times what fits the limit */
#define THROTTLE_MOST 70   /* percent; a few rounds long */

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

/* Tries what a round costs, and with a few pages what one costs, if it matters. */
static int is_worth_sending(struct source *s, uint64_t news_per_s, bool *worth, struct failure *why)
{
	struct round_choice choice;
	*worth = true;
	int rc = source_round_begin(s, ROUND_SAMPLE, 1, 1, &choice, why);
	if (rc == 0)
		rc = source_round_measured(s, choice.pages, true, why);
	if (rc || news_per_s < WATCH_NEWS_PER_S)
		return rc;
	rc = source_round_begin(s, ROUND_SAMPLE, TRIAL_PAGES, 0, &choice, why);
	if (rc == 0)
		rc = source_round_measured(s, choice.pages, false, why);
	*worth = source_quiet_lasts(s, (double)news_per_s);
	return rc;
}

/* Then a round takes as long as the limit on bandwidth says, and so would everything that rounds are good for. */
static bool is_paced(struct source *s)
{
	return atomic_load(&s->flow.bandwidth) != 0;
}

/* So many pages that were written before are worth sending when nobody has written them for so long. */
static uint64_t worth_if_quiet_for(const struct source *s, uint64_t us)
{
	double page_us = s->new_page_us > 0 ? s->new_page_us : PAGE_US;
	return GROW_UNSEEN + (uint64_t)((double)us * QUIET_GOES_ON / page_us);
}

/* As rounds have shown it; before there was one, by what is written and what a page takes. */
static double load(struct source *s, const struct round_choice *choice, uint64_t us)
{
	if (s->load > 0)
		return s->load;
	return is_paced(s) ? LOAD_MAX : (double)choice->written * s->page_us / (double)us;
}

/* Is most of what does not exist there written now and then only, and can rounds keep up with what is written in all? */
static bool may_all_go(struct source *s, const struct round_choice *choice, uint64_t us)
{
	return choice->written <= choice->absent / 2 && load(s, choice, us) < LOAD_MAX;
}

struct quiet {
	bool grow;   /* pages that do not exist there are sent */
	bool behind; /* rounds do not catch up with what is written: pages are taken out */
	bool all;    /* went once, however often they are written */
	bool paused; /* before this look */
	unsigned returns;
	uint64_t sent;
	uint64_t looked_us;
	uint64_t least_absent;
};

/* What has changed, and what of it is quiet. *since_us: how long nobody had looked. */
static int look(struct source *s, struct quiet *q, struct round_choice *choice, uint64_t *since_us,
		struct failure *why)
{
	uint64_t now = now_us(), growth = GROW_NOT;
	*since_us = now - q->looked_us;
	q->looked_us = now;
	if (q->paused || (q->grow && *since_us >= FORGIVE_US))
		growth = worth_if_quiet_for(s, *since_us);
	else if (q->grow)
		growth = GROW_UNSEEN;
	uint64_t most = q->behind ? source_affordable(s) : UINT64_MAX;
	int rc = source_round_begin(s, ROUND_QUIET, most, growth, choice, why);
	if (rc)
		return rc;
	if (s->r->pages_total == 0)
		s->r->pages_total = choice->old + choice->absent;
	s->r->converged = choice->old <= source_affordable(s);
	return 0;
}

/* All that is not there as it is, however often it is written. */
static int send_all(struct source *s, struct quiet *q, struct failure *why)
{
	struct round_choice choice;
	q->all = true;
	q->looked_us = now_us();
	int rc = source_export(s, why);
	if (rc == 0)
		rc = source_round_begin(s, ROUND_LIVE, 0, GROW_NOT, &choice, why);
	return rc ? rc : source_round_measured(s, choice.pages, false, why);
}

/* Who is nearly caught up with is slowed down for a few rounds: to take out what such a program may write next would take
 * out everything. */
static int catch_up(struct source *s, struct quiet *q, uint64_t old, struct failure *why)
{
	struct round_choice choice;
	int rc = source_export(s, why);
	for (;;) {
		uint64_t most = source_affordable(s);
		if (rc == 0)
			rc = source_catch_up(s, ROUND_OLD, most, 4, &choice, why);
		if (rc)
			break;
		bool nearly = choice.pages <= NEARLY * most && !is_paced(s);
		if (choice.pages > most && nearly && s->throttle < THROTTLE_MOST) {
			source_throttle_more(s);
			continue;
		}
		/* Neither did slowing it down help, nor are there fewer than before. */
		q->behind = choice.pages > most && (nearly || choice.pages > old - old / 4);
		break;
	}
	s->throttle = 0;
	q->looked_us = now_us();
	return rc;
}

/* *done: what is left may go while the program stands still. A little more than fits is better than to begin to take
 * out. */
static int finish(struct source *s, struct quiet *q, uint64_t absent, bool *done, struct failure *why)
{
	enum migrate_round kind = absent <= source_affordable_absent(s) ? ROUND_LIVE : ROUND_OLD;
	struct round_choice choice;
	int rc = source_export(s, why);
	if (rc == 0)
		rc = source_last_rounds(s, kind, &choice, why);
	if (rc)
		return rc;
	s->r->converged = choice.pages <= source_affordable(s);
	*done = q->behind || choice.pages <= NEARLY_FITS * source_affordable(s);
	q->behind = true;
	q->looked_us = now_us();
	return 0;
}

static int pause_before_look(struct source *s, uint64_t us, struct failure *why)
{
	int rc = source_export(s, why);
	return rc ? rc : pause_us(s, us, why);
}

/*
 * What exists there in an old version has to fit the downtime limit in the end. As long as rounds leave clearly less, all of
 * it goes again: a program that writes now here, now there is caught up with, and then all the rest goes too. From the
 * round that does not, a page that is found written twice is taken out there and stays behind, so this ends however
 * fast the program writes; those that have become quiet come along at the end: each that stays behind is one the
 * program may have to wait for.
 */
static int quiet_rounds(struct source *s, bool grow, struct failure *why)
{
	struct quiet q = {.grow = grow, .returns = grow ? 0 : RETURNS_MAX, .looked_us = now_us(), .least_absent = UINT64_MAX,
			  .behind = s->o->mode == MODE_POSTCOPY};
	for (unsigned i = 0;; i++) {
		struct round_choice choice;
		uint64_t since_us;
		int rc = look(s, &q, &choice, &since_us, why);
		if (rc)
			return rc;
		if (i == LOOKS_MAX)
			return source_export(s, why);
		bool paused = q.paused, behind = q.behind, little = choice.pages <= source_affordable(s);
		q.paused = false;
		/* Much of what was quiet is not: then it is not worth sending more of its kind. */
		if (i > 0 && choice.old > q.sent / 8)
			q.grow = false;
		if (paused && !q.behind && !q.all && may_all_go(s, &choice, since_us)) {
			rc = send_all(s, &q, why);
		} else if (i > 0 && !paused && s->r->converged && little) {
			bool fewer = choice.absent <= q.least_absent - q.least_absent / 4;
			if (choice.absent <= ROUND_PAGES_MIN || !fewer || q.returns == RETURNS_MAX) {
				bool done;
				rc = finish(s, &q, choice.absent, &done, why);
				if (rc || done)
					return rc;
			} else {
				q.returns++;
				q.least_absent = choice.absent;
				q.grow = false;
				q.paused = true;
				rc = pause_before_look(s, RETURN_US, why);
			}
		} else if (i > 0 && !q.behind && !s->r->converged) {
			rc = catch_up(s, &q, choice.old, why);
		} else if (choice.pages == 0) {
			rc = pause_before_look(s, RESTLESS_US, why);
		} else {
			q.sent = choice.pages;
			rc = source_round_measured(s, choice.pages, choice.pages <= choice.old, why);
		}
		if (rc)
			return rc;
		if (q.behind && !behind)
			i = 0; /* what has to be taken out needs its rounds */
	}
}

int source_quiet_rounds(struct source *s, struct failure *why)
{
	uint64_t news_per_s;
	bool grow = false;
	if (s->o->mode == MODE_HYBRID) {
		int rc = watch(s, &news_per_s, why);
		if (rc == 0)
			rc = is_worth_sending(s, news_per_s, &grow, why);
		if (rc)
			return rc;
	}
	return quiet_rounds(s, grow, why);
}
