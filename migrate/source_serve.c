/* SPDX-License-Identifier: Apache-2.0
 *
 * The program runs there; pages that stayed behind are pushed over the streams,
 * and one that a thread waits for goes at once over the urgent connection. There
 * is no way back, so a lost connection is made again for as long as the
 * destination lives.
 */
#include "migrate/source_private.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "host/log.h"
#include "host/signals.h"
#include "migrate/trusted.h"
#include "migrate/urgent.h"

#define SERVE_GIVE_UP_US (600ull * 1000 * 1000)
#define ANSWER_US (5ull * 1000 * 1000)
#define LAST_WORD_MS 500

/* ---- pages that are asked for ---- */

static int urgent_answer(struct source *s, uint64_t page, uint8_t *record)
{
	struct trusted_call c = {.out = record, .out_size = RECORD_SIZE_MAX, .more = {page}};
	int rc = trusted(s->e, MIGRATE_FETCH, 0, &c);
	if (rc || c.ret[0] == 0)
		return rc;
	atomic_fetch_add(&s->flow.pages, c.ret[1]);
	atomic_fetch_add(&s->flow.zero_pages, c.ret[2]);
	atomic_fetch_add(&s->flow.bytes, c.out_size);
	return wire_send(s->urgent_fd, FRAME_RECORD, record, c.out_size, NULL, 0,
			 (struct wait){WIRE_FOREVER, -1});
}

static void *urgent_main(void *context)
{
	struct source *s = context;
	struct wire w;
	uint8_t *record = malloc(RECORD_SIZE_MAX);
	thread_urgent_begin(); /* a thread of the program stands still for each */
	wire_init(&w, s->urgent_fd);
	while (record && wire_recv(&w, (struct wait){WIRE_FOREVER, -1}) == 0) {
		struct frame_want want;
		if (w.type != FRAME_WANT || w.size != sizeof(want))
			break;
		memcpy(&want, w.data, sizeof(want));
		if (urgent_answer(s, want.page, record))
			break;
	}
	/* The other side sees it end, and the streams with it. */
	shutdown(s->urgent_fd, SHUT_RDWR);
	free(record);
	w.fd = -1; /* urgent_stop()'s */
	wire_close(&w);
	return NULL;
}

void source_urgent_stop(struct source *s)
{
	if (s->urgent_fd < 0)
		return;
	shutdown(s->urgent_fd, SHUT_RDWR);
	if (s->urgent_runs)
		pthread_join(s->urgent, NULL);
	s->urgent_runs = false;
	close(s->urgent_fd);
	s->urgent_fd = -1;
}

/* ---- serving ---- */

int source_serve_begin(struct source *s, struct failure *why)
{
	struct trusted_call c = {0};
	int rc = trusted(s->e, MIGRATE_SERVE, s->epoch, &c);
	if (rc)
		return source_enclave_failed(rc, "to serve its pages", why);
	rc = -pthread_create(&s->urgent, NULL, urgent_main, s);
	if (rc)
		return fail(why, rc, "cannot start a thread: %s", strerror(-rc));
	s->urgent_runs = true;
	/* What is pushed; what is asked for goes at once. */
	atomic_store(&s->flow.bandwidth, s->o->bandwidth);
	outflow_priority(&s->flow, lane_while_following(s->left));
	s->round++;
	outflow_round(&s->flow);
	return 0;
}

static void stop_serving(struct source *s)
{
	outflow_close(&s->flow);
	source_urgent_stop(s);
}

/* 1: over. 0: goes on. */
static int on_frame(struct source *s, struct failure *why)
{
	struct trusted_call c = {.in = s->control.data, .in_size = s->control.size};
	struct frame_end how = {0};
	int rc;
	switch (s->control.type) {
	case FRAME_ARRIVED:
		stop_serving(s); /* the enclave takes this word alone */
		rc = trusted(s->e, MIGRATE_RELEASE, 0, &c);
		return rc ? source_enclave_failed(rc, "the word that all pages have arrived", why) : 1;
	case FRAME_BYE:
		if (s->control.size == sizeof(how))
			memcpy(&how, s->control.data, sizeof(how));
		s->died = how.died;
		return 1; /* the program has ended there */
	default:
		return 0;
	}
}

