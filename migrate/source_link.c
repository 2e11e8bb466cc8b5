/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/source_private.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 5000

/* ---- frames ---- */

bool source_out_of_time(const struct source *s)
{
	return !s->left && s->o->timeout_us && now_us() - s->begun_us > s->o->timeout_us;
}

int source_timed_out(const struct source *s, struct failure *why)
{
	return fail(why, -ETIMEDOUT, "not done within %.1f s", (double)s->o->timeout_us / 1e6);
}

/* That long from now, but not longer than all of it may take; without a way back, whatever anybody wishes. */
struct wait source_until(const struct source *s, uint64_t us)
{
	if (s->left)
		return (struct wait){now_us() + us, -1};
	uint64_t at_us = now_us() + us, last_us = s->begun_us + s->o->timeout_us;
	return (struct wait){s->o->timeout_us && last_us < at_us ? last_us : at_us, s->m->wake_fd};
}

int source_was_cancelled(const struct source *s, struct failure *why)
{
	return fail(why, -ECANCELED, atomic_load(&s->m->program_ended) ? "the program ended" : "cancelled");
}

/* The destination's code is for people. Here some say what became of the program, which is not for anybody to say who answers
 * there. */
static int code_of(const struct frame_failed *said)
{
	switch (said->code) {
	case -ECANCELED:
	case -ENOTRECOVERABLE:
	case -EOWNERDEAD:
		return -EIO;
	default:
		return said->code < 0 ? said->code : -EIO;
	}
}

int source_failed(struct source *s, struct failure *why)
{
	struct frame_failed said;
	if (s->control.size != sizeof(said))
		return fail(why, -EPROTO, "%s: what answers there is not optmig receive", s->to.text);
	memcpy(&said, s->control.data, sizeof(said));
	wire_text(said.message, sizeof(said.message));
	return fail(why, code_of(&said), "the destination: %s", said.message);
}

/* Words for an error of the link; what the destination said itself, if it did, is better. */
int source_link_failed(struct source *s, int rc, struct failure *why)
{
	struct failure own;
	if (rc == -ECANCELED && atomic_load(&s->m->cancelled))
		return source_was_cancelled(s, why);
	if (rc == -ETIMEDOUT && source_out_of_time(s))
		return source_timed_out(s, why);
	if (rc == -ECANCELED || rc == -ETIMEDOUT)
		rc = outflow_error(&s->flow) ? outflow_error(&s->flow) : rc;
	s->link_lost = rc != -ETIMEDOUT && rc != -EPROTO;
	fail(&own, rc, "%s: %s", s->to.text,
	     rc == -ETIMEDOUT			 ? "the destination does not answer"
	     : rc == -ECONNRESET || rc == -EPIPE ? "the destination closed the connection"
	     : rc == -EPROTO			 ? "what answers there is not optmig receive"
						 : strerror(-rc));
	struct wait soon = {now_us() + 200 * 1000, -1};
	while (s->control.fd >= 0 && wire_recv(&s->control, soon) == 0)
		if (s->control.type == FRAME_FAILED)
			return source_failed(s, why);
	*why = own;
	return own.code;
}

int source_tell(struct source *s, enum frame_type type, const void *data, size_t size, struct failure *why)
{
	struct wait wait = source_until(s, s->stall_us);
	int rc = s->parcel.fd >= 0 ? parcel_put(&s->parcel, type, data, size, NULL, 0, wait)
				   : wire_send(s->control.fd, type, data, size, NULL, 0, wait);
	return rc ? source_link_failed(s, rc, why) : 0;
}

int source_told(struct source *s, int rc, struct failure *why)
{
	int sent = parcel_end(&s->parcel, source_until(s, s->stall_us));
	return rc || sent == 0 ? rc : source_link_failed(s, sent, why);
}

/* The next frame, which must be of that type. */
int source_expect(struct source *s, enum frame_type type, uint64_t us, struct failure *why)
{
	int rc = wire_recv(&s->control, source_until(s, us));
	if (rc == 0 && s->control.type == type)
		return 0;
	if (rc == 0 && s->control.type == FRAME_FAILED)
		return source_failed(s, why);
	return source_link_failed(s, rc ? rc : -EPROTO, why);
}

int source_enclave_failed(int rc, const char *what, struct failure *why)
{
	return fail(why, rc, "the enclave refused %s: %s", what, strerror(-rc));
}

/* ---- connect ---- */

