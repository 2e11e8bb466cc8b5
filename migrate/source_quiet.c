/* SPDX-License-Identifier: Apache-2.0
 *
 * Hybrid and postcopy: which pages go while the program runs, and which stay
 * behind because they are written too often to be worth it. Page by page the
 * enclave decides (enclave/source_pages.c); here is when it is asked what.
 */
#include "migrate/source_private.h"
#include <errno.h>

#define LOOKS_MAX 30
#define WATCH_STEP_US (20ull * 1000)
#define TRIAL_PAGES (2 * PAGES_HERE) /* over the streams, as most will go ... */
#define TRIAL_SHARE 32		     /* ... but no more than one in so many: they may be written all the time */
#define NEWS_PER_PAGE_MAX 0.5 /* written for the first time while one is sent */
#define GLANCE_US (5ull * 1000)
#define RESTLESS_US (5ull * 1000)
#define FORGIVE_US (100ull * 1000) /* quiet for so long, pages that were written before may count as quiet */
#define RETURN_US (10ull * 1000)   /* ... or for so long, when little is left to do */
/* ... if to send them takes no longer than so often the time that they were quiet: then most will still be. */
#define QUIET_GOES_ON 4
#define PATIENCE 2 /* times what it would take to bring them */
#define PAGE_US 10.0 /* until one was sent */
#define RETURNS_MAX 8
#define FINISHES_MAX 3
#define LOAD_SLOWED_MAX 4.0 /* as LOAD_ALL_MAX, once the pages are there: to take them out costs, too */
#define THROTTLE_ENOUGH 85 /* percent: from there on no more is tried */

/* What pages written in so much time come to, as a share of what rounds carry; above 1 they do not become shorter. */
static double load_of(struct source *s, uint64_t pages, uint64_t us)
{
	uint64_t bandwidth = atomic_load(&s->flow.bandwidth);
	double page_us = s->page_us > 0 ? s->page_us : PAGE_US;
	double paced_us = bandwidth ? PAGE_SIZE * 1e6 / (double)bandwidth : 0;
	return (double)pages * (paced_us > page_us ? paced_us : page_us) / (double)(us + 1);
}

bool source_quiet_lasts(const struct source *s, double news_per_s)
{
	return news_per_s * s->new_page_us < NEWS_PER_PAGE_MAX * 1e6;
}

static int try_pages(struct source *s, uint64_t most, bool there, struct failure *why)
{
	struct round_choice choice;
	int rc = source_round_begin(s, ROUND_SAMPLE, most, there, &choice, why);
	return rc ? rc : source_round_measured(s, &choice, there ? 0 : choice.pages, there, why);
}

/* Prices: of a page that comes into being, and of one that exists there. */
static int try_prices(struct source *s, uint64_t absent, struct failure *why)
{
	uint64_t pages = absent / TRIAL_SHARE < TRIAL_PAGES ? absent / TRIAL_SHARE : TRIAL_PAGES;
	int rc = try_pages(s, pages, false, why);
	return rc ? rc : try_pages(s, pages, true, why);
}

/* What goes first. */
enum plan {
	PLAN_NOTHING, /* what is quiet now would be written before all of it has gone */
	PLAN_QUIET,   /* what was never seen written */
	PLAN_ALL,     /* all there is: rounds keep up with what is written, if need be by slowing the program down */
};

/* Looks at what is written before much is sent: where rounds cannot keep up, what is written all the time is not worth
 * it. A few pages are tried as soon as that is the question. */
