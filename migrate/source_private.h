/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the source share. Nobody else includes it.
 *
 *   source.c          the migration from begin to end, and back
 *   source_link.c     frames and connections
 *   source_prepare.c  handshake, preflight
 *   source_rounds.c   rounds while the program runs, and what they teach; precopy
 *   source_quiet.c    those of hybrid and postcopy
 *   source_switch.c   from the first thread asked to park to the answer to COMMIT
 *   source_serve.c    pages that stayed behind
 *   source_forecast.c what a move would be like
 */
#ifndef MIGRATE_SOURCE_PRIVATE_H
#define MIGRATE_SOURCE_PRIVATE_H

#include "host/carry.h"
#include "host/hook.h"
#include "migrate/address.h"
#include "migrate/outflow.h"
#include "migrate/parcel.h"
#include "migrate/source.h"
#include "migrate/wire.h"

#define SILENCE_US (10ull * 1000 * 1000)	  /* of a link in the rounds */
#define PREPARE_TIMEOUT_US (120ull * 1000 * 1000) /* the destination loads an image */
#define HOOK_TIMEOUT_MS 5000

struct source {
	struct migration *m;
	struct enclave *e;
	const struct migrate_options *o;
	struct migrate_report *r;
	uint64_t begun_us;

	struct address to;
	uint8_t session[SESSION_ID_SIZE];
	struct wire control;
	struct outflow flow;
	int urgent_fd; /* of pages that are asked for; -1: none */
	pthread_t urgent;
	bool urgent_runs;
	uint32_t round;	      /* of the streams */
	uint64_t other_bytes; /* sent, and no pages */
	uint64_t left;	      /* pages the destination does not have when the program resumes there */
	uint32_t epoch;	      /* how often all connections were made again since */

	/* what rounds have taught */
	double page_us, new_page_us; /* a page that exists there; one that comes into being */
	double load;		     /* pages written while one goes again; above 1 rounds do not become shorter. 0: not seen */
	uint64_t looked_us;	     /* when a round was begun last: what was written before is known */
	uint64_t trip_us;	     /* shortest round of few pages: what a switch costs beside its pages */

	struct softsgx_stats before;

	uint8_t slots[THREAD_SLOTS_MAX / 8]; /* last told; at first none, and a program that runs has one at least */
	uint64_t stall_us;    /* no frame of control may take longer */
	struct parcel parcel; /* of control, open while frames that go together are made */
	uint8_t *record; /* of control; RECORD_SIZE_MAX bytes, touched: the stop has no time for it */

	unsigned throttle; /* percent of its time the program stands still, so that rounds get ahead of it */
	struct stragglers late; /* threads that took long to stop */

	/* what undo has to take back */
	struct carry_source *carry;
	size_t room; /* that the destination has for what it has open */
	struct hook *hook;
	bool offered;  /* the enclave has a session */
	bool committed; /* it has handed over: there is nothing to go back to */
	bool died;	/* at its new home, before all its pages had come */
	bool hurried;  /* and run before all others until they have */
	bool attached; /* all connections were made once */
	bool link_lost;
};

struct counts {
	uint64_t pages, zero_pages, bytes, paced_us, us;
};

void source_progress(struct source *s, const char *phase);

/* source_link.c: all say in *why what went wrong */
bool source_out_of_time(const struct source *s);
int source_timed_out(const struct source *s, struct failure *why);
#define NO_LIMIT_US (1ull << 60)
/* That long from now, but not longer than all of it may take. */
struct wait source_until(const struct source *s, uint64_t us);
int source_was_cancelled(const struct source *s, struct failure *why);
/* What the destination says in the FAILED that came. */
int source_failed(struct source *s, struct failure *why);
/* Words for an error of the link; what the destination said itself, if it did, is better. */
int source_link_failed(struct source *s, int rc, struct failure *why);
/* A frame of control; into the parcel, if that is open. */
int source_tell(struct source *s, enum frame_type type, const void *data, size_t size, struct failure *why);
/* Closes the parcel. rc is what has become of its making; it is sent in any case. */
int source_told(struct source *s, int rc, struct failure *why);
/* The next frame, which must be of that type. */
int source_expect(struct source *s, enum frame_type type, uint64_t us, struct failure *why);
int source_enclave_failed(int rc, const char *what, struct failure *why);
int source_connect(struct source *s, struct failure *why);
/* A connection of this session. wake_fd: gives up with -ECANCELED when it is readable; -1: none. */
int source_attach(struct source *s, uint32_t stream, int wake_fd, int *fd, struct failure *why);
/* Streams and the urgent connection; the streams' threads begin. */
int source_connect_streams(struct source *s, int wake_fd, struct failure *why);
/* The control connection again, after it was lost. */
int source_reattach(struct source *s, struct failure *why);

/* source_prepare.c */
int source_handshake(struct source *s, struct failure *why);
int source_leave_check(struct source *s, struct bytes *manifest, struct failure *why);
int source_prepare(struct source *s, struct failure *why);
/* What connections have queued may be megabytes: the destination finds memory for it before the program stops. Nothing if
 * it has as much. */
int source_tell_room(struct source *s, struct failure *why);
/* If there is anything new. */
int source_tell_slots(struct source *s, struct failure *why);

