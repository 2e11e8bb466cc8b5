/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a move would take and the program stand still: from what it writes
 * now, and from a sample of its pages that goes to a destination which throws it
 * away. The program runs on meanwhile.
 */
#include "migrate/source_private.h"
#include <math.h>

#define LOOKS 20
#define LOOK_US (50ull * 1000)
#define LOOKS_US (LOOKS * LOOK_US)
#define SAMPLE_PAGES 4096
#define SAMPLES 3
#define TRIPS 5
#define NEVER_US 1e9
/* Of the price of a page in a sample, beside a program that computes: what it costs while that stands still; and while it
 * mostly waits for pages. As measured. */
#define STILL_SHARE 0.7
#define WAITING_SHARE 0.75
#define CONNECTIONS_US 700.0 /* to take connections along, few of them */
/* A program that writes more than this share of what rounds carry is slowed down by precopy; its rounds then come to no
 * more than that share. What it writes in the last of them is this part of what may go in the stop. All as measured. */
#define BUSY_FROM 0.5
#define THROTTLED_LOAD 0.85
#define BUSY_STOP 0.2
#define START_US 60000.0 /* what hybrid looks and tries before it begins */

/* What was seen of the program. */
struct writes {
	uint64_t live;	   /* pages */
	uint64_t absent;   /* of them, those that do not exist there */
	uint64_t seen;	   /* of them, those written in all looks together */
	double per_look;   /* distinct pages written in one look */
	/* pages written for the first time, in the first look and towards the end */
	double early_news_per_s, news_per_s;
};

static int watch(struct source *s, struct writes *w, struct failure *why)
{
	struct round_choice choice;
	double late_news = 0;
	/* The first look is at what was written since the session began. */
	int rc = source_glance(s, ROUND_WATCH, LOOK_US, &choice, why);
	w->seen = choice.news;
	w->per_look = 0;
	for (unsigned i = 0; rc == 0 && i < LOOKS; i++) {
		rc = source_glance(s, ROUND_WATCH, LOOK_US, &choice, why);
		w->seen += choice.news;
		w->per_look += (double)choice.written / LOOKS;
		if (i == 0)
			w->early_news_per_s = (double)choice.news * 1e6 / LOOK_US;
		if (i >= LOOKS / 2)
			late_news += (double)choice.news;
	}
	w->live = choice.old + choice.absent;
	w->absent = choice.absent;
	w->news_per_s = late_news * 1e6 / (double)(LOOKS - LOOKS / 2) / LOOK_US;
	return rc;
}

/* Microseconds a page, beside the way there and back. What one costs that comes into being with its content, and one that
 * exists, stands in struct source. */
struct prices {
	double room_us; /* made before its content comes */
	double fill_us; /* its first content */
};

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* One round, of what it sends. */
static int timed(struct source *s, enum migrate_round kind, uint64_t pages, bool there, uint64_t *us, uint64_t *sent,
		 struct failure *why)
{
	struct round_choice choice = {0};
	int rc = source_round_begin(s, kind, pages, there, &choice, why);
	uint64_t begun = now_us();
	if (rc == 0)
		rc = source_round_send(s, &choice, choice.pages, why);
	*us = now_us() - begun;
	*sent = choice.pages;
	return rc;
}

static int sample(struct source *s, enum migrate_round kind, uint64_t pages, bool there, double *price, struct failure *why)
{
	uint64_t us, sent;
	int rc = timed(s, kind, pages, there, &us, &sent, why);
	if (rc == 0 && sent)
		*price = least(*price, (double)source_work_us(s, us) / (double)sent);
	return rc;
}

static double known(double price, double otherwise)
{
	return price < NEVER_US ? price : otherwise;
}

/* The least of a few: a sample is short, and whatever else runs may be in its way. */
static int probe(struct source *s, uint64_t absent, struct prices *p, struct failure *why)
{
	uint64_t pages = absent / (2 * SAMPLES) < SAMPLE_PAGES ? absent / (2 * SAMPLES) + 1 : SAMPLE_PAGES;
	uint64_t us, sent, trip_us = UINT64_MAX;
	int rc = 0;
	s->new_page_us = s->page_us = p->room_us = p->fill_us = NEVER_US;
	for (unsigned i = 0; rc == 0 && i < SAMPLES; i++) {
		rc = sample(s, ROUND_PREPARE, pages, false, &p->room_us, why);
		if (rc == 0)
			rc = sample(s, ROUND_OLD, pages, false, &p->fill_us, why);
		if (rc == 0)
			rc = sample(s, ROUND_SAMPLE, pages, false, &s->new_page_us, why);
		if (rc == 0)
			rc = sample(s, ROUND_SAMPLE, pages, true, &s->page_us, why);
	}
	for (unsigned i = 0; rc == 0 && i < TRIPS; i++) {
		rc = timed(s, ROUND_SAMPLE, 1, true, &us, &sent, why);
		trip_us = us < trip_us ? us : trip_us;
	}
	/* Who is small has no pages for all of these. */
	s->page_us = known(s->page_us, 0);
	p->room_us = known(p->room_us, 0);
	p->fill_us = known(p->fill_us, s->page_us);
	s->new_page_us = known(s->new_page_us, p->room_us + p->fill_us);
	s->trip_us = trip_us;
	return rc;
}