static int watch(struct source *s, enum plan *plan, struct failure *why)
{
	struct round_choice seen;
	uint64_t begun = now_us(), news_per_s = 0;
	/* Paced rounds take too long to slow a program down for. */
	double load_max = source_is_paced(s) ? LOAD_MAX : LOAD_ALL_MAX;
	bool tried = false;
	*plan = PLAN_QUIET;
	/* The first look is at all that was written since the session began. */
	int rc = source_glance(s, ROUND_WATCH, WATCH_STEP_US, &seen, why);
	while (rc == 0 && *plan == PLAN_QUIET && now_us() - begun < WATCH_MAX_US) {
		rc = source_glance(s, ROUND_WATCH, WATCH_STEP_US, &seen, why);
		if (rc)
			break;
		news_per_s = seen.news * 1000000 / (seen.since_us + 1);
		if (news_per_s < WATCH_NEWS_PER_S)
			break;
		if (!tried)
			rc = try_prices(s, seen.absent, why);
		tried = true;
		if (load_of(s, seen.written, seen.since_us) < load_max)
			*plan = PLAN_ALL;
	}
	if (rc == 0 && *plan == PLAN_QUIET && tried && !source_quiet_lasts(s, (double)news_per_s))
		*plan = PLAN_NOTHING;
	s->r->watch_us = now_us() - begun;
	return rc;
}

/* So many pages that were written before are worth sending when nobody has written them for so long. */
static uint64_t worth_if_quiet_for(const struct source *s, uint64_t us)
{
	double page_us = s->new_page_us > 0 ? s->new_page_us : PAGE_US;
	return GROW_UNSEEN + (uint64_t)((double)us * QUIET_GOES_ON / page_us);
}

struct quiet {
	bool grow;   /* pages that do not exist there are sent */
	bool behind; /* rounds do not catch up with what is written: pages are taken out */
	bool all;    /* went once, however often they are written */
	bool enough; /* rounds leave no fewer, and these can be borne */
	bool paused; /* before this look */
	bool waited; /* for calm */
	unsigned looks, returns, finishes;
	uint64_t sent;
	uint64_t least_absent;
};

static int look(struct source *s, struct quiet *q, struct round_choice *seen, struct failure *why)
{
	uint64_t since_us = now_us() - s->looked_us, growth = GROW_NOT;
	if (q->paused || (q->grow && since_us >= FORGIVE_US))
		growth = worth_if_quiet_for(s, since_us);
	else if (q->grow)
		growth = GROW_UNSEEN;
	uint64_t most = q->behind ? source_affordable(s) : UINT64_MAX;
	int rc = source_round_begin(s, ROUND_QUIET, most, growth, seen, why);
	if (rc)
		return rc;
	s->r->converged = seen->old <= source_affordable(s);
	/* Much of what was quiet is not: then it is not worth sending more of its kind. */
	if (q->looks > 0 && seen->old > q->sent / 8)
		q->grow = false;
	return 0;
}

/* ---- what may follow a look ---- */

enum step {
	STEP_SEND,     /* what is quiet */
	STEP_WAIT,     /* for something to become quiet */
	STEP_CATCH_UP, /* all that is old there, quiet or not */
	STEP_SEND_ALL, /* all that is not there as it is */
	STEP_RETURN,   /* wait whether pages that were taken out, or never sent, are quiet after all */
	STEP_CALM,     /* wait until the program writes less */
	STEP_FINISH,   /* all but what the stop carries */
};

/* Is most of what does not exist there written now and then only, and can rounds keep up with what is written in all? Rounds
 * have shown that of what exists there; of all together a short look says it roughly. */
static bool may_all_go(struct source *s, const struct round_choice *seen)
{
	return seen->written <= seen->absent / 2 && s->load < LOAD_MAX &&
	       load_of(s, seen->written, seen->since_us) < (s->load > 0 ? 2 : 1) * LOAD_MAX;
}

uint64_t source_patience_us(const struct source *s, uint64_t pages, uint64_t watched_us)
{
	uint64_t us = (uint64_t)((double)pages * s->new_page_us) * PATIENCE;
	uint64_t left_us = watched_us < WATCH_MAX_US ? WATCH_MAX_US - watched_us : 0;
	return us < left_us ? us : left_us;
}

static bool is_patient(const struct source *s, const struct quiet *q, uint64_t pages)
{
	return !q->waited && source_patience_us(s, pages, s->r->watch_us) >= WATCH_STEP_US;
}

