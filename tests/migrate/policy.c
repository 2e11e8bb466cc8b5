/* SPDX-License-Identifier: Apache-2.0
 *
 * What rounds are worth it: the source's own policy (migrate/source_rounds.c,
 * source_quiet.c) and its enclave's choice (model.h), with programs, a link and a
 * clock that are made up, so that every run is the same and takes no time.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "migrate/source_private.h"
#include "migrate/trusted.h"
#include "tests/migrate/model.h"

/* As measured on a machine whose page faults are slow. */
#define MAKE_US 10.0
#define RENEW_US 4.5
#define TAKE_OUT_US 20.0
#define ROUND_US 100ull /* of one that carries nothing, beside the way there and back */
#define STEP_US 100ull
#define FAST 1000000.0 /* pages a second: memory speed */
#define LIMIT_US 5000ull

/* ---- the world ---- */

struct outcome;
struct program {
	const char *name;
	double pages_per_s; /* while it writes */
	double share;	    /* of its pages, the first ones */
	uint64_t every_us;  /* it writes for the first writes_us of every that many; 0: always */
	uint64_t writes_us;
	uint64_t from_us; /* it writes from then on */
	bool sweeps; /* one page after the other, instead of any */
	double beside_per_s; /* and any page, all the time */
	void (*expect)(const struct outcome *hybrid, const struct outcome *precopy);
};

struct link {
	const char *name;
	uint64_t way_us; /* there and back */
	uint64_t bandwidth; /* bytes a second that the move may use; 0: any */
};

struct outcome {
	uint64_t total_us, stop_us, made, renewed, taken_out, left;
	unsigned throttle_percent;
};

static const struct program *program;
static const struct link *the_link;
static bool stands_still;
static uint64_t clock_us, at;
static double owed, owed_beside;
static unsigned seed;
static double busy_until; /* the link; 0: nothing is on its way */
static struct outcome out;

uint64_t now_us(void)
{
	return clock_us;
}

static void program_runs(uint64_t us)
{
	for (owed_beside += (double)us * program->beside_per_s / 1e6; owed_beside >= 1; owed_beside--)
		model_write((uint64_t)rand_r(&seed) % MODEL_PAGES);
	if (clock_us < program->from_us)
		return;
	if (program->every_us && clock_us % program->every_us >= program->writes_us)
		return;
	uint64_t pages = (uint64_t)(program->share * MODEL_PAGES);
	for (owed += (double)us * program->pages_per_s / 1e6; owed >= 1 && pages; owed--)
		model_write(program->sweeps ? at++ % pages : (uint64_t)rand_r(&seed) % pages);
}

static void time_passes(uint64_t us)
{
	for (uint64_t step; us > 0; us -= step) {
		step = us < STEP_US ? us : STEP_US;
		if (!stands_still)
			program_runs(step);
		clock_us += step;
	}
}

/* ---- what the policy stands on ---- */

static double price(struct model_sent sent)
{
	return (double)sent.made * MAKE_US + (double)sent.renewed * RENEW_US + (double)sent.taken_out * TAKE_OUT_US;
}

int trusted(struct enclave *e, enum migrate_op op, uint64_t arg, struct trusted_call *c)
{
	(void)e;
	switch (op) {
	case MIGRATE_ROUND:
		return model_round(arg, c->more[0], c->more[1], c->ret);
	case MIGRATE_EXPORT:
		model_export();
		c->ret[0] = 0;
		c->ret[1] = 1;
		return 0;
	case MIGRATE_STOP:
	case MIGRATE_CONTINUE:
		stands_still = op == MIGRATE_STOP;
		return 0;
	default:
		abort();
	}
}

static void send_round(struct outflow *f)
{
	struct model_sent sent = model_send();
	double us = price(sent), paced_us = 0;
	if (the_link->bandwidth)
		paced_us = (double)(sent.made + sent.renewed) * PAGE_SIZE * 1e6 / (double)the_link->bandwidth - us;
	if (paced_us < 0)
		paced_us = 0;
	busy_until = (double)(clock_us + the_link->way_us + ROUND_US) + us + paced_us;
	atomic_fetch_add(&f->paced_us, (uint64_t)paced_us);
	atomic_fetch_add(&f->pages, sent.made + sent.renewed);
	atomic_fetch_add(&f->bytes, (sent.made + sent.renewed) * PAGE_SIZE);
	out.made += sent.made;
	out.renewed += sent.renewed;
	out.taken_out += sent.taken_out;
}

void outflow_round(struct outflow *f)
{
	send_round(f);
}

