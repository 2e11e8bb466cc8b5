/* SPDX-License-Identifier: Apache-2.0
 *
 * Drives the checking connections and keeps the time: how long a connection
 * waited without hearing anything, in a row of short intervals, so that any
 * stretch of the run can be compared with any other afterwards.
 */
#include "demo/client.h"
#include "demo/load.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_US 10000
#define SILENCE_GIVE_UP_US 30000000
#define RECONNECT_PAUSE_US 20000

enum link_state {
	LINK_DOWN,
	LINK_AUDIT, /* reading back what the server holds, before going on or at the end */
	LINK_WORKING,
	LINK_DONE,
};

struct link {
	enum link_state state;
	int fd; /* -1 when down */
	bool wants_write;
	struct client *client;
	struct resp_buffer in, out;
	uint64_t sent_us;  /* when the oldest outstanding batch went out */
	uint64_t heard_us; /* last reply */
	uint64_t due_us;   /* next batch, or next attempt to connect */
	uint64_t silence_us_max;
};

struct interval {
	uint32_t silence_us_max, replies;
};

struct run {
	const struct load_options *options;
	struct link *links;
	int epoll, signals;
	bool is_ending;
	uint64_t start_us, end_us; /* end_us: ~0 until told */
	uint64_t requests, wrong, errors, reconnects, silence_us_max;
	struct interval *intervals;
	size_t interval_count;
};

static void note_reply(struct run *r, struct link *l, uint64_t now)
{
	uint64_t since = l->heard_us > l->sent_us ? l->heard_us : l->sent_us;
	uint64_t silence = now - since;
	size_t index = (now - r->start_us) / INTERVAL_US;

	l->heard_us = now;
	if (silence > l->silence_us_max)
		l->silence_us_max = silence;
	if (silence > r->silence_us_max)
		r->silence_us_max = silence;
	if (index >= r->interval_count) {
		r->intervals = realloc(r->intervals, (index + 1) * sizeof(*r->intervals));
		if (!r->intervals)
			errx(1, "out of memory");
		memset(r->intervals + r->interval_count, 0,
		       (index + 1 - r->interval_count) * sizeof(*r->intervals));
		r->interval_count = index + 1;
	}
	r->intervals[index].replies++;
	if (silence > r->intervals[index].silence_us_max)
		r->intervals[index].silence_us_max = (uint32_t)silence;
}

static void watch_writes(struct run *r, struct link *l, bool wants_write)
{
	struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = l};

	if (wants_write == l->wants_write)
		return;
	epoll_ctl(r->epoll, EPOLL_CTL_MOD, l->fd, &event);
	l->wants_write = wants_write;
}

static void link_break(struct run *r, struct link *l, const char *what)
{
	fprintf(stderr, "load: %s\n", what);
	r->errors++;
	close(l->fd);
	l->fd = -1;
	l->state = LINK_DOWN;
	l->due_us = load_now_us() + RECONNECT_PAUSE_US;
	resp_clear(&l->in);
	resp_clear(&l->out);
	client_lost(l->client);
}

static void link_flush(struct run *r, struct link *l)
{
	long n = resp_used(&l->out) ? resp_send(&l->out, l->fd) : 0;

	if (n < 0)
		link_break(r, l, strerror((int)-n));
	else
		watch_writes(r, l, resp_used(&l->out) > 0);
}

static void link_audit(struct run *r, struct link *l)
{
	l->state = LINK_AUDIT;
	l->sent_us = load_now_us();
	client_audit(l->client, &l->out);
	link_flush(r, l);
}

/* 0 or -errno. */
static int link_open(struct run *r, struct link *l)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};
	int fd = resp_connect(r->options->host, r->options->port);

	if (fd < 0)
		return fd;
	if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event)) {
		close(fd);
		return -ENOMEM;
	}
	l->fd = fd;
	l->wants_write = false;
	return 0;
}

static void link_batch(struct run *r, struct link *l, uint64_t now)
{
	const struct load_options *o = r->options;
	uint64_t pause = o->rate ? 1000000ull * o->depth * o->connections / o->rate : 0;

	l->sent_us = now;
	l->due_us = l->due_us + pause > now ? l->due_us + pause : now;
	for (unsigned i = 0; i < o->depth; i++)
		client_command(l->client, &l->out);
	r->requests += o->depth;
	link_flush(r, l);
}

/* What is due by the clock. Returns when it wants to be called again. */
static uint64_t link_tick(struct run *r, struct link *l, uint64_t now)
{
	bool is_waiting = l->fd >= 0 && client_outstanding(l->client);

	if (is_waiting && now - (l->heard_us > l->sent_us ? l->heard_us : l->sent_us) > SILENCE_GIVE_UP_US)
		link_break(r, l, "no reply for 30 s");
	if (l->state == LINK_DOWN && now >= l->due_us) {
		if (link_open(r, l)) {
			l->due_us = now + RECONNECT_PAUSE_US;
			if (r->is_ending && now > r->end_us + SILENCE_GIVE_UP_US)
				l->state = LINK_DONE; /* the error that broke it is counted */
		} else {
			r->reconnects++;
			link_audit(r, l);
		}
	}
	if (l->state == LINK_WORKING && !client_outstanding(l->client)) {
		if (r->is_ending)
			link_audit(r, l);
		else if (now >= l->due_us)
			link_batch(r, l, now);
	}
	bool is_timed = l->state == LINK_DOWN || (l->state == LINK_WORKING && !client_outstanding(l->client));
	return is_timed ? l->due_us : now + 1000000;
}