/* Once only, or what alternates would be waited for time and again. */
static int await_calm(struct source *s, struct quiet *q, uint64_t pages, bool *calm, struct failure *why)
{
	uint64_t begun = now_us(), until_us = begun + source_patience_us(s, pages, s->r->watch_us);
	int rc = 0;
	q->waited = true;
	for (*calm = false; rc == 0 && !*calm && now_us() + WATCH_STEP_US <= until_us;) {
		struct round_choice seen;
		rc = source_glance(s, ROUND_OLD, WATCH_STEP_US, &seen, why);
		*calm = rc == 0 && load_of(s, seen.written, seen.since_us) < LOAD_MAX;
	}
	s->r->watch_us += now_us() - begun;
	return rc;
}

static enum step step_after(struct source *s, const struct quiet *q, const struct round_choice *c)
{
	if (q->paused && !q->behind && !q->all && may_all_go(s, c))
		return STEP_SEND_ALL;
	bool fits = s->r->converged || (q->enough && c->old <= source_tolerable(s));
	if (q->looks > 0 && !q->behind && !fits)
		return STEP_CATCH_UP;
	if (q->looks > 0 && !q->paused && fits && c->pages <= source_affordable(s)) {
		bool fewer = c->absent <= q->least_absent - q->least_absent / 4;
		if (c->absent > ROUND_PAGES_MIN && fewer && q->returns < RETURNS_MAX)
			return STEP_RETURN;
		bool more = load_of(s, c->written, c->since_us) >= LOAD_MAX;
		return !q->behind && more && is_patient(s, q, c->absent) ? STEP_CALM : STEP_FINISH;
	}
	return c->pages == 0 ? STEP_WAIT : STEP_SEND;
}

static int send_quiet(struct source *s, struct quiet *q, const struct round_choice *choice, struct failure *why)
{
	q->sent = choice->pages;
	return source_round_measured(s, choice, choice->pages, choice->pages <= choice->old, why);
}

static int wait_to_look(struct source *s, uint64_t us, struct failure *why)
{
	int rc = source_export(s, why);
	return rc ? rc : source_pause(s, us, why);
}

static int wait_for_absent(struct source *s, struct quiet *q, uint64_t absent, struct failure *why)
{
	q->returns++;
	q->least_absent = absent;
	q->grow = false;
	q->paused = true;
	return wait_to_look(s, RETURN_US, why);
}

static int wait_until_calm(struct source *s, struct quiet *q, uint64_t absent, struct failure *why)
{
	bool calm;
	int rc = source_export(s, why);
	if (rc == 0)
		rc = await_calm(s, q, absent, &calm, why);
	q->paused = true;
	return rc ? rc : source_pause(s, RETURN_US, why);
}

static int send_all(struct source *s, struct quiet *q, struct failure *why)
{
	struct round_choice choice;
	q->all = true;
	int rc = source_export(s, why);
	if (rc == 0)
		rc = source_round_begin(s, ROUND_LIVE, 0, GROW_NOT, &choice, why);
	return rc ? rc : source_round_measured(s, &choice, choice.pages, false, why);
}

/* Long rounds kept up, and few pages are left: short ones do not shrink because of what each takes whatever is in it. */
static bool is_nearly_caught_up(const struct source *s, uint64_t pages)
{
	return s->load > 0 && s->load < LOAD_MAX && pages <= source_tolerable(s);
}

/* Not if it writes so fast that it would have to stand still most of the time. How fast a short look tells: in a long round
 * the same pages are written over and over. */
static int is_worth_slowing(struct source *s, bool *worth, struct failure *why)
{
	struct round_choice seen;
	int rc = source_glance(s, ROUND_OLD, GLANCE_US, &seen, why);
	*worth = rc == 0 && load_of(s, seen.written, seen.since_us) < LOAD_SLOWED_MAX;
	return rc;
}

/* Who is not caught up with is slowed down: it costs less than to take out what such a program may write next, which may be
 * everything. *done: it was caught up with so; left alone it would write more than in these rounds. */