static int connect_one(struct source *s, int wake_fd, int *fd, struct failure *why)
{
	int rc = address_connect(&s->to, CONNECT_TIMEOUT_MS, wake_fd, fd, why);
	if (rc == -ECANCELED)
		return source_was_cancelled(s, why);
	if (rc == 0)
		address_tune(*fd, SILENCE_US / 1000);
	return rc;
}

static int take_welcome(struct source *s, struct failure *why)
{
	struct frame_welcome welcome;
	int rc = source_expect(s, FRAME_WELCOME, PREPARE_TIMEOUT_US, why);
	if (rc == 0 && s->control.size != sizeof(welcome))
		rc = source_link_failed(s, -EPROTO, why);
	if (rc)
		return rc;
	memcpy(&welcome, s->control.data, sizeof(welcome));
	uint64_t way_us = wire_round_trip_us(s->control.fd) / 2;
	s->r->calendar_ahead_us = (int64_t)(welcome.calendar_us + way_us - calendar_us());
	return 0;
}

static int connect_control(struct source *s, struct failure *why)
{
	struct frame_hello hello = {.version = WIRE_VERSION, .streams = s->o->streams};
	struct runtime_stats stats;
	int rc = address_parse(s->o->to, &s->to, why);
	if (rc == 0)
		rc = connect_one(s, s->m->wake_fd, &s->control.fd, why);
	if (rc)
		return rc;
	if (getrandom(s->session, sizeof(s->session), 0) != sizeof(s->session))
		return fail(why, -EIO, "no random numbers");
	if (enclave_runtime_stats(s->e, &stats) == 0)
		/* What has to find room: of pages that exist some are let go, of those in mappings some are not touched. */
		hello.pages = stats.pages_accepted < stats.pages_mapped ? stats.pages_accepted : stats.pages_mapped;
	memcpy(hello.session, s->session, sizeof(hello.session));
	memcpy(hello.mrenclave, enclave_mrenclave(s->e), sizeof(hello.mrenclave));
	snprintf(hello.name, sizeof(hello.name), "%s", s->m->name);
	rc = source_tell(s, FRAME_HELLO, &hello, sizeof(hello), why);
	return rc ? rc : take_welcome(s, why);
}

int source_attach(struct source *s, uint32_t stream, int wake_fd, int *fd, struct failure *why)
{
	struct frame_attach frame = {.stream = stream, .epoch = s->epoch};
	int rc = connect_one(s, wake_fd, fd, why);
	if (rc)
		return rc;
	memcpy(frame.session, s->session, sizeof(frame.session));
	rc = wire_send(*fd, FRAME_ATTACH, &frame, sizeof(frame), NULL, 0,
		       (struct wait){now_us() + SILENCE_US, wake_fd});
	if (rc) {
		close(*fd);
		*fd = -1; /* the program may get this number next */
	}
	return rc ? source_link_failed(s, rc, why) : 0;
}

/* The control connection again. The old one stays if nobody can be reached: it may only have been slow. */
int source_reattach(struct source *s, struct failure *why)
{
	int fd, rc = source_attach(s, MIGRATE_CONTROL, -1, &fd, why);
	if (rc)
		return rc;
	if (s->control.fd >= 0)
		close(s->control.fd);
	s->control.fd = fd;
	return 0;
}

int source_connect_streams(struct source *s, int wake_fd, struct failure *why)
{
	int fds[MIGRATE_STREAMS_MAX], rc = 0;
	unsigned count = 0;
	while (count < s->o->streams && (rc = source_attach(s, count, wake_fd, &fds[count], why)) == 0)
		count++;
	if (rc == 0)
		rc = source_attach(s, MIGRATE_URGENT, wake_fd, &s->urgent_fd, why);
	if (rc) {
		while (count)
			close(fds[--count]);
		return rc;
	}
	struct counts before = source_counts_now(s);
	/* Owns the descriptors from here on, also if it fails. */
	rc = outflow_open(&s->flow, s->e, fds, count, s->m->wake_fd);
	atomic_store(&s->flow.pages, before.pages);
	atomic_store(&s->flow.zero_pages, before.zero_pages);
	atomic_store(&s->flow.bytes, before.bytes);
	s->attached = rc == 0;
	s->round = 0;
	if (rc == 0)
		outflow_priority(&s->flow, LANE_BACKGROUND);
	return rc ? fail(why, rc, "cannot start the streams: %s", strerror(-rc)) : 0;
}

int source_connect(struct source *s, struct failure *why)
{
	int rc = connect_control(s, why);
	return rc ? rc : source_connect_streams(s, s->m->wake_fd, why);
}
