/* SPDX-License-Identifier: Apache-2.0
 *
 * The program runs here, and some of its pages are still at the source: until the
 * last has come, and the source knows it.
 */
#include "migrate/destination_private.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "host/log.h"
#include "host/signals.h"
#include "migrate/attach.h"
#include "migrate/trusted.h"

#define END_TOLD_US                                                                                          \
	(10ull * 1000 * 1000) /* the program has ended: longest that is held up by a source to be told */

#define END_AGAIN_MS 2000 /* it is said that often, until the source has heard it */

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

void destination_hear_signals(struct destination *d)
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
	destination_control(d, -1); /* so the source knows */
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
	int rc = trusted(d->e, MIGRATE_REOPEN, again.epoch, NULL);
	f->asked = 0;
	if (rc)
		return destination_enclave_failed(rc, "new connections", why);
	rc = destination_flow_open(d, &f->c, why);
	if (rc)
		return rc;
	rc = destination_tell(d, FRAME_SERVE, &again, sizeof(again), NULL, 0);
	return rc ? destination_link_failed(rc, why) : 0;
}

static void say_end(struct destination *d, const struct fill *f)
{
	destination_tell(d, f->end, f->word, f->word_size, NULL, 0);
	if (f->end == FRAME_ARRIVED)
		destination_report(d);
}

static void end(struct destination *d, struct fill *f, enum frame_type word, uint64_t us)
{
	f->end = word;
	f->until_us = now_us() + us;
	say_end(d, f); /* before the connections end: the source would take them for lost */
	inflow_close(&d->flow);
	arrivals_disconnect(&d->arrivals);
}

static void end_program(struct destination *d, struct fill *f)
{
	struct frame_end how = {atomic_load(&d->died)};
	memcpy(f->word, &how, sizeof(how));
	f->word_size = sizeof(how);
	end(d, f, FRAME_BYE, END_TOLD_US);
}

/* All streams have brought what they had; what was asked for may still be on its way. */
static int try_end(struct destination *d, struct fill *f, struct failure *why)
{
	struct trusted_call c = {.out = f->word, .out_size = sizeof(f->word)};
	struct runtime_stats stats;
	if (enclave_runtime_stats(d->e, &stats) || stats.pages_deferred)
		return 0; /* the enclave's answer would be the same, and records that come while it thinks are
			     refused */
	int rc = trusted(d->e, MIGRATE_ARRIVED, 0, &c);
	if (rc == -EAGAIN || rc == -EBUSY)
		return 0;
	if (rc)
		return destination_enclave_failed(rc, "to have all pages", why);
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
	int fd;
	if (attach_take(d->attach_fd, &attach, &fd))
		return 0;
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
	destination_control(d, fd);
	return 0;
}

static int on_fill_frame(struct destination *d, struct fill *f, struct failure *why)
{
	struct frame_serve serve;
	switch (d->control.type) {
	case FRAME_SIGNALS:
		destination_hear_signals(d);
		return 0;
	case FRAME_BYE:
		destination_hear_signals(d);
		f->over = f->end != 0;
		return 0;
	case FRAME_COMMIT:
		return destination_on_commit(d, why);
	case FRAME_SERVE:
		if (d->control.size != sizeof(serve))
			return destination_link_failed(-EPROTO, why);
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
	uint64_t now = now_us(), left_ms = f->until_us > now ? (f->until_us - now) / 1000 + 1 : 0;
	if (f->end)
		return left_ms < END_AGAIN_MS ? (int)left_ms : END_AGAIN_MS;
	return atomic_load(&d->served) ? 10 : -1;
}

/* One thing that happens. */
static int fill_step(struct destination *d, struct fill *f, struct failure *why)
{
	struct pollfd polled[3] = {{.fd = d->control.fd, .events = POLLIN},
				   {.fd = d->attach_fd, .events = POLLIN},
				   {.fd = d->wake_fd, .events = POLLIN}};
	uint64_t count;
	int rc = 0;
	int n = poll(polled, 3, fill_timeout_ms(d, f));
	if (n == 0 && f->end)
		say_end(d, f); /* whoever carries it may have kept it */
	if (n < 0)
		return 0;
	if (polled[2].revents && read(d->wake_fd, &count, sizeof(count)) < 0)
		return 0; /* another time */
	if (f->end == 0 && atomic_load(&d->ended))
		end_program(d, f);
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
		rc = rc ? destination_link_failed(rc, why) : on_fill_frame(d, f, why);
	}
	/* SERVE and the connections come on different ways. */
	if (rc == 0 && f->end == 0 && f->asked && f->asked == f->c.epoch &&
	    f->c.count == d->hello->streams + 1)
		rc = reopen(d, f, why);
	return rc;
}

/* A thread that needs a page waits for as long as that takes: the source alone has it. */
void destination_fill(struct destination *d)
{
	struct fill f = {.end = 0};
	struct runtime_stats stats;
	struct failure why;
	connections_init(&f.c);
	while (!f.over) {
		if (atomic_load(&d->ended) && f.end && f.until_us > now_us() + END_TOLD_US)
			f.until_us = now_us() + END_TOLD_US;
		if (f.end && now_us() >= f.until_us)
			break;
		if (fill_step(d, &f, &why) == 0)
			continue;
		if (f.end == 0 && enclave_runtime_stats(d->e, &stats) == 0)
			log_line("%s: %s; %llu pages are still there, it waits for them", d->name,
				 why.message, (unsigned long long)stats.pages_deferred);
		connections_close(&f.c);
		connections_drop(d);
	}
	connections_close(&f.c);
}