uint64_t outflow_unsent(struct outflow *f)
{
	(void)f;
	return 0;
}

uint64_t wire_unsent(int fd)
{
	(void)fd;
	return 0;
}

uint64_t wire_round_trip_us(int fd)
{
	(void)fd;
	return the_link->way_us;
}

void parcel_begin(struct parcel *p, int fd)
{
	(void)p, (void)fd;
}

int source_told(struct source *s, int rc, struct failure *why)
{
	(void)s, (void)why;
	return rc;
}

int outflow_here(struct outflow *f, uint8_t *room, struct parcel *parcel, uint64_t stall_us, struct wait most)
{
	(void)room, (void)parcel, (void)stall_us, (void)most;
	send_round(f);
	return 0;
}

/* Waits for the link; poll() with a timeout of its own does too, because nothing else is there to be waited for. */
static int wait_us(uint64_t us)
{
	uint64_t left = busy_until > (double)clock_us ? (uint64_t)(busy_until - (double)clock_us) + 1 : 0;
	bool said = busy_until > 0 && left <= us;
	time_passes(said ? left : us);
	return said;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	(void)fds, (void)count;
	return wait_us((uint64_t)timeout_ms * 1000);
}

int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	(void)fds, (void)count, (void)mask;
	return wait_us((uint64_t)timeout->tv_nsec / 1000);
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)left;
	time_passes((uint64_t)time->tv_nsec / 1000);
	return 0;
}

int source_expect(struct source *s, enum frame_type type, uint64_t us, struct failure *why)
{
	static uint8_t answer[sizeof(struct frame_round)];
	struct frame_round done = {s->round};
	(void)type, (void)us, (void)why;
	busy_until = 0;
	memcpy(answer, &done, sizeof(done));
	s->control.data = answer;
	s->control.size = sizeof(answer);
	return 0;
}

void source_progress(struct source *s, const char *phase)
{
	(void)s, (void)phase;
}

void enclave_unpark_all(struct enclave *e)
{
	(void)e;
}

bool enclave_any_parked(struct enclave *e)
{
	(void)e;
	return false;
}

bool source_out_of_time(const struct source *s)
{
	(void)s;
	return clock_us > 1000ull * 1000 * 1000;
}

static _Noreturn void never(const char *what)
{
	fprintf(stderr, "%s: %s\n", program->name, what);
	exit(1);
}

struct wait source_until(const struct source *s, uint64_t us)
{
	(void)s;
	return (struct wait){clock_us + us, -1};
}

int source_timed_out(const struct source *s, struct failure *why)
{
	(void)s, (void)why;
	never("no end within 1000 s");
}

int source_was_cancelled(const struct source *s, struct failure *why)
{
	(void)s, (void)why;
	never("cancelled");
}

int source_link_failed(struct source *s, int rc, struct failure *why)
{
	(void)s, (void)rc, (void)why;
	never("the link failed");
}

int source_enclave_failed(int rc, const char *what, struct failure *why)
{
	(void)rc, (void)why;
	never(what);
}

int source_tell(struct source *s, enum frame_type type, const void *data, size_t size, struct failure *why)
{
	(void)s, (void)data, (void)size, (void)why;
	if (type != FRAME_ROUND_END)
		never("there was nothing to tell");
	return 0;
}

void enclave_stragglers(struct enclave *e, char *text, size_t size)
{
	(void)e, (void)text, (void)size;
	never("nobody is late");
}

int fail(struct failure *why, int code, const char *format, ...)
{
	(void)why, (void)code;
	never(format);
}

/* ---- a move ---- */

static struct outcome move(const struct program *p, const struct link *link, enum migrate_mode mode)
{
	static struct migration m;
	static struct migrate_report report;
	struct migrate_options options = {.mode = mode, .downtime_limit_us = LIMIT_US, .switch_timeout_us = 1000000};
	struct source s = {.m = &m, .o = &options, .r = &report};
	struct failure why;
	uint64_t ret[4];
	memset(&report, 0, sizeof(report));
	program = p;
	the_link = link;
	clock_us = at = 0;
	owed = owed_beside = busy_until = 0;
	seed = 1;
	out = (struct outcome){0};
	atomic_store(&s.flow.bandwidth, link->bandwidth);
	model_begin();
	time_passes(50000);
	uint64_t begun_us = clock_us;
	if (source_rounds(&s, &why))
		never("it failed");
	out.total_us = clock_us - begun_us;
	out.throttle_percent = report.throttle_percent;
	/* as migrate/source_switch.c does */
	model_round(ROUND_FINAL, mode == MODE_PRECOPY ? UINT64_MAX : source_affordable_absent(&s), 0, ret);
	struct model_sent last = model_send();
	out.left = model_left();
	out.stop_us = (uint64_t)price(last) + source_fixed_us(&s);
	printf("%-30s %-18s %-7s %5.0f ms: made %5lu, renewed %6lu, taken out %5lu; stop %5.2f ms, left %5lu; slowed down by %u %%%s\n",
	       p->name, link->name, mode == MODE_HYBRID ? "hybrid" : "precopy", (double)out.total_us / 1000, out.made, out.renewed,
	       out.taken_out, (double)out.stop_us / 1000, out.left, out.throttle_percent,
	       report.converged ? "" : ", not converged");
	return out;
}