static int catch_up(struct source *s, struct quiet *q, uint64_t old, bool *done, struct failure *why)
{
	struct round_choice choice = {0};
	bool slower = true;
	int rc = source_export(s, why);
	while (rc == 0 && slower) {
		rc = source_catch_up(s, ROUND_OLD, source_affordable(s), 4, &choice, why);
		slower = choice.pages > source_affordable(s) && !source_is_paced(s) && s->throttle < THROTTLE_ENOUGH &&
			 !is_nearly_caught_up(s, choice.pages);
		if (rc == 0 && slower && s->throttle == 0)
			rc = is_worth_slowing(s, &slower, why);
		if (rc == 0 && slower)
			source_throttle_more(s);
	}
	if (rc == 0 && s->throttle > 0 && choice.pages <= source_tolerable(s)) {
		rc = source_last_rounds(s, ROUND_OLD, &choice, why);
		*done = choice.pages <= source_tolerable(s);
	}
	s->r->converged = choice.pages <= source_affordable(s);
	q->enough = choice.pages <= source_tolerable(s);
	q->behind = !q->enough && (s->throttle > 0 || choice.pages > old - old / 4);
	s->throttle = 0;
	if (rc == 0 && q->behind && is_patient(s, q, choice.pages)) {
		bool calm;
		rc = await_calm(s, q, choice.pages, &calm, why);
		q->behind = !calm;
	}
	return rc;
}

/* *done: what is left may go while the program stands still. A little more than fits, if it comes to that again and again,
 * is better than to begin to take out. */
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
	bool last = ++q->finishes == FINISHES_MAX;
	*done = q->behind || s->r->converged || (last && choice.pages <= source_tolerable(s));
	q->behind = last && !*done;
	return 0;
}

static int take_step(struct source *s, struct quiet *q, bool *done, struct failure *why)
{
	struct round_choice seen;
	int rc = look(s, q, &seen, why);
	if (rc)
		return rc;
	enum step step = step_after(s, q, &seen);
	q->paused = false;
	switch (step) {
	case STEP_SEND:
		return send_quiet(s, q, &seen, why);
	case STEP_WAIT:
		return wait_to_look(s, RESTLESS_US, why);
	case STEP_CATCH_UP:
		return catch_up(s, q, seen.old, done, why);
	case STEP_SEND_ALL:
		return send_all(s, q, why);
	case STEP_RETURN:
		return wait_for_absent(s, q, seen.absent, why);
	case STEP_CALM:
		return wait_until_calm(s, q, seen.absent, why);
	case STEP_FINISH:
		return finish(s, q, seen.absent, done, why);
	}
	return fail(why, -EINVAL, "no such step");
}

/*
 * What exists there in an old version has to fit the downtime limit in the end. As long as rounds leave clearly less, all of
 * it goes again: a program that writes now here, now there is caught up with, and then all the rest goes too. From the
 * round that does not, the program is slowed down; where that does not help, a page that is found written twice is taken out
 * there and stays behind, so this ends however fast the program writes; those that have become quiet come along at the end:
 * each that stays behind is one the program may have to wait for.
 */
static int quiet_rounds(struct source *s, enum plan plan, struct failure *why)
{
	struct quiet q = {.grow = plan != PLAN_NOTHING,
			  .returns = plan == PLAN_NOTHING ? RETURNS_MAX : 0,
			  .least_absent = UINT64_MAX,
			  .behind = plan == PLAN_NOTHING};
	struct round_choice left;
	bool done = false;
	int rc = 0;
	if (plan == PLAN_ALL) {
		rc = send_all(s, &q, why);
		q.looks++;
	}
	while (rc == 0 && !done && q.looks < LOOKS_MAX) {
		bool behind = q.behind;
		rc = take_step(s, &q, &done, why);
		/* What has to be taken out needs its looks. */
		q.looks = q.behind && !behind ? 1 : q.looks + 1;
	}
	if (rc || done)
		return rc;
	/* The stop takes what there is; whether that fits is to be reported. */
	rc = look(s, &q, &left, why);
	return rc ? rc : source_export(s, why);
}

int source_quiet_rounds(struct source *s, struct failure *why)
{
	enum plan plan = PLAN_NOTHING;
	if (s->o->mode == MODE_HYBRID) {
		int rc = watch(s, &plan, why);
		/* what a round costs, whatever is in it */
		if (rc == 0)
			rc = try_pages(s, 1, true, why);
		if (rc)
			return rc;
	}
	return quiet_rounds(s, plan, why);
}