/* Signals for the program that this process still gets. */
static int pass_signals(struct source *s)
{
	uint64_t signals = signals_take();
	return signals ? wire_send(s->control.fd, FRAME_SIGNALS, &signals, sizeof(signals), NULL, 0,
				   (struct wait){now_us() + ANSWER_US, -1})
		       : 0;
}

/* Until it is over (0) or a connection fails. */
static int serve_once(struct source *s, struct failure *why)
{
	for (;;) {
		struct pollfd polled[2] = {{.fd = s->control.fd, .events = POLLIN},
					   {.fd = s->m->wake_fd, .events = POLLIN}};
		uint64_t count;
		/* Streams end with the program, too, and then there is a word for it. */
		int lost = outflow_error(&s->flow), n = poll(polled, lost ? 1 : 2, lost ? LAST_WORD_MS : 50);
		int rc = n > 0 && polled[0].revents ? 0 : lost;
		source_progress(s, "postcopy");
		/* A stream has failed, or somebody cancels, for which it is too late. */
		if (polled[1].revents && read(s->m->wake_fd, &count, sizeof(count)) < 0)
			rc = rc ? rc : -errno;
		if (rc == 0)
			rc = pass_signals(s);
		if (rc == 0 && n > 0 && polled[0].revents)
			rc = wire_recv(&s->control, (struct wait){now_us() + ANSWER_US, -1});
		else if (rc == 0)
			continue;
		if (rc)
			return fail(why, rc, "%s: %s", s->to.text, strerror(-rc));
		rc = on_frame(s, why);
		if (rc)
			return rc < 0 ? rc : 0;
	}
}

/* 1: all was over before. */
static int connect_again(struct source *s, struct failure *why)
{
	struct frame_serve again = {++s->epoch};
	int rc = source_reattach(s, why);
	if (rc == 0)
		rc = source_connect_streams(s, -1, why);
	if (rc == 0)
		rc = source_tell(s, FRAME_SERVE, &again, sizeof(again), why);
	while (rc == 0) {
		rc = wire_recv(&s->control, source_until(s, ANSWER_US));
		if (rc)
			return source_link_failed(s, rc, why);
		if (s->control.type == FRAME_SERVE)
			return source_serve_begin(s, why);
		if (s->control.type == FRAME_FAILED)
			return source_failed(s, why);
		rc = on_frame(s, why);
	}
	return rc;
}

static int serve_until_over(struct source *s, struct failure *why)
{
	while (serve_once(s, why)) {
		uint64_t lost_us = now_us();
		log_line("%s: %s; not all of %llu pages that stayed behind have arrived, trying again", s->m->name,
			 why->message, (unsigned long long)s->left);
		for (;;) {
			stop_serving(s);
			int rc = connect_again(s, why);
			if (rc > 0)
				return 0;
			if (rc == 0)
				break;
			if (rc == -ENOENT || now_us() - lost_us > SERVE_GIVE_UP_US)
				return fail(why, -EOWNERDEAD,
					    "%s took over the program and %s before %llu pages that stayed behind had all "
					    "arrived: the program is lost",
					    s->to.text,
					    rc == -ENOENT ? "ended" : "was not heard of again",
					    (unsigned long long)s->left);
			nanosleep(&(struct timespec){0, 200 * 1000 * 1000}, NULL);
		}
	}
	return 0;
}

int source_serve(struct source *s, struct failure *why)
{
	int rc = serve_until_over(s, why);
	if (rc == 0 && s->died)
		rc = fail(why, -EOWNERDEAD,
			  "%s took over the program, and its enclave died there before %llu pages that stayed behind had all "
			  "arrived (the log there says of what): the program is lost",
			  s->to.text, (unsigned long long)s->left);
	return rc;
}