/* ---- what is expected ---- */

static void expect(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s, %s: not so: %s\n", program->name, the_link->name, what);
		exit(1);
	}
}

/* Pages written while one goes. */
static double the_load(void)
{
	double paced_us = the_link->bandwidth ? PAGE_SIZE * 1e6 / (double)the_link->bandwidth : 0;
	double share = program->every_us ? (double)program->writes_us / (double)program->every_us : 1;
	return share * program->pages_per_s * (paced_us > RENEW_US ? paced_us : RENEW_US) / 1e6;
}

/* It began to write faster than rounds carry, or than a limited bandwidth does, and is not slowed down for as long as that
 * would take. */
static void it_ends(const struct outcome *h, const struct outcome *precopy)
{
	expect(h->total_us <= 3 * precopy->total_us, "it takes no longer than three times precopy");
}

static void all_goes_before(const struct outcome *h, const struct outcome *precopy)
{
	if (the_link->bandwidth && the_load() >= LOAD_MAX) {
		it_ends(h, precopy);
		expect(program->from_us != 0 || h->taken_out <= MODEL_PAGES / 10,
		       "what could not be kept up with is not sent first");
		return;
	}
	expect(h->left == 0, "nothing stays behind");
	expect(h->taken_out == 0, "nothing is taken out");
	expect(h->total_us <= precopy->total_us + precopy->total_us / 5 + 60000 + 16 * the_link->way_us,
	       "it takes no longer than precopy, a look at the program and a few rounds");
}

static void what_is_hot_stays(const struct outcome *h, const struct outcome *precopy)
{
	uint64_t hot = (uint64_t)(program->share * MODEL_PAGES);
	(void)precopy;
	expect(h->left <= hot, "what is not written goes before");
	expect(h->taken_out <= hot / 10, "what is written all the time is not sent first");
	expect(h->made + h->renewed <= MODEL_PAGES, "hardly a page goes twice");
	expect(h->throttle_percent == 0, "it is not slowed down");
}

/* It has phases: for as long as it would take to bring what it writes now, it is worth waiting for the one that writes less. */
static void its_rest_is_awaited(const struct outcome *h, const struct outcome *precopy)
{
	if (the_link->bandwidth) {
		it_ends(h, precopy);
		return;
	}
	expect(h->left == 0, "nothing stays behind");
	expect(h->taken_out == 0, "nothing is taken out");
	expect(h->total_us <= 2 * precopy->total_us, "it takes no longer than twice precopy");
}

/* Which pages are hot is harder to tell when others are written for the first time, too. */
static void what_is_hot_stays_beside_others(const struct outcome *h, const struct outcome *precopy)
{
	uint64_t hot = (uint64_t)(program->share * MODEL_PAGES);
	uint64_t underway = (uint64_t)(program->beside_per_s * 8 * (double)the_link->way_us / 1e6);
	expect(h->left <= hot + hot / 50 + underway, "what is not written all the time goes before");
	expect(h->taken_out <= hot / 2, "hardly anything that is written all the time is sent first");
	expect(h->made + h->renewed <= precopy->made + precopy->renewed, "no more goes than in precopy");
	expect(h->total_us <= precopy->total_us + precopy->total_us / 5, "it takes no longer than precopy");
}

static void nothing_goes_before(const struct outcome *h, const struct outcome *precopy)
{
	expect(h->made + h->renewed + h->taken_out <= MODEL_PAGES / 4, "nothing is sent in vain");
	expect(h->total_us <= precopy->total_us, "it takes no longer than precopy");
	expect(h->throttle_percent == 0, "it is not slowed down");
}