/* source_rounds.c */
#define ROUND_PAGES_MIN 32 /* fewer are never worth a round of their own */
/* What the enclave says of the round it has chosen: abi/migrate.h. */
struct round_choice {
	uint64_t pages;	   /* to be sent */
	uint64_t written;  /* since the last one */
	uint64_t news;	   /* of these, never before; WATCH only */
	uint64_t old;	   /* exist there in an old version */
	uint64_t absent;   /* live, and do not exist there */
	uint64_t since_us; /* the last one */
};
int source_round_begin(struct source *s, enum migrate_round kind, uint64_t most, uint64_t grow,
		       struct round_choice *out, struct failure *why);
/* What the enclave has to tell beside pages: the memory map of the round, at the end the threads' state. */
int source_export(struct source *s, struct failure *why);
/* That, then the pages of the round, into the parcel, which is open. */
int source_pages_here(struct source *s, struct failure *why);
/* So few pages go over the control connection: the streams' threads, at both ends, would have to be woken one after the
 * other, beside a program that wants the processors. */
#define PAGES_HERE 2048
/* Sends what was chosen, waits until it is installed. coming: pages that have to be made or taken out there. */
int source_round_send(struct source *s, const struct round_choice *choice, uint64_t coming, struct failure *why);
/* By a limit on bandwidth: then rounds take as long as it says. */
static inline bool source_is_paced(const struct source *s)
{
	return atomic_load(&s->flow.bandwidth) != 0;
}
/* Until the destination says something. Nobody answers while bytes move, so only silence counts. */
int source_await_answer(struct source *s, uint64_t silence_us, const char *phase, struct failure *why);
/* Waits that long, unless there is something else to do; then looks at what was written. */
int source_pause(struct source *s, uint64_t us, struct failure *why);
int source_glance(struct source *s, enum migrate_round kind, uint64_t us, struct round_choice *seen, struct failure *why);
struct counts source_counts_now(struct source *s);
struct migrate_round_report *source_round_report(struct source *s, struct counts before);
int source_rounds(struct source *s, struct failure *why);
/* Sends what was chosen and learns from it. coming: as above. old: the pages existed there. */
int source_round_measured(struct source *s, const struct round_choice *choice, uint64_t coming, bool old,
			  struct failure *why);
/* Rounds of that kind (LIVE or OLD), until no more than so many pages are left for the next one, or rounds take away
 * less than one in so many, which short ones may do once: *choice says what is left. */
int source_catch_up(struct source *s, enum migrate_round kind, uint64_t enough, uint64_t one_in,
		    struct round_choice *choice, struct failure *why);
/* Each time the last step was not enough, a third of what the program still has of its time is taken, while rounds go on. */
void source_throttle_more(struct source *s);
/* What would go while the program stands still goes once more while it runs, for as long as that leaves less than half:
 * the limit says what a stop may last, not what it has to. *choice says what is left. */
int source_last_rounds(struct source *s, enum migrate_round kind, struct round_choice *choice, struct failure *why);

/* Of what a round took, what is not the way there and back. */
uint64_t source_work_us(const struct source *s, uint64_t us);
/* What a switch takes whatever it carries. */
uint64_t source_fixed_us(const struct source *s);
/* How many pages that exist there may go in the switch. */
uint64_t source_affordable(const struct source *s);
/* ... in twice the limit, or twice the least that a switch can take if that is more: still better than to take pages out. */
uint64_t source_tolerable(const struct source *s);
/* ... of pages that do not exist there. */
uint64_t source_affordable_absent(const struct source *s);

/* source_quiet.c */
/* hybrid looks at what is written until so few pages a second are written for the first time, or for so long. Then the
 * rest counts as quiet. */
#define WATCH_NEWS_PER_S 10000
#define WATCH_MAX_US (3000ull * 1000)
/* Will most of what is quiet now still be so when all of it has been sent? A page that is not has crossed for nothing, and
 * has to be taken out there besides. Needs the price of a page. */
bool source_quiet_lasts(const struct source *s, double news_per_s);
/* Programs have phases. Who writes faster than rounds carry is given the time that it would take to bring these pages when
 * it waits for them, and as long again: until then it may have come to what rounds do keep up with. Not for longer than
 * what is left of watching. */
uint64_t source_patience_us(const struct source *s, uint64_t pages, uint64_t watched_us);
int source_quiet_rounds(struct source *s, struct failure *why);
/* Pages written while one goes: with so many rounds still become shorter ... */
#define LOAD_MAX 0.9
/* ... with so many, to slow the program down until they do costs it less than to wait for all its pages afterwards. */
#define LOAD_ALL_MAX 2.0

/* source_forecast.c: fills the report's forecast, and moves nothing. */
int source_forecast(struct source *s, struct failure *why);

/* source_switch.c */
int source_switch_over(struct source *s, struct failure *why);

/* source_serve.c: begins; then until the destination has all. -EOWNERDEAD: it is gone, and the program with it. */
int source_serve_begin(struct source *s, struct failure *why);
int source_serve(struct source *s, struct failure *why);
void source_urgent_stop(struct source *s);

#endif
