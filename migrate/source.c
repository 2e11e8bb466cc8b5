/* SPDX-License-Identifier: Apache-2.0
 *
 *   connect -> handshake -> prepare -> rounds -> switch -> COMMIT -> after
 *   `------------- undo, the program runs on --------'      |
 *                                     answered or given up, never undone
 */
#include "migrate/source.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "host/carry.h"
#include "host/hook.h"
#include "host/log.h"
#include "migrate/address.h"
#include "migrate/outflow.h"
#include "migrate/trusted.h"
#include "migrate/urgent.h"
#include "migrate/wire.h"

#define CONNECT_TIMEOUT_MS 5000
#define PREPARE_TIMEOUT_US (120ull * 1000 * 1000) /* the destination loads an image */
#define PREFLIGHT_TRIES 3
#define SILENCE_US (10ull * 1000 * 1000)	  /* of a link in the rounds */
#define COMMIT_GIVE_UP_US (60ull * 1000 * 1000)
#define AFTER_TIMEOUT_US (5ull * 1000 * 1000)
#define HOOK_TIMEOUT_MS 5000
#define HOOK_PARKED_TIMEOUT_MS 400
#define ROUNDS_MAX 30
#define RATE_PAGES_MIN 256
#define SWITCH_FIXED_US 2000 /* parking, descriptors, three round trips on one machine */
#define STUBBORN_ROUNDS 3    /* so many that hardly shrink end the hope that it converges */

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
	uint32_t round; /* of the streams, PREPARE is the first */
	struct softsgx_stats before;

	/* what undo has to take back */
	struct carry_source *carry;
	struct hook *hook;
	bool offered;  /* the enclave has a session */
	bool parking;  /* threads were asked to park */
	bool attached; /* all connections were made once */
	bool link_lost;
};

/* ---- the migration as others see it ---- */

int migration_open(struct migration *m, struct enclave *e, const char *name,
		   const struct migrate_options *options)
{
	memset(m, 0, sizeof(*m));
	m->enclave = e;
	m->name = name;
	m->options = *options;
	m->progress.phase = "connect";
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
	return p;
}

static void progress(struct source *s, const char *phase)
{
	struct migrate_progress p = {.phase = phase,
				     .round = s->r->round_count,
				     .pages_total = s->r->pages_total,
				     .pages = atomic_load(&s->flow.pages) + atomic_load(&s->flow.zero_pages),
				     .bytes = atomic_load(&s->flow.bytes),
				     .elapsed_us = now_us() - s->begun_us};
	pthread_mutex_lock(&s->m->lock);
	s->m->progress = p;
	pthread_mutex_unlock(&s->m->lock);
}

/* ---- frames ---- */

static bool out_of_time(const struct source *s)
{
	return s->o->timeout_us && now_us() - s->begun_us > s->o->timeout_us;
}

static int timed_out(const struct source *s, struct failure *why)
{
	return fail(why, -ETIMEDOUT, "not done within %.1f s", (double)s->o->timeout_us / 1e6);
}

/* That long from now, but not longer than all of it may take. */
static struct wait until(const struct source *s, uint64_t us)
{
	uint64_t at_us = now_us() + us, last_us = s->begun_us + s->o->timeout_us;
	return (struct wait){s->o->timeout_us && last_us < at_us ? last_us : at_us, s->m->wake_fd};
}

static int was_cancelled(const struct source *s, struct failure *why)
{
	return fail(why, -ECANCELED, atomic_load(&s->m->program_ended) ? "the program ended" : "cancelled");
}

/* Words for an error of the link; what the destination said itself, if it did, is better. */
static int link_failed(struct source *s, int rc, struct failure *why)
{
	struct failure own;
	if (rc == -ECANCELED && atomic_load(&s->m->cancelled))
		return was_cancelled(s, why);
	if (rc == -ETIMEDOUT && out_of_time(s))
		return timed_out(s, why);
	if (rc == -ECANCELED || rc == -ETIMEDOUT)
		rc = outflow_error(&s->flow) ? outflow_error(&s->flow) : rc;
	s->link_lost = rc != -ETIMEDOUT && rc != -EPROTO;
	fail(&own, rc, "%s: %s", s->to.text,
	     rc == -ETIMEDOUT	 ? "the destination does not answer"
	     : rc == -ECONNRESET ? "the destination closed the connection"
	     : rc == -EPROTO	 ? "what answers there is not optmig receive"
				 : strerror(-rc));
	struct wait soon = {now_us() + 200 * 1000, -1};
	while (s->control.fd >= 0 && wire_recv(&s->control, soon) == 0) {
		struct frame_failed said;
		if (s->control.type != FRAME_FAILED || s->control.size != sizeof(said))
			continue;
		memcpy(&said, s->control.data, sizeof(said));
		wire_text(said.message, sizeof(said.message));
		return fail(why, said.code < 0 ? said.code : -EIO, "the destination: %s", said.message);
	}
	*why = own;
	return own.code;
}