static void link_read(struct run *r, struct link *l)
{
	struct resp_reply reply;
	const char *why;
	long n = resp_receive(&l->in, l->fd);
	uint64_t now = load_now_us();
	int taken;

	if (n < 0) {
		link_break(r, l, strerror((int)-n));
		return;
	}
	while ((taken = resp_next(&l->in, &reply)) > 0) {
		if (l->state == LINK_WORKING) /* an audit asks for everything at once: not what a client does */
			note_reply(r, l, now);
		if (!client_reply(l->client, &reply, &why) && r->wrong++ < 10)
			fprintf(stderr, "load: wrong reply: %s\n", why);
	}
	if (taken < 0)
		link_break(r, l, "the server does not speak RESP");
	else if (l->state == LINK_AUDIT && !client_outstanding(l->client))
		l->state = r->is_ending ? LINK_DONE : LINK_WORKING;
}

static void run_wait(struct run *r, uint64_t until_us)
{
	struct epoll_event events[64];
	uint64_t now = load_now_us();
	uint64_t pause = until_us > now ? until_us - now : 0;
	struct timespec timeout = {(time_t)(pause / 1000000), (long)(pause % 1000000) * 1000};
	int count = epoll_pwait2(r->epoll, events, 64, &timeout, NULL);

	for (int i = 0; i < count; i++) {
		struct link *l = events[i].data.ptr;
		if (!l) {
			/* told once is enough: with the server gone, the end must not move on */
			epoll_ctl(r->epoll, EPOLL_CTL_DEL, r->signals, NULL);
			r->end_us = load_now_us();
			continue;
		}
		if (events[i].events & EPOLLOUT)
			link_flush(r, l);
		if (l->fd >= 0 && events[i].events & ~(uint32_t)EPOLLOUT)
			link_read(r, l);
	}
}

static void run_start(struct run *r)
{
	const struct load_options *o = r->options;
	struct epoll_event event = {.events = EPOLLIN};
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->signals = signalfd(-1, &ends, SFD_CLOEXEC);
	r->links = calloc(o->connections, sizeof(*r->links));
	if (r->epoll < 0 || r->signals < 0 || !r->links || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->signals, &event))
		err(1, "load");
	r->start_us = load_now_us();
	/* keys of their own for every run against one server */
	unsigned first_id = (unsigned)(r->start_us / 1000);
	r->end_us = o->seconds ? r->start_us + o->seconds * 1000000ull : ~0ull;
	for (unsigned i = 0; i < o->connections; i++) {
		struct link *l = &r->links[i];
		int rc = link_open(r, l);
		if (rc)
			errx(1, "load: cannot reach %s port %s: %s", o->host, o->port, strerror(-rc));
		l->client = client_create(first_id + i, o->keys, o->depth);
		l->state = LINK_WORKING;
		/* spread over the first pause, so that something is always under way */
		l->due_us = r->start_us + (o->rate ? 1000000ull * o->depth * i / o->rate : 0);
	}
}

static void print_result(const struct run *r)
{
	const struct load_options *o = r->options;
	uint64_t acknowledged = 0;
	struct timespec real;

	for (unsigned i = 0; i < o->connections; i++)
		acknowledged += client_acknowledged(r->links[i].client);
	clock_gettime(CLOCK_REALTIME, &real);
	uint64_t run_us = load_now_us() - r->start_us;
	uint64_t real_us = (uint64_t)real.tv_sec * 1000000 + (uint64_t)real.tv_nsec / 1000;
	printf("{\"connections\":%u,\"requests\":%llu,\"acknowledged_writes\":%llu,\"wrong\":%llu,\"errors\":%llu,"
	       "\"reconnects\":%llu,\"silence_us_max\":%llu,\"run_us\":%llu,\n\"silence_us_by_connection\":[",
	       o->connections, (unsigned long long)r->requests, (unsigned long long)acknowledged,
	       (unsigned long long)r->wrong, (unsigned long long)r->errors, (unsigned long long)r->reconnects,
	       (unsigned long long)r->silence_us_max, (unsigned long long)run_us);
	for (unsigned i = 0; i < o->connections; i++)
		printf("%s%llu", i ? "," : "", (unsigned long long)r->links[i].silence_us_max);
	printf("],\n\"timeline\":{\"start_us\":%llu,\"interval_us\":%u,\n\"silence_us_max\":[",
	       (unsigned long long)(real_us - run_us), INTERVAL_US);
	for (size_t i = 0; i < r->interval_count; i++)
		printf("%s%u", i ? "," : "", r->intervals[i].silence_us_max);
	printf("],\n\"replies\":[");
	for (size_t i = 0; i < r->interval_count; i++)
		printf("%s%u", i ? "," : "", r->intervals[i].replies);
	printf("]}}\n");
}

static bool is_over(const struct run *r)
{
	for (unsigned i = 0; i < r->options->connections; i++)
		if (r->links[i].state != LINK_DONE)
			return false;
	return true;
}

static void run_end(struct run *r)
{
	for (unsigned i = 0; i < r->options->connections; i++) {
		struct link *l = &r->links[i];
		if (l->fd >= 0)
			close(l->fd);
		client_destroy(l->client);
		free(l->in.data);
		free(l->out.data);
	}
	free(r->links);
	free(r->intervals);
	close(r->signals);
	close(r->epoll);
}

int load_run(const struct load_options *o)
{
	struct run r = {.options = o};

	run_start(&r);
	while (!is_over(&r)) {
		uint64_t now = load_now_us(), next = ~0ull;
		r.is_ending = now >= r.end_us;
		for (unsigned i = 0; i < o->connections; i++) {
			uint64_t due = link_tick(&r, &r.links[i], now);
			next = due < next ? due : next;
		}
		run_wait(&r, next < r.end_us || r.is_ending ? next : r.end_us);
	}
	int status = r.wrong || r.errors ? 1 : 0;
	print_result(&r);
	run_end(&r);
	return status;
}
