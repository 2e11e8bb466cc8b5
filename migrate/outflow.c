/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/outflow.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "migrate/trusted.h"

#define SLOT_SIZE (sizeof(struct frame_header) + RECORD_SIZE_MAX)

static void stream_failed(struct outstream *s, int error)
{
	struct outflow *f = s->flow;
	uint64_t one = 1;
	pthread_mutex_lock(&f->lock);
	bool first = f->error == 0 && !f->closing;
	if (first)
		f->error = error;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	if (first && write(f->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is awake */
}

/* Waits for a round after the last; 0 when the flow closes. */
static unsigned next_round(struct outflow *f, unsigned last)
{
	pthread_mutex_lock(&f->lock);
	while (f->round == last && !f->closing)
		pthread_cond_wait(&f->changed, &f->lock);
	unsigned round = f->closing ? 0 : f->round;
	pthread_mutex_unlock(&f->lock);
	return round;
}

static void frame_put(struct ring_slot *slot, enum frame_type type, size_t size)
{
	struct frame_header header = frame_header_of(type, size);
	memcpy(slot->data, &header, sizeof(header));
	slot->size = sizeof(header) + size;
}

/* The next record, RECORD_SIZE_MAX bytes at most, or none. */
static int produce(struct outstream *s, uint8_t *record, size_t *size, bool *over)
{
	struct trusted_call c = {.out = record, .out_size = RECORD_SIZE_MAX};
	int rc = trusted(s->flow->enclave, MIGRATE_SEND, s->index, &c);
	if (rc)
		return rc;
	*size = c.ret[0] ? c.out_size : 0;
	*over = c.ret[3] || *size == 0;
	atomic_fetch_add(&s->flow->pages, c.ret[1]);
	atomic_fetch_add(&s->flow->zero_pages, c.ret[2]);
	return 0;
}

static int produce_frame(struct outstream *s, bool *over)
{
	struct ring_slot *slot = ring_fill_begin(&s->lane.ring);
	size_t size;
	if (!slot)
		return -ECANCELED;
	int rc = produce(s, slot->data + sizeof(struct frame_header), &size, over);
	if (rc || size == 0)
		return rc;
	frame_put(slot, FRAME_RECORD, size);
	ring_fill_end(&s->lane.ring);
	return 0;
}

static int produce_round(struct outstream *s, unsigned round)
{
	struct frame_round end = {round};
	int rc = 0;
	for (bool over = false; rc == 0 && !over;)
		rc = produce_frame(s, &over);
	if (rc)
		return rc;
	struct ring_slot *slot = ring_fill_begin(&s->lane.ring);
	if (!slot)
		return -ECANCELED;
	memcpy(slot->data + sizeof(struct frame_header), &end, sizeof(end));
	frame_put(slot, FRAME_ROUND_END, sizeof(end));
	ring_fill_end(&s->lane.ring);
	pthread_mutex_lock(&s->flow->lock);
	/* The destination may have had the end of this round, and the next one begun, before this thread came here. */
	if (s->flow->round == round)
		s->flow->produced++;
	pthread_mutex_unlock(&s->flow->lock);
	pthread_cond_broadcast(&s->flow->changed);
	return 0;
}

static void *producer_main(void *context)
{
	struct outstream *s = context;
	for (unsigned round = 0; (round = next_round(s->flow, round)) != 0;) {
		int rc = produce_round(s, round);
		if (rc) {
			stream_failed(s, rc);
			break;
		}
	}
	return NULL;
}

static struct timespec moment(uint64_t us)
{
	return (struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
}

/* Waits as long as these bytes may take, unless all ends before. */
static void pace(struct outflow *f, size_t size)
{
	uint64_t rate = atomic_load(&f->bandwidth);
	if (rate == 0)
		return;
	uint64_t ns = (uint64_t)size * f->count * 1000000000ull / rate;
	uint64_t begun = now_us(), until = begun + ns / 1000;
	struct timespec t = moment(until);
	pthread_mutex_lock(&f->lock);
	while (!f->closing && now_us() < until)
		pthread_cond_clockwait(&f->changed, &f->lock, CLOCK_MONOTONIC, &t);
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->paced_us, (now_us() - begun) / f->count);
}

static void *writer_main(void *context)
{
	struct outstream *s = context;
	struct ring_slot *slot;
	/* No deadline here: whoever finds that it takes too long shuts the connection down. */
	while ((slot = ring_empty_begin(&s->lane.ring))) {
		int rc = wire_send_raw(s->lane.fd, slot->data, slot->size, (struct wait){WIRE_FOREVER, -1});
		if (rc) {
			stream_failed(s, rc);
			ring_close(&s->lane.ring);
			break;
		}
		size_t size = slot->size;
		atomic_fetch_add(&s->flow->bytes, size);
		ring_empty_end(&s->lane.ring);
		pace(s->flow, size);
	}
	return NULL;
}

int outflow_open(struct outflow *f, struct enclave *e, const int *fds, unsigned count, int wake_fd)
{
	int rc = 0;
	memset(f, 0, sizeof(*f));
	f->enclave = e;
	f->count = count;
	f->wake_fd = wake_fd;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	for (unsigned i = 0; i < count; i++) {
		f->stream[i].flow = f;
		f->stream[i].index = i;
		f->stream[i].lane.fd = fds[i];
	}
	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = lane_open(&f->stream[i].lane, SLOT_SIZE, producer_main, writer_main, &f->stream[i]);
	if (rc)
		outflow_close(f);
	return rc;
}

void outflow_round(struct outflow *f)
{
	pthread_mutex_lock(&f->lock);
	f->round++;
	f->produced = 0;
	pthread_mutex_unlock(&f->lock);
	pthread_cond_broadcast(&f->changed);
}

int outflow_produced(struct outflow *f, unsigned stall_ms, atomic_bool *cancelled)
{
	uint64_t bytes = atomic_load(&f->bytes), moved_us = now_us();
	int rc = 0;
	pthread_mutex_lock(&f->lock);
	while (!f->error && f->produced < f->count && rc == 0) {
		struct timespec until = moment(now_us() + 20 * 1000);
		pthread_cond_clockwait(&f->changed, &f->lock, CLOCK_MONOTONIC, &until);
		if (atomic_load(&f->bytes) != bytes) {
			bytes = atomic_load(&f->bytes);
			moved_us = now_us();
		}
		if (atomic_load(cancelled))
			rc = -ECANCELED;
		else if (now_us() - moved_us > stall_ms * 1000ull)
			rc = -ETIMEDOUT;
	}
	if (f->error)
		rc = f->error;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

static int stream_here(struct outstream *s, uint8_t *room, struct parcel *parcel, uint64_t stall_us, struct wait most)
{
	struct frame_last stream = {s->index};
	size_t size;
	int rc = 0;
	for (bool over = false; rc == 0 && !over;) {
		rc = produce(s, room, &size, &over);
		if (rc || size == 0)
			break;
		uint64_t stalled_us = now_us() + stall_us;
		struct wait wait = {stalled_us < most.until_us ? stalled_us : most.until_us, most.wake_fd};
		rc = parcel_put(parcel, FRAME_LAST, &stream, sizeof(stream), room, size, wait);
		atomic_fetch_add(&s->flow->bytes, sizeof(struct frame_header) + sizeof(stream) + size);
	}
	return rc;
}

int outflow_here(struct outflow *f, uint8_t *room, struct parcel *parcel, uint64_t stall_us, struct wait most)
{
	int rc = outflow_error(f);
	for (unsigned i = 0; i < f->count && rc == 0; i++)
		rc = stream_here(&f->stream[i], room, parcel, stall_us, most);
	return rc;
}

uint64_t outflow_unsent(struct outflow *f)
{
	uint64_t bytes = 0;
	for (unsigned i = 0; i < f->count; i++)
		bytes += wire_unsent(f->stream[i].lane.fd);
	return bytes;
}

int outflow_error(struct outflow *f)
{
	if (f->count == 0)
		return f->error; /* closed: nobody else looks at it */
	pthread_mutex_lock(&f->lock);
	int rc = f->error;
	pthread_mutex_unlock(&f->lock);
	return rc;
}

void outflow_priority(struct outflow *f, enum lane_priority priority)
{
	for (unsigned i = 0; i < f->count; i++)
		lane_priority(&f->stream[i].lane, priority);
}

void outflow_close(struct outflow *f)
{
	if (f->count == 0)
		return;
	pthread_mutex_lock(&f->lock);
	f->closing = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; i < f->count; i++)
		lane_close(&f->stream[i].lane);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	f->count = 0;
}