/* How much longer than these looks hybrid would watch: what was not seen written yet is met at a steady rate. */
static double watch_goes_on_s(double news_per_s, double quiet)
{
	double most_s = (double)(WATCH_MAX_US - LOOKS_US) / 1e6;
	return news_per_s > WATCH_NEWS_PER_S && quiet > 0
		   ? least(log(news_per_s / WATCH_NEWS_PER_S) * quiet / news_per_s, most_s)
		   : 0;
}

static struct migrate_forecast forecast(const struct source *s, const struct writes *w, const struct prices *p,
					enum migrate_mode mode)
{
	double live = (double)w->live, hot = least((double)w->seen, live), quiet = live - hot;
	double still = (double)source_fixed_us(s) + (s->o->tcp_established ? CONNECTIONS_US : 0),
	       setup = (double)s->r->setup_us, before = setup, tail = 0;
	/* Pages written per second while rounds go on, as a share of what rounds can carry. */
	double per_s = w->per_look * 1e6 / LOOK_US, load = per_s * s->page_us / 1e6;
	/* A program that waits for pages leaves the processors to who brings them. */
	double after_us = s->new_page_us * (load > BUSY_FROM ? WAITING_SHARE : 1);
	/* With what is written meanwhile; and the last round leaves what is written in one of few pages. */
	double again = 1 / (1 - least(load, THROTTLED_LOAD));
	double last_us = load < BUSY_FROM ? load * (double)s->trip_us : BUSY_STOP * (double)source_affordable(s) * s->page_us;
	switch (mode) {
	case MODE_HYBRID: {
		if (w->early_news_per_s >= WATCH_NEWS_PER_S && load < LOAD_ALL_MAX) {
			before += START_US + live * s->new_page_us * again;
			still += last_us;
			break;
		}
		double news_per_s = w->news_per_s, watch_s = watch_goes_on_s(news_per_s, quiet);
		double share = quiet > 0 ? exp(-news_per_s / quiet * watch_s) : 0;
		if (watch_s > 0)
			before += (double)LOOKS_US + watch_s * 1e6;
		news_per_s *= share, hot += quiet * (1 - share), quiet *= share;
		if (!source_quiet_lasts(s, news_per_s)) {
			tail = live * after_us;
			break;
		}
		double first = quiet * s->new_page_us, stale = least(news_per_s * first / 1e6, quiet);
		/* Of what was seen written, what is not written all the time goes before, too; all of it, if rounds catch up. */
		double cool = hot - least(w->per_look, hot), left = hot - cool;
		if (load < LOAD_MAX && w->per_look < hot) {
			left = 0, cool = hot;
			stale += load * (first + cool * s->new_page_us) / s->page_us;
			still += last_us;
		} else if (news_per_s * s->new_page_us > 1e6 / 4) {
			left = hot, cool = 0;
		}
		before += first + stale * s->page_us + cool * s->new_page_us;
		if (left <= (double)source_affordable_absent(s))
			still += left * s->new_page_us, left = 0;
		if (load >= LOAD_MAX)
			before += (double)source_patience_us(s, (uint64_t)left, watch_s > 0 ? LOOKS_US : 0);
		tail = left * s->new_page_us;
		break;
	}
	case MODE_PRECOPY:
		before += live * (p->room_us + p->fill_us * again);
		still += last_us;
		break;
	case MODE_POSTCOPY:
		tail = live * after_us;
		break;
	case MODE_STOP_COPY:
		before += live * p->room_us;
		still += live * p->fill_us * (load > BUSY_FROM ? STILL_SHARE : 1);
		break;
	case MODE_COUNT:
		break;
	}
	return (struct migrate_forecast){(uint64_t)still, (uint64_t)(before + still + tail), (uint64_t)tail};
}

int source_forecast(struct source *s, struct failure *why)
{
	struct writes w;
	struct prices p;
	s->r->setup_us = now_us() - s->begun_us;
	int rc = watch(s, &w, why);
	if (rc == 0)
		rc = probe(s, w.absent, &p, why);
	if (rc)
		return rc;
	for (unsigned mode = 0; mode < MODE_COUNT; mode++)
		s->r->forecast[mode] = forecast(s, &w, &p, mode);
	s->r->pages_total = w.live;
	s->r->has_forecast = true;
	return 0;
}