static int tell(struct source *s, enum frame_type type, const void *data, size_t size, struct failure *why)
{
	int rc = wire_send(s->control.fd, type, data, size, NULL, 0, until(s, SILENCE_US));
	return rc ? link_failed(s, rc, why) : 0;
}

/* The next frame, which must be of that type. */
static int expect(struct source *s, enum frame_type type, uint64_t us, struct failure *why)
{
	int rc = wire_recv(&s->control, until(s, us));
	if (rc == 0 && s->control.type == type)
		return 0;
	if (rc == 0 && s->control.type == FRAME_FAILED && s->control.size == sizeof(struct frame_failed)) {
		struct frame_failed *said = (struct frame_failed *)s->control.data;
		wire_text(said->message, sizeof(said->message));
		return fail(why, said->code < 0 ? said->code : -EIO, "the destination: %s", said->message);
	}
	return link_failed(s, rc ? rc : -EPROTO, why);
}

static int enclave_failed(int rc, const char *what, struct failure *why)
{
	return fail(why, rc, "the enclave refused %s: %s", what, strerror(-rc));
}

/* ---- connect ---- */

static int connect_one(struct source *s, int wake_fd, int *fd, struct failure *why)
{
	int rc = address_connect(&s->to, CONNECT_TIMEOUT_MS, wake_fd, fd, why);
	if (rc == -ECANCELED)
		return was_cancelled(s, why);
	if (rc == 0)
		address_tune(*fd, SILENCE_US / 1000);
	return rc;
}

/* For people: what is about to come. */
static uint64_t pages_in_use(struct enclave *e)
{
	struct runtime_stats stats;
	struct service_call call = {.op = SERVICE_STATS, .out = (uintptr_t)&stats, .out_size = sizeof(stats)};
	return enclave_service(e, &call) || call.result ? 0 : stats.pages_accepted;
}

static int connect_control(struct source *s, struct failure *why)
{
	struct frame_hello hello = {
	    .version = WIRE_VERSION, .streams = s->o->streams, .pages = pages_in_use(s->e)};
	int rc = address_parse(s->o->to, &s->to, why);
	if (rc == 0)
		rc = connect_one(s, s->m->wake_fd, &s->control.fd, why);
	if (rc)
		return rc;
	if (getrandom(s->session, sizeof(s->session), 0) != sizeof(s->session))
		return fail(why, -EIO, "no random numbers");
	memcpy(hello.session, s->session, sizeof(hello.session));
	memcpy(hello.mrenclave, enclave_mrenclave(s->e), sizeof(hello.mrenclave));
	snprintf(hello.name, sizeof(hello.name), "%s", s->m->name);
	rc = tell(s, FRAME_HELLO, &hello, sizeof(hello), why);
	if (rc == 0)
		rc = expect(s, FRAME_WELCOME, PREPARE_TIMEOUT_US, why);
	return rc;
}

static int attach(struct source *s, uint32_t stream, int wake_fd, int *fd, struct failure *why)
{
	struct frame_attach frame = {.stream = stream};
	int rc = connect_one(s, wake_fd, fd, why);
	if (rc)
		return rc;
	memcpy(frame.session, s->session, sizeof(frame.session));
	rc = wire_send(*fd, FRAME_ATTACH, &frame, sizeof(frame), NULL, 0,
		       (struct wait){now_us() + SILENCE_US, wake_fd});
	if (rc)
		close(*fd);
	return rc ? link_failed(s, rc, why) : 0;
}

/* The control connection again, after it was lost. */
static int reattach(struct source *s, struct failure *why)
{
	if (s->control.fd >= 0)
		close(s->control.fd);
	int rc = attach(s, MIGRATE_CONTROL, -1, &s->control.fd, why);
	if (rc)
		s->control.fd = -1;
	return rc;
}