int main(void)
{
	static const struct link links[] = {
	    {.name = "one switch between", .way_us = 50},
	    {.name = "1.5 ms away", .way_us = 1400},
	    {.name = "20 ms away", .way_us = 20000},
	    {.name = "200 MB/s of it", .way_us = 50, .bandwidth = 200000000},
	};
	static const struct program programs[] = {
	    {.name = "nothing is written", .expect = all_goes_before},
	    {.name = "1000 pages/s", .pages_per_s = 1000, .share = 1, .expect = all_goes_before},
	    {.name = "10000 pages/s", .pages_per_s = 10000, .share = 1, .expect = all_goes_before},
	    {.name = "30000 pages/s", .pages_per_s = 30000, .share = 1, .expect = all_goes_before},
	    {.name = "100000 pages/s", .pages_per_s = 100000, .share = 1, .expect = all_goes_before},
	    {.name = "150000 pages/s", .pages_per_s = 150000, .share = 1, .expect = all_goes_before},
	    {.name = "250000 pages/s", .pages_per_s = 250000, .share = 1, .expect = all_goes_before},
	    {.name = "350000 pages/s", .pages_per_s = 350000, .share = 1, .expect = all_goes_before},
	    {.name = "100000 pages/s in a tenth", .pages_per_s = 100000, .share = 0.1, .expect = all_goes_before},
	    {.name = "one after the other, 100000/s", .pages_per_s = 100000, .share = 1, .sweeps = true, .expect = all_goes_before},
	    {.name = "1 ms of 100, all over", .pages_per_s = FAST, .share = 1, .every_us = 100000, .writes_us = 1000, .expect = all_goes_before},
	    {.name = "memory speed, a tenth", .pages_per_s = FAST, .share = 0.1, .expect = what_is_hot_stays},
	    {.name = "memory speed, a hundredth", .pages_per_s = FAST, .share = 0.01, .expect = what_is_hot_stays},
	    {.name = "memory speed, 1/20; 10000/s", .pages_per_s = FAST, .share = 0.05, .beside_per_s = 10000, .expect = what_is_hot_stays_beside_others},
	    {.name = "memory speed, 1/100; 3000/s", .pages_per_s = FAST, .share = 0.01, .beside_per_s = 3000, .expect = what_is_hot_stays_beside_others},
	    {.name = "memory speed, 1/5; 10000/s", .pages_per_s = FAST, .share = 0.2, .beside_per_s = 10000, .expect = what_is_hot_stays_beside_others},
	    {.name = "memory speed, half; 0.2 s of 0.4", .pages_per_s = FAST, .share = 0.5, .every_us = 400000, .writes_us = 200000, .expect = its_rest_is_awaited},
	    {.name = "memory speed, half; 25 ms of 50", .pages_per_s = FAST, .share = 0.5, .every_us = 50000, .writes_us = 25000, .expect = it_ends},
	    {.name = "later, half; 25 ms of 50", .pages_per_s = FAST, .share = 0.5, .every_us = 50000, .writes_us = 25000, .from_us = 200000, .expect = it_ends},
	    {.name = "later, half; 0.2 s of 0.4", .pages_per_s = FAST, .share = 0.5, .every_us = 400000, .writes_us = 200000, .from_us = 200000, .expect = its_rest_is_awaited},
	    {.name = "memory speed, all over", .pages_per_s = FAST, .share = 1, .expect = nothing_goes_before},
	    {.name = "memory speed, one by one", .pages_per_s = FAST, .share = 1, .sweeps = true, .expect = nothing_goes_before},
	    {.name = "later memory speed, all over", .pages_per_s = FAST, .share = 1, .from_us = 200000, .expect = it_ends},
	    {.name = "later memory speed, a tenth", .pages_per_s = FAST, .share = 0.1, .from_us = 200000, .expect = it_ends},
	    {.name = "later 200000 pages/s", .pages_per_s = 200000, .share = 1, .from_us = 200000, .expect = all_goes_before},
	};
	for (unsigned k = 0; k < sizeof(links) / sizeof(links[0]); k++)
		for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
			struct outcome precopy = move(&programs[i], &links[k], MODE_PRECOPY);
			struct outcome hybrid = move(&programs[i], &links[k], MODE_HYBRID);
			uint64_t least_us = 2 * links[k].way_us + LIMIT_US / 4;
			expect(hybrid.stop_us <= 2 * (LIMIT_US > least_us ? LIMIT_US : least_us), "the stop can be borne");
			programs[i].expect(&hybrid, &precopy);
			/* Those that write moderately: what they write during a round trip can go in a stop of two. */
			if (2 * links[k].way_us > LIMIT_US && programs[i].pages_per_s <= 30000)
				expect(precopy.throttle_percent == 0 && hybrid.throttle_percent == 0,
				       "it is not slowed down for a limit that the way alone exceeds");
		}
	return 0;
}
