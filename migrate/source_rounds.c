/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/source_private.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include "migrate/trusted.h"
#include "migrate/urgent.h"

#define ROUNDS_MAX 30
#define RATE_PAGES_MIN 1024 /* so many, and the round trip is no matter */
#define TRIP_PAGES_MAX 32
#define SLOW_PAGE_US 1000ull /* a busy destination lets others go first; the kernel notices one that is dead */
#define LAST_PAGES 16	  /* the stop hardly notices them */
#define MISSES 2	  /* once may be chance: a program that had to wait makes up for it ... */
#define CHANCE_PAGES 4096 /* ... in rounds that take no longer than that */
/* A stop without its pages is made of what a round of few pages is: entries, exits, messages, threads that wake up. Beside the
 * network's round trips it comes to so many of them: 0.5 ms where one takes some 80 us, 1.8 ms where one takes 300. */
#define STOP_ROUNDS 6
#define STOP_ROUND_TRIPS 2
#define TRIP_US 400 /* until one was seen */
#define FIXED_SHARE 4 /* who has to stand still for so long hardly notices one in so many more */
#define THROTTLE_GO_US 2000l	  /* each time, from when all threads run */
#define THROTTLE_WAKE_US 20000ull /* a busy host's processors run others first */
#define THROTTLE_FIRST 30	  /* percent */
#define THROTTLE_MAX 95

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
	bool watch = kind == ROUND_WATCH;
	*out = (struct round_choice){.pages = watch ? 0 : c.ret[0],
				     .written = watch ? c.ret[0] : c.ret[1],
				     .news = watch ? c.ret[1] : 0,
				     .old = c.ret[2],
				     .absent = c.ret[3],
				     .since_us = begun - s->looked_us};
	s->looked_us = begun;
	if (s->r->pages_total == 0)
		s->r->pages_total = out->old + out->absent;
	return 0;
}

int source_export(struct source *s, struct failure *why)
{
	int rc = 0;
	for (bool over = false; rc == 0 && !over;) {
		struct trusted_call c = {.out = s->record, .out_size = RECORD_SIZE_MAX};
		rc = trusted(s->e, MIGRATE_EXPORT, 0, &c);
		if (rc)
			return source_enclave_failed(rc, "to hand out its state", why);
		over = c.ret[1] || c.ret[0] == 0;
		if (c.ret[0])
			rc = source_tell(s, FRAME_CONTROL, s->record, c.out_size, why);
		s->other_bytes += c.out_size;
	}
	return rc;
}

/* What the program may not use of its time. Threads that compute stop, those that wait in the host go on
 * waiting. A turn that passed before a thread got a processor would be no turn: some would starve. */
static void throttle_step(struct source *s)
{
	struct pollfd polled = {.fd = s->control.fd, .events = POLLIN};
	long stop_us = THROTTLE_GO_US * s->throttle / (100 - s->throttle);
	if (trusted(s->e, MIGRATE_STOP, 0, NULL))
		return;
	nanosleep(&(struct timespec){0, stop_us * 1000}, NULL);
	trusted(s->e, MIGRATE_CONTINUE, 0, NULL);
	enclave_unpark_all(s->e);
	for (uint64_t woken = now_us(); enclave_any_parked(s->e) && now_us() - woken < THROTTLE_WAKE_US;)
		nanosleep(&(struct timespec){0, 50 * 1000}, NULL);
	ppoll(&polled, 1, &(struct timespec){0, THROTTLE_GO_US * 1000}, NULL);
}

/* Bytes, as far as this host knows: what its kernel still holds may take long over a slow link. */
static uint64_t arrived(struct source *s)
{
	return atomic_load(&s->flow.bytes) - outflow_unsent(&s->flow) - wire_unsent(s->control.fd);
}