static int connect_streams(struct source *s, struct failure *why)
{
	int fds[MIGRATE_STREAMS_MAX], rc = 0;
	unsigned count = 0;
	while (count < s->o->streams && (rc = attach(s, count, s->m->wake_fd, &fds[count], why)) == 0)
		count++;
	if (rc) {
		while (count)
			close(fds[--count]);
		return rc;
	}
	/* Owns the descriptors from here on, also if it fails. */
	rc = outflow_open(&s->flow, s->e, fds, count, s->m->wake_fd);
	s->attached = rc == 0;
	if (rc == 0)
		outflow_background(&s->flow, true);
	return rc ? fail(why, rc, "cannot start the streams: %s", strerror(-rc)) : 0;
}

/* ---- handshake: messages are the enclaves', this host only carries them ---- */

static int handshake(struct source *s, struct failure *why)
{
	uint8_t evidence[sizeof(struct evidence) + EVIDENCE_BODY_MAX];
	struct handshake_hello hello;
	size_t size;
	struct trusted_call c = {.out = &hello, .out_size = sizeof(hello)};
	int rc = trusted(s->e, MIGRATE_OFFER, s->o->streams, &c);
	if (rc)
		return enclave_failed(rc, rc == -EPERM ? "a second migration" : "to begin", why);
	s->offered = true;
	rc = tell(s, FRAME_HANDSHAKE, &hello, sizeof(hello), why);
	if (rc == 0)
		rc = expect(s, FRAME_HANDSHAKE, PREPARE_TIMEOUT_US, why);
	if (rc)
		return rc;
	c = (struct trusted_call){.in = s->control.data, .in_size = s->control.size};
	rc = trusted(s->e, MIGRATE_ANSWERED, 0, &c);
	if (rc)
		return enclave_failed(rc, "the destination's key", why);
	rc = trusted_evidence(s->e, evidence, sizeof(evidence), &size, why);
	if (rc == 0)
		rc = tell(s, FRAME_EVIDENCE, evidence, size, why);
	if (rc == 0)
		rc = expect(s, FRAME_EVIDENCE, PREPARE_TIMEOUT_US, why);
	if (rc)
		return rc;
	c = (struct trusted_call){.in = s->control.data, .in_size = s->control.size};
	rc = trusted(s->e, MIGRATE_PEER, 0, &c);
	return rc ? enclave_failed(rc, "the destination's evidence of being the same enclave", why) : 0;
}

/* ---- prepare ---- */

static int round_begin(struct source *s, enum migrate_round kind, uint64_t *pages, struct failure *why)
{
	struct trusted_call c = {0};
	int rc = trusted(s->e, MIGRATE_ROUND, kind, &c);
	if (rc)
		return enclave_failed(rc, "a round", why);
	*pages = c.ret[0];
	return 0;
}

/* Until the destination says something. Nobody answers while bytes move, so only silence counts. */
static int await_answer(struct source *s, uint64_t silence_us, const char *phase, struct failure *why)
{
	uint64_t bytes = atomic_load(&s->flow.bytes), moved_us = now_us();
	for (;;) {
		struct pollfd polled[2] = {{.fd = s->control.fd, .events = POLLIN},
					   {.fd = s->m->wake_fd, .events = POLLIN}};
		if (poll(polled, 2, 50) != 0)
			return 0; /* whatever it is, reading will tell */
		progress(s, phase);
		uint64_t now = now_us(), moved = atomic_load(&s->flow.bytes);
		if (moved != bytes) {
			bytes = moved;
			moved_us = now;
		}
		if (now - moved_us > silence_us)
			return link_failed(s, -ETIMEDOUT, why);
		if (out_of_time(s))
			return timed_out(s, why);
	}
}

/* Until the destination has installed the round that the streams were told to send. */
static int round_installed(struct source *s, uint64_t silence_us, struct failure *why)
{
	struct frame_round done;
	int rc = await_answer(s, silence_us, "round", why);
	if (rc == 0)
		rc = expect(s, FRAME_ROUND_DONE, silence_us, why);
	if (rc)
		return rc;
	memcpy(&done, s->control.data, sizeof(done));
	return s->control.size == sizeof(done) && done.round == s->round ? 0 : link_failed(s, -EPROTO, why);
}

