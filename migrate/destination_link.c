/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/destination_private.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "migrate/attach.h"

int destination_tell(struct destination *d, enum frame_type type, const void *first, size_t first_size,
		     const void *second, size_t second_size)
{
	struct wait wait = {now_us() + SILENCE_MS * 1000ull, -1};
	pthread_mutex_lock(&d->send_lock);
	int rc = wire_send(d->control.fd, type, first, first_size, second, second_size, wait);
	pthread_mutex_unlock(&d->send_lock);
	return rc;
}

void destination_control(struct destination *d, int fd)
{
	pthread_mutex_lock(&d->send_lock);
	wire_close(&d->control);
	if (fd >= 0)
		wire_init(&d->control, fd);
	pthread_mutex_unlock(&d->send_lock);
}

int destination_link_failed(int rc, struct failure *why)
{
	return fail(why, rc, "the source: %s",
		    rc == -ECONNRESET || rc == -EPIPE ? "closed the connection"
		    : rc == -EPROTO		      ? "sent something that is no frame"
						      : strerror(-rc));
}

int destination_source_failed(struct destination *d, struct failure *why)
{
	struct frame_failed said;
	if (d->control.size != sizeof(said))
		return destination_link_failed(-EPROTO, why);
	memcpy(&said, d->control.data, sizeof(said));
	wire_text(said.message, sizeof(said.message));
	d->only_asked = said.code == 0;
	return fail(why, -ECANCELED, "the source: %s", said.message);
}

int destination_enclave_failed(int rc, const char *what, struct failure *why)
{
	return fail(why, rc, "the enclave refused %s: %s", what, strerror(-rc));
}

int destination_flow_failed(struct destination *d, struct failure *why)
{
	bool refused;
	int rc = inflow_error(&d->flow, &refused);
	if (rc == 0 && arrivals_lost(&d->arrivals))
		rc = -ECONNRESET;
	return refused ? destination_enclave_failed(rc, "a page record", why)
		       : destination_link_failed(rc ? rc : -ETIMEDOUT, why);
}

/* ---- connections ---- */

void destination_wake(struct destination *d)
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
		destination_wake(d);
	} else {
		destination_tell(d, FRAME_ROUND_DONE, &done, sizeof(done), NULL, 0);
	}
}

static int record(void *context, unsigned stream, const void *data, size_t size)
{
	struct destination *d = context;
	return arrivals_record(&d->arrivals, stream, data, size);
}

static const struct inflow_ops stream_ops = {record, round_done};

void connections_init(struct connections *c)
{
	memset(c->fd, 0xff, sizeof(c->fd));
	c->count = 0;
}

void connections_close(struct connections *c)
{
	for (unsigned i = 0; i <= MIGRATE_STREAMS_MAX; i++)
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	connections_init(c);
}

int connections_add(struct connections *c, unsigned streams, uint32_t stream, int fd)
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

int destination_flow_open(struct destination *d, struct connections *c, struct failure *why)
{
	int urgent_fd = c->fd[MIGRATE_STREAMS_MAX];
	int rc = inflow_open(&d->flow, c->fd, d->hello->streams, d->wake_fd, stream_ops, d);
	connections_init(c);
	if (rc)
		close(urgent_fd);
	else
		rc = arrivals_connect(&d->arrivals, urgent_fd);
	if (rc == 0)
		inflow_priority(&d->flow, LANE_BACKGROUND);
	return rc ? fail(why, rc, "cannot serve the connections: %s", strerror(-rc)) : 0;
}

/* The next connection of the session, unless the source gives up before: it has closed the control connection then. */
static int connection_take(struct destination *d, struct frame_attach *attach, int *fd)
{
	uint64_t now, until_us = now_us() + SILENCE_MS * 1000ull;
	while ((now = now_us()) < until_us) {
		struct pollfd polled[2] = {{.fd = d->attach_fd, .events = POLLIN},
					   {.fd = d->control.fd, .events = POLLRDHUP}};
		if (poll(polled, 2, (int)((until_us - now) / 1000) + 1) <= 0)
			continue;
		if (polled[1].revents)
			return -ECONNRESET;
		int rc = attach_take(d->attach_fd, attach, fd);
		if (rc != -EAGAIN)
			return rc;
	}
	return -ETIMEDOUT;
}

/* Why it was closed, if the source has said so. */
static int source_gave_up(struct destination *d, struct failure *why)
{
	int rc = wire_recv(&d->control, (struct wait){now_us(), -1});
	return rc == 0 && d->control.type == FRAME_FAILED ? destination_source_failed(d, why)
							  : destination_link_failed(-ECONNRESET, why);
}

int destination_streams_open(struct destination *d, struct failure *why)
{
	struct connections c;
	unsigned want = d->hello->streams + 1;
	connections_init(&c);
	while (c.count < want) {
		struct frame_attach attach;
		int fd, rc = connection_take(d, &attach, &fd);
		if (rc == -ECONNRESET) {
			connections_close(&c);
			return source_gave_up(d, why);
		}
		if (rc == 0 && attach.epoch) {
			close(fd);
			rc = -EPROTO;
		} else if (rc == 0) {
			rc = connections_add(&c, d->hello->streams, attach.stream, fd);
		}
		if (rc) {
			unsigned have = c.count;
			connections_close(&c);
			return fail(why, rc, "only %u of %u connections were made", have, want);
		}
	}
	return destination_flow_open(d, &c, why);
}

int destination_await(struct destination *d, uint64_t until_us)
{
	for (;;) {
		uint64_t now = now_us();
		if (now >= until_us)
			return -ETIMEDOUT;
		struct pollfd polled[2] = {{.fd = d->control.fd, .events = POLLIN},
					   {.fd = d->attach_fd, .events = POLLIN}};
		int n = poll(polled, 2, (int)((until_us - now) / 1000) + 1);
		if (n <= 0)
			continue;
		if (polled[1].revents) {
			struct frame_attach attach;
			int fd;
			if (attach_take(d->attach_fd, &attach, &fd))
				continue;
			if (attach.stream != MIGRATE_CONTROL) {
				close(fd);
				continue;
			}
			address_tune(fd, SILENCE_MS);
			destination_control(d, fd);
			continue;
		}
		if (wire_recv(&d->control, (struct wait){now + 2 * 1000 * 1000, -1}) == 0)
			return 0;
		destination_control(d, -1); /* poll looks away */
	}
}