/* Until the destination says something. Nobody answers while bytes move, so only silence counts. */
int source_await_answer(struct source *s, uint64_t silence_us, const char *phase, struct failure *why)
{
	uint64_t bytes = arrived(s), moved_us = now_us();
	for (;;) {
		struct pollfd polled[2] = {{.fd = s->control.fd, .events = POLLIN},
					   {.fd = s->m->wake_fd, .events = POLLIN}};
		if (s->throttle)
			throttle_step(s);
		if (poll(polled, 2, s->throttle ? 0 : 50) != 0)
			return 0; /* whatever it is, reading will tell */
		source_progress(s, phase);
		uint64_t now = now_us(), moved = arrived(s);
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

int source_pause(struct source *s, uint64_t us, struct failure *why)
{
	struct pollfd polled = {.fd = s->m->wake_fd, .events = POLLIN};
	source_progress(s, "watch");
	if (poll(&polled, 1, (int)(us / 1000)) > 0)
		return source_link_failed(s, -ECANCELED, why);
	return source_out_of_time(s) ? source_timed_out(s, why) : 0;
}

int source_glance(struct source *s, enum migrate_round kind, uint64_t us, struct round_choice *seen, struct failure *why)
{
	int rc = source_pause(s, us, why);
	if (rc == 0)
		rc = source_round_begin(s, kind, 0, GROW_NOT, seen, why);
	return rc ? rc : source_export(s, why);
}

static int round_over_streams(struct source *s, struct failure *why)
{
	s->round++;
	outflow_round(&s->flow);
	return source_export(s, why);
}

int source_pages_here(struct source *s, struct failure *why)
{
	int rc = source_export(s, why);
	if (rc == 0 &&
	    (rc = outflow_here(&s->flow, s->record, &s->parcel, s->stall_us, source_until(s, NO_LIMIT_US))))
		rc = source_link_failed(s, rc, why);
	return rc;
}

static int round_here(struct source *s, struct failure *why)
{
	struct frame_round end = {s->round};
	parcel_begin(&s->parcel, s->control.fd);
	int rc = source_pages_here(s, why);
	if (rc == 0)
		rc = source_tell(s, FRAME_ROUND_END, &end, sizeof(end), why);
	return source_told(s, rc, why);
}

int source_round_send(struct source *s, const struct round_choice *choice, uint64_t coming, struct failure *why)
{
	struct frame_round done;
	/* Who paces what is sent is the streams; and while this thread sends it cannot slow the program down. */
	bool here = choice->pages <= PAGES_HERE && s->throttle == 0 && !source_is_paced(s);
	int rc = here ? round_here(s, why) : round_over_streams(s, why);
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

uint64_t source_work_us(const struct source *s, uint64_t us)
{
	uint64_t way_us = wire_round_trip_us(s->control.fd);
	return us - (way_us < us ? way_us : us);
}

/* How long the way is, and how long both ends work, are told apart: a stop has few of the one and many of the other. */
uint64_t source_fixed_us(const struct source *s)
{
	uint64_t trip_us = s->trip_us ? s->trip_us : wire_round_trip_us(s->control.fd) + TRIP_US;
	uint64_t work_us = source_work_us(s, trip_us);
	return STOP_ROUND_TRIPS * (trip_us - work_us) + STOP_ROUNDS * work_us;
}

static uint64_t affordable(const struct source *s, double page_us, uint64_t limit_us)
{
	uint64_t fixed_us = source_fixed_us(s), least_us = fixed_us / FIXED_SHARE;
	uint64_t left_us = limit_us > fixed_us + least_us ? limit_us - fixed_us : least_us;
	double pages = page_us > 0 ? (double)left_us / page_us : 0;
	return pages > ROUND_PAGES_MIN ? (uint64_t)pages : ROUND_PAGES_MIN;
}

uint64_t source_affordable(const struct source *s)
{
	return affordable(s, s->page_us, s->o->downtime_limit_us);
}

uint64_t source_tolerable(const struct source *s)
{
	uint64_t least_us = source_fixed_us(s), limit_us = s->o->downtime_limit_us;
	return affordable(s, s->page_us, 2 * (limit_us > least_us ? limit_us : least_us));
}

/* A quarter of what the limit allows: the program waits for few of those that follow. */
uint64_t source_affordable_absent(const struct source *s)
{
	return affordable(s, s->new_page_us, s->o->downtime_limit_us) / 4;
}

int source_round_measured(struct source *s, const struct round_choice *choice, uint64_t coming, bool old,
			  struct failure *why)
{
	struct counts before = source_counts_now(s);
	int rc = source_round_send(s, choice, coming, why);
	if (rc)
		return rc;
	const struct migrate_round_report *round = source_round_report(s, before);
	/* The limit on bandwidth ends with the rounds: what it cost does not count. */
	uint64_t paced_us = atomic_load(&s->flow.paced_us) - before.paced_us;
	uint64_t us = round->us - (paced_us < round->us ? paced_us : 0);
	double *price = old ? &s->page_us : &s->new_page_us, *other = old ? &s->new_page_us : &s->page_us;
	if (round->pages <= TRIP_PAGES_MAX) {
		if (s->trip_us == 0 || us < s->trip_us)
			s->trip_us = us;
		return 0;
	}
	double page_us = (double)source_work_us(s, us) / (double)(round->pages + 1);
	/* Pages of small rounds, and of those that slow the program down, cost no more than this. */
	if ((round->pages >= RATE_PAGES_MIN && s->throttle == 0) || *price == 0 || page_us < *price)
		*price = page_us;
	if (*other == 0)
		*other = page_us;
	return 0;
}

/* ---- precopy ---- */

void source_throttle_more(struct source *s)
{
	s->throttle = s->throttle == 0 ? THROTTLE_FIRST : s->throttle + (100 - s->throttle + 2) / 3;
	if (s->throttle > THROTTLE_MAX)
		s->throttle = THROTTLE_MAX;
	if (s->throttle > s->r->throttle_percent)
		s->r->throttle_percent = s->throttle;
}

static int catch_up(struct source *s, enum migrate_round kind, uint64_t enough, uint64_t one_in,
		    struct round_choice *choice, struct urgency *urgency, struct failure *why)
{
	unsigned missed = 0;
	bool urgent = false;
	for (uint64_t last = UINT64_MAX;;) {
		int rc = source_round_begin(s, kind, 0, GROW_NOT, choice, why);
		if (rc)
			return rc;
		double all = (double)s->r->pages_total, there = all - (double)choice->absent;
		/* Of those that exist there; the others will be written as often. */
		if (last != UINT64_MAX && last > CHANCE_PAGES && s->throttle == 0 && there > 0)
			s->load = (double)choice->pages / (double)last * all / there;
		if (choice->pages > last - last / one_in)
			missed += last > CHANCE_PAGES ? MISSES : 1;
		if (choice->pages <= enough || missed >= MISSES)
			return source_export(s, why);
		if (!urgent && choice->pages <= PAGES_HERE) {
			*urgency = thread_urgent_begin();
			urgent = true;
		}
		last = choice->pages;
		rc = source_round_measured(s, choice, 0, true, why);
		if (rc)
			return rc;
	}
}

/* The longer a round of few pages takes, the more the program has written in it: it comes before all else. */
int source_catch_up(struct source *s, enum migrate_round kind, uint64_t enough, uint64_t one_in,
		    struct round_choice *choice, struct failure *why)
{
	struct urgency urgency = {0};
	int rc = catch_up(s, kind, enough, one_in, choice, &urgency, why);
	thread_urgent_end(urgency);
	return rc;
}

int source_last_rounds(struct source *s, enum migrate_round kind, struct round_choice *choice, struct failure *why)
{
	return source_catch_up(s, kind, LAST_PAGES, 2, choice, why);
}

/* Rounds until what is dirty fits the downtime limit at the best rate seen, fixed costs included. A program
 * that writes faster than that is slowed down until rounds get ahead of it. */
static int precopy_rounds(struct source *s, struct failure *why)
{
	struct round_choice choice;
	uint64_t last = UINT64_MAX;
	int rc = source_round_begin(s, ROUND_LIVE, 0, GROW_NOT, &choice, why);
	for (unsigned i = 0; rc == 0; i++) {
		rc = source_round_measured(s, &choice, 0, true, why);
		/* Takes what was dirtied meanwhile: sent by the next round, be it the last. */
		if (rc == 0)
			rc = source_round_begin(s, ROUND_LIVE, 0, GROW_NOT, &choice, why);
		if (rc)
			break;
		s->r->converged = choice.pages <= source_affordable(s);
		bool shrinks = choice.pages <= last - last / 4;
		if (s->r->converged || i + 1 == ROUNDS_MAX || (!shrinks && s->throttle == THROTTLE_MAX)) {
			/* Left alone it writes more than in the rounds that slowed it down. */
			bool more = s->r->converged && s->throttle == 0;
			s->throttle = 0;
			rc = source_export(s, why);
			return rc || !more ? rc : source_last_rounds(s, ROUND_LIVE, &choice, why);
		}
		if (!shrinks)
			source_throttle_more(s);
		last = choice.pages;
	}
	return rc;
}

int source_rounds(struct source *s, struct failure *why)
{
	switch (s->o->mode) {
	case MODE_STOP_COPY:
		return 0;
	case MODE_PRECOPY:
		return precopy_rounds(s, why);
	case MODE_POSTCOPY:
	case MODE_HYBRID:
		return source_quiet_rounds(s, why);
	case MODE_COUNT:
		break;
	}
	return fail(why, -EINVAL, "no such mode");
}