static int tell_slots(struct source *s, struct failure *why)
{
	uint8_t slots[THREAD_SLOTS_MAX / 8];
	struct trusted_call c = {.out = slots, .out_size = sizeof(slots)};
	int rc = trusted(s->e, MIGRATE_SLOTS, 0, &c);
	return rc ? enclave_failed(rc, "to name its threads", why)
		  : tell(s, FRAME_SLOTS, slots, sizeof(slots), why);
}

/* What this host alone can tell: can everything the program has open go along? */
static int leave_check(struct source *s, struct bytes *manifest, struct failure *why)
{
	struct carry_options options = {.tcp_established = s->o->tcp_established};
	socklen_t local_size = sizeof(options.stream_local), peer_size = sizeof(options.stream_peer);
	if (s->control.fd >= 0) {
		getsockname(s->control.fd, (struct sockaddr *)&options.stream_local, &local_size);
		getpeername(s->control.fd, (struct sockaddr *)&options.stream_peer, &peer_size);
	}
	/* The program runs and opens, closes and removes files: what stands in the way now may be gone in a moment. */
	for (unsigned tries = 1;; tries++) {
		int rc = carry_source_open(enclave_fds(s->e), &options, &s->carry, why);
		if (rc)
			return rc;
		size_t before = manifest->size;
		rc = carry_source_preflight(s->carry, manifest, NULL, why);
		if (rc == 0 || tries == PREFLIGHT_TRIES)
			return rc;
		carry_source_close(s->carry);
		s->carry = NULL;
		manifest->size = before;
		nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
	}
}

static int prepare_carry(struct source *s, struct failure *why)
{
	struct bytes manifest = {0};
	int rc = leave_check(s, &manifest, why);
	if (rc == 0)
		rc = tell(s, FRAME_MANIFEST, manifest.data, manifest.size, why);
	if (rc == 0)
		rc = expect(s, FRAME_ANSWER, PREPARE_TIMEOUT_US, why);
	if (rc == 0)
		rc = carry_source_prepare(s->carry, s->control.data, s->control.size, why);
	bytes_free(&manifest);
	return rc;
}

/* The destination makes room for every page there is now. */
static int prepare_pages(struct source *s, struct failure *why)
{
	int rc = round_begin(s, ROUND_PREPARE, &s->r->pages_total, why);
	if (rc)
		return rc;
	s->round++;
	outflow_round(&s->flow);
	/* Each page is accepted on its own: a large enclave takes its time. */
	return round_installed(s, PREPARE_TIMEOUT_US, why);
}

static int prepare(struct source *s, struct failure *why)
{
	int rc = 0;
	if (s->o->hook[0])
		rc = hook_start(s->o->hook, "source", &s->hook, why);
	if (rc == 0)
		rc = prepare_carry(s, why);
	if (rc == 0 && s->o->only_check)
		return 0;
	if (rc == 0)
		rc = tell_slots(s, why);
	if (rc == 0)
		rc = prepare_pages(s, why);
	s->r->setup_us = now_us() - s->begun_us;
	return rc;
}

/* ---- rounds ---- */

struct counts {
	uint64_t pages, zero_pages, bytes, paced_us, us;
};

static struct counts counts_now(struct source *s)
{
	return (struct counts){atomic_load(&s->flow.pages), atomic_load(&s->flow.zero_pages),
			       atomic_load(&s->flow.bytes), atomic_load(&s->flow.paced_us), now_us()};
}

