/* SPDX-License-Identifier: Apache-2.0
 *
 *   hello -> load -> handshake -> prepare -> rounds -> READY -> COMMIT -> home (-> fill)
 *   `--------------- discard ------------------------'   |
 *                             waits for COMMIT, also over a new connection;
 *                             given up only by an authentic REFUSED
 */
#include "migrate/destination.h"
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "host/carry.h"
#include "host/hook.h"
#include "host/log.h"
#include "host/signals.h"
#include "migrate/address.h"
#include "migrate/arrivals.h"
#include "migrate/control.h"
#include "migrate/image_find.h"
#include "migrate/inflow.h"
#include "migrate/report.h"
#include "migrate/trusted.h"
#include "migrate/urgent.h"

#define PREPARE_TIMEOUT_US (120ull * 1000 * 1000)
#define SILENCE_MS 10000u
#define READY_TIMEOUT_US (10ull * 1000 * 1000) /* from READY to COMMIT */
#define REFUSED_KEPT_US (60ull * 1000 * 1000)  /* for a source that asks late */
#define END_TOLD_US                                                                                          \
	(10ull * 1000 * 1000) /* the program has ended: longest that is held up by a source to be told */
#define HOOK_TIMEOUT_MS 400

struct destination {
	const struct destination_options *o;
	const struct frame_hello *hello;
	char name[MIGRATE_NAME_MAX];
	int channel_fd;
	int wake_fd; /* a stream failed */
	struct wire control;
	pthread_mutex_t send_lock; /* streams' threads send on the control connection too */
	struct enclave *e;
	struct inflow flow;
	int urgent_fd;
	struct arrivals arrivals;
	uint64_t resumed_us;
	uint64_t filled_us; /* how long after that the last page came */
	uint64_t deferred;  /* pages that were still at the source when the program resumed here */
	atomic_bool served; /* the source has sent them all */
	atomic_bool filling;
	atomic_bool ended; /* the program, while they were still there */
	struct carry_destination *carry;
	struct hook *hook;
	struct softsgx_stats before;
	uint64_t parking_us;
	int usual_nice;			     /* of the main thread before it was urgent; 20: it is not */
	uint8_t slots[THREAD_SLOTS_MAX / 8]; /* with a thread that stands by */
	bool handed_over;		     /* RESUME succeeded: runs here */
	uint8_t refused[1024];
	size_t refused_size;
};

static int tell(struct destination *d, enum frame_type type, const void *first, size_t first_size,
		const void *second, size_t second_size)
{
	struct wait wait = {now_us() + SILENCE_MS * 1000ull, -1};
	pthread_mutex_lock(&d->send_lock);
	int rc = wire_send(d->control.fd, type, first, first_size, second, second_size, wait);
	pthread_mutex_unlock(&d->send_lock);
	return rc;
}

static void tell_failed(struct destination *d, const struct failure *why)
{
	struct frame_failed said = {.code = why->code};
	snprintf(said.message, sizeof(said.message), "%s", why->message);
	tell(d, FRAME_FAILED, &said, sizeof(said), NULL, 0);
}

static int link_failed(int rc, struct failure *why)
{
	return fail(why, rc, "the source: %s",
		    rc == -ECONNRESET || rc == -EPIPE ? "closed the connection"
		    : rc == -EPROTO		      ? "sent something that is no frame"
						      : strerror(-rc));
}

static int source_failed(struct destination *d, struct failure *why)
{
	struct frame_failed said;
	if (d->control.size != sizeof(said))
		return link_failed(-EPROTO, why);
	memcpy(&said, d->control.data, sizeof(said));
	wire_text(said.message, sizeof(said.message));
	return fail(why, -ECANCELED, "the source: %s", said.message);
}

static int enclave_failed(int rc, const char *what, struct failure *why)
{
	return fail(why, rc, "the enclave refused %s: %s", what, strerror(-rc));
}

static int flow_failed(struct destination *d, struct failure *why)
{
	bool refused;
	int rc = inflow_error(&d->flow, &refused);
	return refused ? enclave_failed(rc, "a page record", why) : link_failed(rc ? rc : -ETIMEDOUT, why);
}

