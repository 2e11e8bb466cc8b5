/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/inflow.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void stream_failed(struct instream *s, int error, bool refused)
{
	struct inflow *f = s->flow;
	uint64_t one = 1;
	pthread_mutex_lock(&f->lock);
	bool first = f->error == 0 && !f->closing;
	if (first) {
		f->error = error;
		f->refused = refused;
	}
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	if (first && write(f->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

/* One frame into the ring: the note says which kind. */
static int read_frame(struct instream *s)
{
	struct wait forever = {WIRE_FOREVER, -1};
	struct frame_header header;
	int rc = wire_recv_header(s->lane.fd, &header, forever);
	if (rc)
		return rc;
	if (header.type != FRAME_RECORD && header.type != FRAME_ROUND_END)
		return -EPROTO;
	struct ring_slot *slot = ring_fill_begin(&s->lane.ring);
	if (!slot)
		return -ECANCELED;
	rc = wire_recv_raw(s->lane.fd, slot->data, header.size, forever);
	if (rc)
		return rc;
	slot->size = header.size;
	slot->note = header.type;
	ring_fill_end(&s->lane.ring);
	return 0;
}

static void *reader_main(void *context)
{
	struct instream *s = context;
	int rc;
	while ((rc = read_frame(s)) == 0)
		;
	stream_failed(s, rc, false);
	ring_close(&s->lane.ring);
	return NULL;
}

static int round_ended(struct instream *s, const struct ring_slot *slot)
{
	struct inflow *f = s->flow;
	struct frame_round end;
	if (slot->size != sizeof(end))
		return -EPROTO;
	memcpy(&end, slot->data, sizeof(end));
	if (end.round != s->round + 1)
		return -EPROTO;
	s->round = end.round;
	pthread_mutex_lock(&f->lock);
	bool last = ++f->ended == f->count;
	if (last)
		f->ended = 0;
	pthread_mutex_unlock(&f->lock);
	if (!last)
		return 0;
	/* The source hears of the round before it hears of anything that waits for it here. */
	f->op.round_done(f->context, end.round);
	pthread_mutex_lock(&f->lock);
	f->done = end.round;
	pthread_mutex_unlock(&f->lock);
	pthread_cond_broadcast(&f->changed);
	return 0;
}

static int install(struct instream *s, const struct ring_slot *slot)
{
	if (slot->note == FRAME_ROUND_END)
		return round_ended(s, slot);
	return s->flow->op.record(s->flow->context, s->index, slot->data, slot->size);
}

static void *installer_main(void *context)
{
	struct instream *s = context;
	struct ring_slot *slot;
	while ((slot = ring_empty_begin(&s->lane.ring))) {
		int rc = install(s, slot);
		if (rc) {
			stream_failed(s, rc, slot->note == FRAME_RECORD);
			ring_close(&s->lane.ring);
			break;
		}
		ring_empty_end(&s->lane.ring);
	}
	return NULL;
}

int inflow_open(struct inflow *f, const int *fds, unsigned count, int wake_fd, struct inflow_ops op, void *context)
{
	int rc = 0;
	memset(f, 0, sizeof(*f));
	f->count = count;
	f->wake_fd = wake_fd;
	f->op = op;
	f->context = context;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	for (unsigned i = 0; i < count; i++) {
		f->stream[i].flow = f;
		f->stream[i].index = i;
		f->stream[i].lane.fd = fds[i];
	}
	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = lane_open(&f->stream[i].lane, RECORD_SIZE_MAX, reader_main, installer_main, &f->stream[i]);
	if (rc)
		inflow_close(f);
	return rc;
}

int inflow_wait(struct inflow *f, uint32_t round, uint64_t until_us)
{
	int rc = 0;
	pthread_mutex_lock(&f->lock);
	while (!f->error && f->done < round && rc == 0) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		pthread_cond_clockwait(&f->changed, &f->lock, CLOCK_MONOTONIC, &until);
		if (now_us() > until_us)
			rc = -ETIMEDOUT;
	}
	if (f->error && f->done < round)
		rc = f->error;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

int inflow_error(struct inflow *f, bool *refused)
{
	pthread_mutex_lock(&f->lock);
	int rc = f->error;
	*refused = f->refused;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

void inflow_priority(struct inflow *f, enum lane_priority priority)
{
	for (unsigned i = 0; i < f->count; i++)
		lane_priority(&f->stream[i].lane, priority);
}

void inflow_close(struct inflow *f)
{
	if (f->count == 0)
		return;
	pthread_mutex_lock(&f->lock);
	f->closing = true;
	pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; i < f->count; i++)
		lane_close(&f->stream[i].lane);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	f->count = 0;
}
