/* SPDX-License-Identifier: Apache-2.0
 *
 *   hello -> load -> handshake -> prepare -> rounds -> READY -> COMMIT -> home
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
	struct carry_destination *carry;
	struct hook *hook;
	struct softsgx_stats before;
	uint64_t parking_us;
	int usual_nice;			     /* of the main thread, from READY on; 20: unchanged */
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

static void round_done(void *context, uint32_t round)
{
	struct destination *d = context;
	struct frame_round done = {round};
	tell(d, FRAME_ROUND_DONE, &done, sizeof(done), NULL, 0);
}

static int streams_open(struct destination *d, struct failure *why)
{
	int fds[MIGRATE_STREAMS_MAX], fd;
	unsigned count = d->hello->streams, have = 0;
	struct frame_attach attach;
	memset(fds, 0xff, sizeof(fds));
	while (have < count) {
		int rc = channel_receive(d, SILENCE_MS, &attach, &fd);
		if (rc == 0 && (attach.stream >= count || fds[attach.stream] >= 0)) {
			close(fd);
			rc = -EPROTO;
		}
		if (rc) {
			for (unsigned i = 0; i < count; i++)
				if (fds[i] >= 0)
					close(fds[i]);
			return fail(why, rc, "only %u of %u streams were connected", have, count);
		}
		address_tune(fd, SILENCE_MS);
		fds[attach.stream] = fd;
		have++;
	}
	int rc = inflow_open(&d->flow, d->e, fds, count, d->wake_fd, round_done, d);
	if (rc == 0)
		inflow_background(&d->flow, true);
	return rc ? fail(why, rc, "cannot start the streams: %s", strerror(-rc)) : 0;
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

static int on_slots(struct destination *d, struct failure *why)
{
	uint8_t more[THREAD_SLOTS_MAX / 8];
	if (d->control.size != sizeof(more))
		return link_failed(-EPROTO, why);
	for (unsigned i = 0; i < sizeof(more); i++) {
		more[i] = d->control.data[i] & ~d->slots[i];
		d->slots[i] |= more[i];
	}
	int rc = enclave_standby(d->e, more, enclave_config(d->e)->slot_count);
	return rc ? fail(why, rc, "cannot make the program's threads: %s", strerror(-rc)) : 0;
}

static int on_parking(struct destination *d, struct failure *why)
{
	inflow_background(&d->flow, false);
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
	d->usual_nice =
	    thread_urgent_begin(); /* no more threads are made from here to serve_commit()'s end */
	int rc = inflow_wait(&d->flow, final.round, now_us() + SILENCE_MS * 1000ull);
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
		threads_go(d);
		downtime_us = now_us() - d->parking_us;
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
	struct softsgx_stats now;
	char host[64] = "", where[96];
	gethostname(host, sizeof(host) - 1);
	snprintf(where, sizeof(where), "%s:%d", host, getpid());
	json_t *leaves = enclave_stats(d->e, &now) ? json_object() : migrate_leaves_json(&now, &d->before);
	json_t *report = json_pack("{s:s, s:o}", "enclave", where, "leaves", leaves);
	char *text = json_dumps(report, JSON_COMPACT);
	if (text)
		tell(d, FRAME_REPORT, text, strlen(text), NULL, 0);
	free(text);
	json_decref(report);
}

/* Beside the running program: what is left to say to the source and the neighbours. */
static void *epilogue_main(void *context)
{
	struct destination *d = context;
	struct failure why;
	send_report(d);
	hook_tell(d->hook, HOOK_POST_RESUME, d->name, HOOK_TIMEOUT_MS, &why);
	carry_destination_finish(d->carry);
	for (uint64_t until_us = now_us() + REFUSED_KEPT_US; await_source(d, until_us) == 0;) {
		uint64_t signals;
		if (d->control.type == FRAME_BYE && d->control.size == sizeof(signals)) {
			memcpy(&signals, d->control.data, sizeof(signals));
			signals_give(d->e, signals);
		}
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
	bool epilogue_runs = pthread_create(&epilogue, NULL, epilogue_main, d) == 0;
	inflow_close(&d->flow);
	log_line("%s: runs here now", d->name);
	enum enclave_end end = enclave_wait(d->e, status);
	control_close(control);
	if (end == ENCLAVE_EXITED)
		log_line("%s: ended with status %d", d->name, *status);
	if (epilogue_runs)
		pthread_detach(epilogue);
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