/* ---- prepare ---- */

/* A connection of this session from the receive service. */
static int channel_receive(struct destination *d, int timeout_ms, struct frame_attach *attach, int *fd)
{
	char space[CMSG_SPACE(sizeof(int))];
	struct iovec part = {attach, sizeof(*attach)};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct pollfd polled = {.fd = d->channel_fd, .events = POLLIN};
	if (poll(&polled, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	ssize_t n = recvmsg(d->channel_fd, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (n != sizeof(*attach) || !c || c->cmsg_type != SCM_RIGHTS)
		return -ECONNRESET;
	memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 0;
}

static void wake(struct destination *d)
{
	uint64_t one = 1;
	if (write(d->wake_fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

static void round_done(void *context, uint32_t round)
{
	struct destination *d = context;
	struct frame_round done = {round};
	if (atomic_load(&d->filling)) {
		atomic_store(&d->served, true);
		wake(d);
	} else {
		tell(d, FRAME_ROUND_DONE, &done, sizeof(done), NULL, 0);
	}
}

static int record(void *context, unsigned stream, const void *data, size_t size)
{
	struct destination *d = context;
	return arrivals_record(&d->arrivals, stream, data, size);
}

static const struct inflow_ops stream_ops = {record, round_done};

/* Connections of one attempt, until all are there. */
struct connections {
	int fd[MIGRATE_STREAMS_MAX + 1]; /* the last is the urgent one; -1: not yet */
	unsigned count;
	uint32_t epoch; /* frame_attach.epoch */
};

static void connections_init(struct connections *c)
{
	memset(c->fd, 0xff, sizeof(c->fd));
	c->count = 0;
}

static void connections_close(struct connections *c)
{
	for (unsigned i = 0; i <= MIGRATE_STREAMS_MAX; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	connections_init(c);
}

/* Takes over fd. */
static int connections_add(struct connections *c, unsigned streams, uint32_t stream, int fd)
{
	unsigned i = stream == MIGRATE_URGENT ? MIGRATE_STREAMS_MAX : stream;
	if ((stream != MIGRATE_URGENT && stream >= streams) || c->fd[i] >= 0) {
		close(fd);
		return -EPROTO;
	}
	address_tune(fd, SILENCE_MS);
	c->fd[i] = fd;
	c->count++;
	return 0;
}

/* The streams' threads begin. Takes over all of c but the urgent connection. */
static int flow_open(struct destination *d, struct connections *c, struct failure *why)
{
	int rc = inflow_open(&d->flow, c->fd, d->hello->streams, d->wake_fd, stream_ops, d);
	connections_init(c);
	if (rc == 0)
		inflow_priority(&d->flow, LANE_BACKGROUND);
	return rc ? fail(why, rc, "cannot start the streams: %s", strerror(-rc)) : 0;
}

static int streams_open(struct destination *d, struct failure *why)
{
	struct connections c;
	unsigned want = d->hello->streams + 1;
	connections_init(&c);
	while (c.count < want) {
		struct frame_attach attach;
		int fd, rc = channel_receive(d, SILENCE_MS, &attach, &fd);
		if (rc == 0)
			rc = connections_add(&c, d->hello->streams, attach.stream, fd);
		if (rc) {
			unsigned have = c.count;
			connections_close(&c);
			return fail(why, rc, "only %u of %u connections were made", have, want);
		}
	}
	d->urgent_fd = c.fd[MIGRATE_STREAMS_MAX];
	return flow_open(d, &c, why);
}

/* Is the name free, or is its bearer the program that is about to come? */
static int name_check(struct destination *d, struct failure *why)
{
	struct failure ignored;
	int fd;
	if (!control_name_ok(d->name))
		return fail(why, -EINVAL, "not a name for a program");
	if (control_connect(d->name, &fd, &ignored))
		return 0;
	static const char question[] = "{\"command\":\"status\"}\n";
	char answer[4096] = "";
	struct wait wait = {now_us() + 2 * 1000 * 1000, -1};
	int rc = wire_send_raw(fd, question, sizeof(question) - 1, wait);
	struct pollfd polled = {.fd = fd, .events = POLLIN};
	if (rc == 0 && poll(&polled, 1, 2000) > 0 && recv(fd, answer, sizeof(answer) - 1, 0) < 0)
		answer[0] = '\0';
	close(fd);
	json_t *status = json_loads(answer, JSON_DISABLE_EOF_CHECK, NULL);
	bool itself = json_is_true(json_object_get(status, "migrating"));
	json_decref(status);
	return itself ? 0 : fail(why, -EEXIST, "another program called %s runs here", d->name);
}

static int load(struct destination *d, struct failure *why)
{
	char path[4096];
	uint8_t nothing = 0;
	int rc;
	if (d->hello->version != WIRE_VERSION)
		return fail(why, -EPROTO, "speaks version %d, not %u", WIRE_VERSION, d->hello->version);
	if (d->hello->streams == 0 || d->hello->streams > MIGRATE_STREAMS_MAX)
		return fail(why, -EPROTO, "%u streams are not 1 to %u", d->hello->streams,
			    MIGRATE_STREAMS_MAX);
	log_line("%s: on its way, %.0f MB", d->name, (double)d->hello->pages * PAGE_SIZE / 1e6);
	rc = name_check(d, why);
	if (rc == 0)
		rc = image_find(d->o->image_dir, d->hello->mrenclave, path, sizeof(path), why);
	if (rc == 0)
		rc = enclave_load(path, &d->e, why);
	if (rc == 0 && memcmp(enclave_mrenclave(d->e), d->hello->mrenclave, 32) != 0)
		rc = fail(why, -ENOENT, "the image changed while it was loaded");
	if (rc)
		return rc;
	arrivals_init(&d->arrivals, d->e, d->wake_fd);
	enclave_stats(d->e, &d->before);
	if (d->o->hook)
		rc = hook_start(d->o->hook, "destination", &d->hook, why);
	if (rc == 0 && (rc = tell(d, FRAME_WELCOME, &nothing, 1, NULL, 0)))
		rc = link_failed(rc, why);
	return rc ? rc : streams_open(d, why);
}

/* ---- frames of the source, up to READY ---- */

static int on_handshake(struct destination *d, struct failure *why)
{
	struct handshake_hello hello;
	struct trusted_call c = {
	    .in = d->control.data, .in_size = d->control.size, .out = &hello, .out_size = sizeof(hello)};
	int rc = trusted(d->e, MIGRATE_ACCEPT, 0, &c);
	return rc ? enclave_failed(rc, "the source's key", why)
		  : tell(d, FRAME_HANDSHAKE, &hello, sizeof(hello), NULL, 0);
}

static int on_evidence(struct destination *d, struct failure *why)
{
	uint8_t evidence[sizeof(struct evidence) + EVIDENCE_BODY_MAX];
	size_t size;
	struct trusted_call c = {.in = d->control.data, .in_size = d->control.size};
	int rc = trusted_evidence(d->e, evidence, sizeof(evidence), &size, why);
	if (rc)
		return rc;
	rc = trusted(d->e, MIGRATE_PEER, 0, &c);
	if (rc)
		return enclave_failed(rc, "the source's evidence of being the same enclave", why);
	return tell(d, FRAME_EVIDENCE, evidence, size, NULL, 0);
}

static int on_manifest(struct destination *d, struct failure *why)
{
	struct bytes answer = {0};
	if (d->carry)
		return fail(why, -EPROTO, "a second manifest");
	int rc = carry_destination_prepare(enclave_fds(d->e), d->control.data, d->control.size, &answer,
					   &d->carry, why);
	if (rc == 0 && (rc = tell(d, FRAME_ANSWER, answer.data, answer.size, NULL, 0)))
		rc = link_failed(rc, why);
	bytes_free(&answer);
	return rc;
}

/* Threads that are made meanwhile have the program's priority. From the first time on this one is urgent:
 * what the source waits for next is when everything stands still. */
static int on_slots(struct destination *d, struct failure *why)
{
	uint8_t more[THREAD_SLOTS_MAX / 8];
	if (d->control.size != sizeof(more))
		return link_failed(-EPROTO, why);
	for (unsigned i = 0; i < sizeof(more); i++) {
		more[i] = d->control.data[i] & ~d->slots[i];
		d->slots[i] |= more[i];
	}
	thread_urgent_end(d->usual_nice);
	int rc = enclave_standby(d->e, more, enclave_config(d->e)->slot_count);
	d->usual_nice = thread_urgent_begin();
	return rc ? fail(why, rc, "cannot make the program's threads: %s", strerror(-rc)) : 0;
}

static int on_parking(struct destination *d, struct failure *why)
{
	inflow_priority(&d->flow, LANE_URGENT);
	d->parking_us = now_us();
	return 0;
}

static int on_carried(struct destination *d, struct failure *why)
{
	if (!d->carry)
		return fail(why, -EPROTO, "descriptors without a manifest");
	return carry_destination_restore(d->carry, d->control.data, d->control.size, why);
}

static int on_control(struct destination *d, struct failure *why)
{
	struct trusted_call c = {.in = d->control.data, .in_size = d->control.size};
	int rc = trusted(d->e, MIGRATE_RECEIVE, MIGRATE_CONTROL, &c);
	return rc ? enclave_failed(rc, "a record of state", why) : 0;
}

/* Everything was sent: once it is installed, say so. Returns 1 when READY is out. */
static int on_final(struct destination *d, struct failure *why)
{
	struct frame_round final;
	uint8_t record[1024];
	struct trusted_call c = {.out = record, .out_size = sizeof(record)};
	if (d->control.size != sizeof(final) || !d->carry)
		return link_failed(-EPROTO, why);
	memcpy(&final, d->control.data, sizeof(final));
	/* Ready to ask for pages before any thread can need one. */
	int rc = arrivals_begin(&d->arrivals);
	if (rc == 0)
		rc = arrivals_connect(&d->arrivals, d->urgent_fd);
	if (rc)
		return fail(why, rc, "%s", strerror(-rc));
	rc = inflow_wait(&d->flow, final.round, now_us() + SILENCE_MS * 1000ull);
	if (rc)
		return flow_failed(d, why);
	rc = hook_tell(d->hook, HOOK_PRE_RESUME, d->name, HOOK_TIMEOUT_MS, why);
	if (rc)
		return rc;
	rc = trusted(d->e, MIGRATE_READY, 0, &c);
	if (rc)
		return enclave_failed(rc, "to be ready", why);
	rc = tell(d, FRAME_READY, record, c.out_size, NULL, 0);
	return rc ? link_failed(rc, why) : 1;
}

static int (*const handlers[FRAME_TYPE_COUNT])(struct destination *d, struct failure *why) = {
    [FRAME_HANDSHAKE] = on_handshake, [FRAME_EVIDENCE] = on_evidence, [FRAME_MANIFEST] = on_manifest,
    [FRAME_SLOTS] = on_slots,	      [FRAME_PARKING] = on_parking,   [FRAME_CARRIED] = on_carried,
    [FRAME_CONTROL] = on_control,     [FRAME_FINAL] = on_final,	      [FRAME_FAILED] = source_failed,
};

static int serve_until_ready(struct destination *d, struct failure *why)
{
	int rc;
	do {
		/* The source may be busy for long; keepalive finds a dead one. */
		rc = wire_recv(&d->control, (struct wait){WIRE_FOREVER, d->wake_fd});
		if (rc == -ECANCELED)
			return flow_failed(d, why);
		if (rc)
			return link_failed(rc, why);
		if (!handlers[d->control.type])
			return fail(why, -EPROTO, "the source sent frame %u out of order", d->control.type);
		rc = handlers[d->control.type](d, why);
		if (rc < 0 && why->code == 0)
			link_failed(rc, why);
	} while (rc == 0);
	return rc < 0 ? rc : 0;
}

/* ---- COMMIT ---- */

/* The next frame on the control connection, or on the one that takes its place. */
static int await_source(struct destination *d, uint64_t until_us)
{
	for (;;) {
		uint64_t now = now_us();
		if (now >= until_us)
			return -ETIMEDOUT;
		struct pollfd polled[2] = {{.fd = d->control.fd, .events = POLLIN},
					   {.fd = d->channel_fd, .events = POLLIN}};
		int n = poll(polled, 2, (int)((until_us - now) / 1000) + 1);
		if (n <= 0)
			continue;
		if (polled[1].revents) {
			struct frame_attach attach;
			int fd;
			int rc = channel_receive(d, 0, &attach, &fd);
			if (rc)
				return rc;
			if (attach.stream != MIGRATE_CONTROL) {
				close(fd);
				continue;
			}
			address_tune(fd, SILENCE_MS);
			wire_close(&d->control);
			wire_init(&d->control, fd);
			continue;
		}
		if (wire_recv(&d->control, (struct wait){now + 2 * 1000 * 1000, -1}) == 0)
			return 0;
		wire_close(&d->control); /* fd -1: poll looks away */
	}
}

static void threads_go(struct destination *d)
{
	struct failure why;
	if (d->deferred)
		atomic_store(&d->filling, true);
	if (carry_destination_release(d->carry, &why))
		log_line("%s: %s", d->name, why.message);
	enclave_unpark_all(d->e);
}

/* Answers COMMIT, the first time by letting the program run. */
static int on_commit(struct destination *d, struct failure *why)
{
	static uint64_t downtime_us;
	uint8_t record[1024];
	struct trusted_call c = {
	    .in = d->control.data, .in_size = d->control.size, .out = record, .out_size = sizeof(record)};
	int rc = trusted(d->e, MIGRATE_RESUME, 0, &c);
	if (rc)
		return enclave_failed(rc, "the commit", why);
	if (!d->handed_over) {
		d->handed_over = true;
		d->deferred = c.ret[0];
		threads_go(d);
		d->resumed_us = now_us();
		downtime_us = d->resumed_us - d->parking_us;
	}
	struct frame_resumed times = {downtime_us};
	/* If it does not get through, the source asks again. */
	tell(d, FRAME_RESUMED, &times, sizeof(times), record, c.out_size);
	return 0;
}

/* This instance will never run the program: says so in a way the source's enclave believes. */
static void refuse(struct destination *d)
{
	struct trusted_call c = {.out = d->refused, .out_size = sizeof(d->refused)};
	if (trusted(d->e, MIGRATE_REFUSE, 0, &c))
		return;
	d->refused_size = c.out_size;
	/* Only the answer is kept: the program's addresses and ports are free for another attempt. */
	carry_destination_discard(d->carry);
	d->carry = NULL;
	inflow_close(&d->flow);
	for (uint64_t until_us = now_us() + REFUSED_KEPT_US; await_source(d, until_us) == 0;) {
		if (d->control.type == FRAME_COMMIT)
			tell(d, FRAME_REFUSED, d->refused, d->refused_size, NULL, 0);
		else
			return; /* BYE or FAILED: it knows */
	}
}

/* From READY to running. A source that fell silent has either undone everything or will come back with
 * COMMIT. */
static int serve_commit(struct destination *d, struct failure *why)
{
	uint64_t until_us = now_us() + READY_TIMEOUT_US;
	for (;;) {
		int rc = await_source(d, until_us);
		if (rc) {
			rc = fail(why, rc, "the source did not say commit after ready");
			refuse(d);
			return rc;
		}
		if (d->control.type == FRAME_FAILED)
			return source_failed(d, why);
		if (d->control.type != FRAME_COMMIT)
			continue;
		rc = on_commit(d, why);
		if (rc == 0)
			return 0;
		/* Not authentic: as if it had not been. Authentic but of no use: the enclave can only refuse.
		 */
		log_line("%s: %s", d->name, why->message);
		if (rc != -EBADMSG) {
			refuse(d);
			return rc;
		}
	}
}

/* ---- home ---- */

static void send_report(struct destination *d)
{
	uint64_t waits = atomic_load(&d->arrivals.waits);
	struct softsgx_stats now;
	char host[64] = "", where[96];
	gethostname(host, sizeof(host) - 1);
	snprintf(where, sizeof(where), "%s:%d", host, getpid());
	json_t *leaves = enclave_stats(d->e, &now) ? json_object() : migrate_leaves_json(&now, &d->before);
	json_t *report =
	    json_pack("{s:s, s:o, s:I, s:I}", "enclave", where, "leaves", leaves, "postcopy_faults",
		      (json_int_t)waits, "postcopy_us", (json_int_t)d->filled_us);
	char *text = json_dumps(report, JSON_COMPACT);
	if (text)
		tell(d, FRAME_REPORT, text, strlen(text), NULL, 0);
	free(text);
	json_decref(report);
}

/* ---- pages that are still at the source ---- */

/* Until all pages are here, and the source knows it. */
struct fill {
	struct connections c; /* of the source's latest attempt */
	uint32_t asked; /* the attempt whose connections take the place of the old ones once all are there */
	/* What is said at the end; until the source has heard it, or for so long. */
	enum frame_type end; /* ARRIVED, or BYE: the program has ended; 0: it is not the end */
	uint8_t word[1024];  /* the enclave's, of ARRIVED */
	size_t word_size;
	uint64_t until_us;
	bool over;
};

static void hear_signals(struct destination *d)
{
	uint64_t signals;
	if (d->control.size != sizeof(signals))
		return;
	memcpy(&signals, d->control.data, sizeof(signals));
	signals_give(d->e, signals);
}

static void connections_drop(struct destination *d)
{
	inflow_close(&d->flow);
	arrivals_disconnect(&d->arrivals);
	wire_close(&d->control); /* so the source knows */
	atomic_store(&d->served, false);
}

static bool connection_lost(struct destination *d)
{
	bool refused;
	return arrivals_lost(&d->arrivals) || (d->flow.count && inflow_error(&d->flow, &refused));
}

/* The source has made all connections again. */
static int reopen(struct destination *d, struct fill *f, struct failure *why)
{
	struct frame_serve again = {f->asked};
	int urgent_fd = f->c.fd[MIGRATE_STREAMS_MAX], rc = trusted(d->e, MIGRATE_REOPEN, again.epoch, NULL);
	f->asked = 0;
	if (rc)
		return enclave_failed(rc, "new connections", why);
	rc = flow_open(d, &f->c, why);
	if (rc) {
		close(urgent_fd);
		return rc;
	}
	rc = arrivals_connect(&d->arrivals, urgent_fd);
	if (rc == 0)
		rc = tell(d, FRAME_SERVE, &again, sizeof(again), NULL, 0);
	return rc ? link_failed(rc, why) : 0;
}

static void say_end(struct destination *d, const struct fill *f)
{
	tell(d, f->end, f->word, f->word_size, NULL, 0);
	if (f->end == FRAME_ARRIVED)
		send_report(d);
}

static void end(struct destination *d, struct fill *f, enum frame_type word, uint64_t us)
{
	f->end = word;
	f->until_us = now_us() + us;
	inflow_close(&d->flow);
	arrivals_disconnect(&d->arrivals);
	say_end(d, f);
}

static uint64_t pages_deferred(struct destination *d)
{
	struct runtime_stats stats = {0};
	struct service_call call = {.op = SERVICE_STATS, .out = (uintptr_t)&stats, .out_size = sizeof(stats)};
	return enclave_service(d->e, &call) || call.result ? UINT64_MAX : stats.pages_deferred;
}

/* All streams have brought what they had; what was asked for may still be on its way. */
static int try_end(struct destination *d, struct fill *f, struct failure *why)
{
	struct trusted_call c = {.out = f->word, .out_size = sizeof(f->word)};
	if (pages_deferred(d))
		return 0; /* the enclave's answer would be the same, and records that come while it thinks are
			     refused */
	int rc = trusted(d->e, MIGRATE_ARRIVED, 0, &c);
	if (rc == -EAGAIN || rc == -EBUSY)
		return 0;
	if (rc)
		return enclave_failed(rc, "to have all pages", why);
	f->word_size = c.out_size;
	d->filled_us = now_us() - d->resumed_us;
	arrivals_end(&d->arrivals);
	log_line("%s: all pages are here", d->name);
	end(d, f, FRAME_ARRIVED, REFUSED_KEPT_US);
	return 0;
}

static int on_attach(struct destination *d, struct fill *f, struct failure *why)
{
	struct frame_attach attach;
	int fd, rc = channel_receive(d, 0, &attach, &fd);
	if (rc) {
		d->channel_fd = -1; /* nobody can come any more */
		log_line("%s: the receive service is gone", d->name);
		return 0;
	}
	if (attach.epoch < f->c.epoch) {
		close(fd); /* the source has given it up */
		return 0;
	}
	if (attach.epoch > f->c.epoch) {
		connections_close(&f->c);
		f->c.epoch = attach.epoch;
		connections_drop(d);
	}
	if (attach.stream != MIGRATE_CONTROL)
		return connections_add(&f->c, d->hello->streams, attach.stream, fd)
			   ? fail(why, -EPROTO, "a connection too many")
			   : 0;
	address_tune(fd, SILENCE_MS);
	wire_close(&d->control);
	wire_init(&d->control, fd);
	return 0;
}

static int on_fill_frame(struct destination *d, struct fill *f, struct failure *why)
{
	struct frame_serve serve;
	switch (d->control.type) {
	case FRAME_SIGNALS:
		hear_signals(d);
		return 0;
	case FRAME_BYE:
		hear_signals(d);
		f->over = f->end != 0;
		return 0;
	case FRAME_COMMIT:
		return on_commit(d, why);
	case FRAME_SERVE:
		if (d->control.size != sizeof(serve))
			return link_failed(-EPROTO, why);
		memcpy(&serve, d->control.data, sizeof(serve));
		f->asked = serve.epoch;
		if (f->end)
			say_end(d, f);
		return 0;
	default:
		return fail(why, -EPROTO, "the source sent frame %u out of order", d->control.type);
	}
}

static int fill_timeout_ms(struct destination *d, const struct fill *f)
{
	uint64_t now = now_us();
	if (f->end)
		return f->until_us > now ? (int)((f->until_us - now) / 1000) + 1 : 0;
	return atomic_load(&d->served) ? 10 : -1;
}

/* One thing that happens. */
static int fill_step(struct destination *d, struct fill *f, struct failure *why)
{
	struct pollfd polled[3] = {{.fd = d->control.fd, .events = POLLIN},
				   {.fd = d->channel_fd, .events = POLLIN},
				   {.fd = d->wake_fd, .events = POLLIN}};
	uint64_t count;
	int rc = 0;
	if (poll(polled, 3, fill_timeout_ms(d, f)) < 0)
		return 0;
	if (polled[2].revents && read(d->wake_fd, &count, sizeof(count)) < 0)
		return 0; /* another time */
	if (f->end == 0 && atomic_load(&d->ended))
		end(d, f, FRAME_BYE, END_TOLD_US);
	if (f->end == 0 && atomic_load(&d->served))
		rc = try_end(d, f, why);
	if (rc == 0 && f->end == 0 && connection_lost(d))
		rc = fail(why, -ECONNRESET, "a connection was lost");
	if (rc)
		return rc;
	if (polled[1].revents) {
		rc = on_attach(d, f, why);
	} else if (polled[0].revents) {
		rc = wire_recv(&d->control, (struct wait){now_us() + 2 * 1000 * 1000, -1});
		rc = rc ? link_failed(rc, why) : on_fill_frame(d, f, why);
	}
	/* SERVE and the connections come on different ways. */
	if (rc == 0 && f->end == 0 && f->asked && f->asked == f->c.epoch &&
	    f->c.count == d->hello->streams + 1)
		rc = reopen(d, f, why);
	return rc;
}

/* A thread that needs a page waits for as long as that takes: the source alone has it. */
static void fill(struct destination *d)
{
	struct fill f = {.end = 0};
	struct failure why;
	connections_init(&f.c);
	while (!f.over) {
		if (atomic_load(&d->ended) && f.end && f.until_us > now_us() + END_TOLD_US)
			f.until_us = now_us() + END_TOLD_US;
		if (f.end && (now_us() >= f.until_us || (d->channel_fd < 0 && d->control.fd < 0)))
			break;
		if (fill_step(d, &f, &why) == 0)
			continue;
		if (f.end == 0)
			log_line("%s: %s; %llu pages are still there, it waits for them", d->name,
				 why.message, (unsigned long long)pages_deferred(d));
		connections_close(&f.c);
		connections_drop(d);
	}
	connections_close(&f.c);
}

/* Beside the running program: what is left to say to the source and the neighbours. */
static void *epilogue_main(void *context)
{
	struct destination *d = context;
	struct failure why;
	if (!d->deferred)
		send_report(d);
	hook_tell(d->hook, HOOK_POST_RESUME, d->name, HOOK_TIMEOUT_MS, &why);
	carry_destination_finish(d->carry);
	if (d->deferred)
		fill(d);
	for (uint64_t until_us = now_us() + REFUSED_KEPT_US;
	     !d->deferred && await_source(d, until_us) == 0;) {
		if (d->control.type == FRAME_BYE)
			hear_signals(d);
		if (d->control.type != FRAME_COMMIT)
			break;
		/* It did not hear the answer. */
		if (on_commit(d, &why))
			log_line("%s: %s", d->name, why.message);
	}
	hook_stop(d->hook);
	wire_close(&d->control);
	return NULL;
}

static enum enclave_end live_here(struct destination *d, int *status)
{
	struct control *control = NULL;
	struct failure why;
	pthread_t epilogue;
	uint8_t running = 1;
	prctl(PR_SET_PDEATHSIG, 0); /* the program outlives the service that brought it */
	if (signals_forward(d->e))
		log_line("%s: signals will not reach the program", d->name);
	if (control_open(d->name, d->e, true, &control, &why))
		log_line("%s: cannot be controlled: %s", d->name, why.message);
	if (send(d->channel_fd, &running, 1, MSG_NOSIGNAL) < 0)
		log_line("%s: the receive service is gone", d->name);
	if (!d->deferred) {
		inflow_close(&d->flow);
		arrivals_end(&d->arrivals);
	} else {
		inflow_priority(&d->flow, LANE_NORMAL);
	}
	bool epilogue_runs = pthread_create(&epilogue, NULL, epilogue_main, d) == 0;
	log_line("%s: runs here now", d->name);
	enum enclave_end end = enclave_wait(d->e, status);
	control_close(control);
	if (end == ENCLAVE_EXITED)
		log_line("%s: ended with status %d", d->name, *status);
	if (d->deferred && epilogue_runs) {
		/* The source waits for a word: pages that are still there are of no use to anybody. */
		atomic_store(&d->ended, true);
		wake(d);
		pthread_join(epilogue, NULL);
	} else if (epilogue_runs) {
		pthread_detach(epilogue);
	}
	return end;
}

static void discard(struct destination *d, const struct failure *why)
{
	struct failure ignored;
	log_line("%s: not taken: %s", d->name[0] ? d->name : "a program", why->message);
	if (d->control.fd >= 0 && d->refused_size == 0)
		tell_failed(d, why);
	hook_tell(d->hook, HOOK_FAILED, d->name, HOOK_TIMEOUT_MS, &ignored);
	inflow_close(&d->flow);
	carry_destination_discard(d->carry);
	hook_stop(d->hook);
	wire_close(&d->control);
	if (d->e)
		enclave_destroy(d->e);
}

int destination_run(const struct destination_options *o, const struct frame_hello *hello, int control_fd,
		    int channel_fd, enum enclave_end *end, int *status)
{
	static struct destination d; /* the epilogue may outlive this call */
	struct failure why = {0};
	d.o = o;
	d.usual_nice = 20;
	d.hello = hello;
	d.channel_fd = channel_fd;
	memcpy(d.name, hello->name, sizeof(d.name));
	wire_text(d.name, sizeof(d.name));
	pthread_mutex_init(&d.send_lock, NULL);
	wire_init(&d.control, control_fd);
	address_tune(control_fd, SILENCE_MS);
	d.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = d.wake_fd < 0 ? fail(&why, -errno, "%s", strerror(errno)) : load(&d, &why);
	if (rc == 0)
		rc = serve_until_ready(&d, &why);
	if (rc == 0)
		rc = serve_commit(&d, &why);
	thread_urgent_end(d.usual_nice);
	if (rc == 0)
		*end = live_here(&d, status);
	else
		discard(&d, &why);
	return rc;
}