static struct migrate_round_report *round_report(struct source *s, struct counts before)
{
	static struct migrate_round_report beyond;
	struct counts now = counts_now(s);
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
static int rounds(struct source *s, struct failure *why)
{
	uint64_t dirty, last = UINT64_MAX;
	double page_us = 0;
	unsigned stubborn = 0;
	int rc = round_begin(s, ROUND_LIVE, &dirty, why);
	for (unsigned i = 0; rc == 0; i++) {
		struct counts before = counts_now(s);
		s->round++;
		outflow_round(&s->flow);
		rc = round_installed(s, SILENCE_US, why);
		if (rc)
			break;
		const struct migrate_round_report *round = round_report(s, before);
		/* The limit on bandwidth ends with the rounds: what it cost does not count. */
		uint64_t paced_us = atomic_load(&s->flow.paced_us) - before.paced_us;
		if (round->pages >= RATE_PAGES_MIN || i == 0)
			page_us =
			    (double)(round->us - (paced_us < round->us ? paced_us : 0)) / (round->pages + 1);
		if (i == 0)
			s->r->pages_total = round->pages;
		/* Takes what was dirtied meanwhile: sent by the next round, be it the last. */
		rc = round_begin(s, ROUND_LIVE, &dirty, why);
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

/* ---- switch ---- */

static int park_all(struct source *s, struct failure *why)
{
	uint64_t begun = now_us(), kicked = 0;
	struct trusted_call c = {0};
	int rc = trusted(s->e, MIGRATE_STOP, 0, NULL);
	if (rc)
		return enclave_failed(rc, "to stop", why);
	s->parking = true;
	for (;;) {
		uint64_t now = now_us();
		if (now - begun > s->o->switch_timeout_us) {
			char which[200];
			enclave_stragglers(s->e, which, sizeof(which));
			return fail(why, -ETIMEDOUT,
				    "%llu threads of the program did not stop within %llu ms: %s",
				    (unsigned long long)c.ret[0],
				    (unsigned long long)(s->o->switch_timeout_us / 1000), which);
		}
		if (now - kicked > 1000) {
			enclave_kick_all(s->e);
			kicked = now;
		}
		rc = trusted(s->e, MIGRATE_PENDING, 0, &c);
		if (rc)
			return enclave_failed(rc, "to stop", why);
		if (c.ret[0] == 0)
			break;
		if (atomic_load(&s->m->cancelled))
			return was_cancelled(s, why);
		/* Whoever has to reach a safepoint may need this processor. */
		nanosleep(&(struct timespec){0, 20 * 1000}, NULL);
	}
	s->r->park_us = now_us() - begun;
	return 0;
}

static int send_carried(struct source *s, struct failure *why)
{
	struct bytes state = {0};
	int rc = carry_source_freeze(s->carry, &state, why);
	if (rc == 0)
		rc = tell(s, FRAME_CARRIED, state.data, state.size, why);
	s->r->switchover_bytes += state.size;
	bytes_free(&state);
	return rc;
}

static int send_state(struct source *s, struct failure *why)
{
	static uint8_t record[RECORD_SIZE_MAX];
	for (;;) {
		struct trusted_call c = {.out = record, .out_size = sizeof(record)};
		int rc = trusted(s->e, MIGRATE_EXPORT, 0, &c);
		if (rc)
			return enclave_failed(rc, "to hand out its state", why);
		if (c.ret[0] == 0)
			return 0;
		rc = tell(s, FRAME_CONTROL, record, c.out_size, why);
		if (rc)
			return rc;
		s->r->switchover_bytes += c.out_size;
	}
}

/* Everything that has to move while nothing runs, up to READY in control.data. */
static int hand_over(struct source *s, struct failure *why)
{
	struct counts before = counts_now(s);
	uint64_t pages;
	uint8_t nothing = 0;
	outflow_background(&s->flow, false);
	int rc = tell(s, FRAME_PARKING, &nothing, 1, why);
	if (rc == 0)
		rc = park_all(s, why);
	if (rc == 0)
		rc = hook_tell(s->hook, HOOK_POST_STOP, s->m->name, HOOK_PARKED_TIMEOUT_MS, why);
	if (rc == 0)
		rc = tell_slots(s, why);
	if (rc == 0)
		rc = round_begin(s, ROUND_FINAL, &pages, why);
	if (rc)
		return rc;
	atomic_store(&s->flow.bandwidth, 0);
	s->round++;
	outflow_round(&s->flow);
	/* Beside the pages. */
	rc = send_carried(s, why);
	if (rc)
		return rc;
	rc = outflow_produced(&s->flow, (unsigned)(s->o->switch_timeout_us / 1000), &s->m->cancelled);
	if (rc)
		return link_failed(s, rc, why);
	rc = send_state(s, why);
	struct frame_round final = {s->round};
	if (rc == 0)
		rc = tell(s, FRAME_FINAL, &final, sizeof(final), why);
	if (rc == 0)
		rc = await_answer(s, s->o->switch_timeout_us, "switch", why);
	if (rc == 0)
		rc = expect(s, FRAME_ROUND_DONE, s->o->switch_timeout_us, why);
	if (rc == 0)
		rc = expect(s, FRAME_READY, s->o->switch_timeout_us, why);
	if (rc)
		return rc;
	const struct migrate_round_report *round = round_report(s, before);
	s->r->switchover_bytes += round->bytes;
	if (s->o->mode == MODE_STOP_COPY)
		s->r->pages_total = round->pages;
	return 0;
}

/* ---- COMMIT ---- */

/* One attempt to get an answer to COMMIT over the connection there is. */
static int commit_once(struct source *s, const void *commit, size_t size)
{
	struct wait wait = {now_us() + 2 * 1000 * 1000, -1};
	int rc = s->control.fd < 0 ? -ENOTCONN
				   : wire_send(s->control.fd, FRAME_COMMIT, commit, size, NULL, 0, wait);
	while (rc == 0) {
		rc = wire_recv(&s->control, wait);
		if (rc == 0 && (s->control.type == FRAME_RESUMED || s->control.type == FRAME_REFUSED))
			return 0;
	}
	return rc;
}

/* The same COMMIT, to the same instance, until it answers. Only what it says decides; this host cannot. */
static int commit_until_answered(struct source *s, const void *commit, size_t size, struct failure *why)
{
	uint64_t begun = now_us();
	while (commit_once(s, commit, size) != 0) {
		struct failure ignored;
		if (now_us() - begun > COMMIT_GIVE_UP_US)
			return fail(
			    why, -ENOTRECOVERABLE,
			    "%s took over the program and was not heard of again: it may run there, it "
			    "cannot run here",
			    s->to.text);
		if (reattach(s, &ignored))
			nanosleep(&(struct timespec){0, 100 * 1000 * 1000}, NULL);
	}
	return 0;
}

static int commit(struct source *s, uint64_t stopped_us, struct failure *why)
{
	uint8_t record[1024];
	struct trusted_call c = {
	    .in = s->control.data, .in_size = s->control.size, .out = record, .out_size = sizeof(record)};
	if (atomic_load(&s->m->cancelled))
		return was_cancelled(s, why);
	int rc = trusted(s->e, MIGRATE_COMMIT, 0, &c);
	if (rc)
		return enclave_failed(rc, "to hand over: what the destination holds is not what was sent",
				      why);
	progress(s, "commit");
	rc = commit_until_answered(s, record, c.out_size, why);
	if (rc)
		return rc;
	uint64_t answered_us = now_us();
	struct frame_resumed times = {0};
	size_t skip = s->control.type == FRAME_RESUMED ? sizeof(times) : 0;
	if (s->control.size < skip)
		return fail(why, -ENOTRECOVERABLE, "%s: malformed answer to the commit", s->to.text);
	memcpy(&times, s->control.data, skip);
	c = (struct trusted_call){.in = s->control.data + skip, .in_size = s->control.size - skip};
	rc = trusted(s->e, MIGRATE_FINISH, 0, &c);
	if (rc)
		return fail(why, -ENOTRECOVERABLE,
			    "%s: the answer to the commit is not the destination enclave's", s->to.text);
	if (c.ret[0] == 1) {
		s->offered = s->parking = false; /* the enclave has undone both */
		return fail(why, -ECONNREFUSED,
			    "the destination refused at the last moment; the program runs on");
	}
	s->r->downtime_us = answered_us - stopped_us;
	s->r->downtime_destination_us = times.downtime_us;
	return 0;
}

static int switch_over(struct source *s, struct failure *why)
{
	int rc = carry_source_calm(s->carry, why);
	if (rc == 0)
		rc = hook_tell(s->hook, HOOK_PRE_STOP, s->m->name, HOOK_TIMEOUT_MS, why);
	if (rc)
		return rc;
	progress(s, "switch");
	int usual = thread_urgent_begin();
	uint64_t stopped_us = now_us();
	rc = hand_over(s, why);
	if (rc == 0)
		rc = commit(s, stopped_us, why);
	thread_urgent_end(usual);
	return rc;
}

/* ---- after, or back ---- */

static void after(struct source *s)
{
	struct wait wait = {now_us() + AFTER_TIMEOUT_US, -1};
	uint8_t nothing = 0;
	enclave_abandon(s->e);
	progress(s, "after");
	/* The destination's own account; without it the report is shorter. */
	if (wire_recv(&s->control, wait) == 0 && s->control.type == FRAME_REPORT) {
		json_t *report = json_loadb((const char *)s->control.data, s->control.size, 0, NULL);
		const char *where = json_string_value(json_object_get(report, "enclave"));
		snprintf(s->r->destination, sizeof(s->r->destination), "%s", where ? where : "");
		wire_text(s->r->destination, sizeof(s->r->destination));
		s->r->leaves_destination = json_incref(json_object_get(report, "leaves"));
		json_decref(report);
	}
	carry_source_forget(s->carry);
	wire_send(s->control.fd, FRAME_BYE, &nothing, 1, NULL, 0, wait);
}

/* In reverse. The program runs when this returns. */
static void undo(struct source *s, const struct failure *because)
{
	struct frame_failed said = {.code = because->code};
	struct failure why;
	if (s->carry && carry_source_undo(s->carry, &why))
		log_line("%s: %s", s->m->name, why.message);
	/* Threads go on before anything that may take time. The enclave is told alone: streams end first. */
	outflow_close(&s->flow);
	if (s->offered && trusted(s->e, MIGRATE_CANCEL, 0, NULL))
		log_line("%s: the enclave did not take the migration back", s->m->name);
	enclave_unpark_all(s->e);
	snprintf(said.message, sizeof(said.message), "%s", because->message);
	/* A destination that has said READY waits for COMMIT until it is told. */
	if (s->link_lost && s->attached)
		reattach(s, &why);
	if (s->control.fd >= 0)
		wire_send(s->control.fd, FRAME_FAILED, &said, sizeof(said), NULL, 0,
			  (struct wait){now_us() + 100 * 1000, -1});
	if (!s->o->only_check)
		hook_tell(s->hook, HOOK_FAILED, s->m->name, HOOK_TIMEOUT_MS, &why);
}

static void account(struct source *s)
{
	struct migrate_report *r = s->r;
	struct softsgx_stats now;
	r->total_us = now_us() - s->begun_us;
	r->bytes_sent = atomic_load(&s->flow.bytes);
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
	int rc = connect_control(s, why);
	if (rc == 0)
		rc = connect_streams(s, why);
	progress(s, "prepare");
	if (rc == 0)
		rc = handshake(s, why);
	return rc ? rc : prepare(s, why);
}

static int leave_only(struct source *s, struct failure *why)
{
	struct bytes manifest = {0};
	int rc = leave_check(s, &manifest, why);
	bytes_free(&manifest);
	return rc;
}

int migration_run(struct migration *m, struct migrate_report *r)
{
	struct source s = {.m = m, .e = m->enclave, .o = &m->options, .r = r, .begun_us = now_us()};
	struct failure only_asked = {0};
	char host[64] = "";
	memset(r, 0, sizeof(*r));
	r->mode = m->options.mode;
	gethostname(host, sizeof(host) - 1);
	snprintf(r->source, sizeof(r->source), "%s:%d", host, getpid());
	wire_init(&s.control, -1);
	enclave_stats(s.e, &s.before);

	int rc = m->options.to[0] ? begin(&s, &r->failure) : leave_only(&s, &r->failure);
	bool possible = rc == 0 && m->options.only_check;
	if (possible)
		rc = fail(&only_asked, -ECANCELED, "it only wanted to know");
	atomic_store(&s.flow.bandwidth, m->options.bandwidth);
	if (rc == 0 && m->options.mode == MODE_PRECOPY)
		rc = rounds(&s, &r->failure);
	if (rc == 0)
		rc = switch_over(&s, &r->failure);
	account(&s);

	if (rc == 0)
		after(&s);
	else if (rc == -ENOTRECOVERABLE)
		enclave_abandon(s.e);
	else
		undo(&s, possible ? &only_asked : &r->failure);
	r->total_us = now_us() - s.begun_us;
	r->result = possible	       ? RESULT_POSSIBLE
		    : rc == 0	       ? RESULT_COMPLETED
		    : rc == -ECANCELED ? RESULT_CANCELLED
				       : RESULT_FAILED;
	outflow_close(&s.flow);
	carry_source_close(s.carry);
	hook_stop(s.hook);
	wire_close(&s.control);
	return rc;
}
