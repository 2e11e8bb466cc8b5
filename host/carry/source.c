/* SPDX-License-Identifier: Apache-2.0 */
#include "host/carry/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/carry/local.h"
#include "host/carry/wire.h"
#include "host/net/conntrack.h"
#include "host/net/tcp_diag.h"

/* What is half done when new connections are turned away ends within a round trip of its peer; one that takes
 * longer than most is not waited for. */
#define CALM_STEP_US 1000
#define CALM_MAX_US 30000

int carry_source_open(struct fdtable *fds, const struct carry_options *options, struct carry_source **out,
		      struct failure *why)
{
	struct carry_source *s = calloc(1, sizeof(*s));
	if (!s)
		return fail(why, -ENOMEM, "out of memory");
	s->fds = fds;
	s->options = *options;
	s->local = local_stream(&options->stream_local, &options->stream_peer);
	network_init(&s->network);
	meeting_init(&s->meeting);
	*out = s;
	return 0;
}

int carry_source_prepare(struct carry_source *s, const void *answer, size_t size, struct failure *why)
{
	struct reader in = reader_of(answer, size);
	if (reader_u32(&in) != CARRY_ANSWER)
		return fail(why, -EBADMSG, "the destination's answer is damaged");
	meeting_join(&s->meeting);
	int r = s->meeting.fd < 0 ? files_check_alone(&s->need, why) : 0;
	if (r)
		return r;
	r = network_source_prepare(&s->network, &in, why);
	s->prepared = r == 0;
	return r;
}

static bool is_service(const void *network, const struct in6_addr *address)
{
	return network_has(network, address);
}

int carry_source_calm(struct carry_source *s, struct failure *why)
{
	if (s->network.service_count == 0)
		return 0;
	int r = ahead_read(s, why);
	if (r)
		return r;
	r = network_steer(&s->network, STEER_REDIRECT | STEER_NEW_ONLY);
	if (r)
		return fail(why, r, "packets cannot be redirected: %s", strerror(-r));
	int diag = tcp_diag_open();
	struct timespec step = {.tv_nsec = CALM_STEP_US * 1000};
	for (unsigned us = 0; us < CALM_MAX_US; us += CALM_STEP_US) {
		nanosleep(&step, NULL);
		if (diag < 0 || tcp_diag_unsettled(diag, is_service, &s->network) <= 0)
			break;
	}
	if (diag >= 0)
		close(diag);
	return 0;
}

/* ---- the end, either way ---- */

static void release_frozen(struct carry_source *s)
{
	inventory_free(&s->inventory);
	free(s->file);
	free(s->frozen);
	free(s->hand_over.fd);
	bytes_free(&s->fixed);
	bytes_free(&s->room);
	free(s->ahead);
	s->ahead = NULL;
	s->ahead_count = 0;
	s->file = NULL;
	s->frozen = NULL;
	s->hand_over.fd = NULL;
	s->hand_over.count = 0;
	s->frozen_count = s->frozen_capacity = 0;
}

int carry_source_undo(struct carry_source *s, struct failure *why)
{
	int r = 0;
	if (s->ended)
		return 0;
	/* First, so that the answers to what the thawed connections ask come here. */
	if (s->prepared)
		network_steer(&s->network, 0);
	for (unsigned i = 0; i < s->frozen_count; i++) {
		struct frozen *f = &s->frozen[i];
		if (f->peeks)
			sockets_peek_from(f->host_fd, f->peek_from, NULL);
		if (!f->in_repair)
			continue;
		int e = tcp_thaw(f->host_fd, &f->mark);
		setsockopt(f->host_fd, SOL_SOCKET, SO_REUSEADDR, &f->reuse_address, sizeof(f->reuse_address));
		if (e)
			r = fail(why, e, "a connection could not be thawed: %s", strerror(-e));
	}
	interests_ring(s);
	release_frozen(s);
	s->ended = true;
	return r;
}

static struct conntrack_pair *note_frozen(const struct carry_source *s, unsigned *count)
{
	struct conntrack_pair *pairs = s->frozen_count && conntrack_is_used() ? calloc(s->frozen_count, sizeof(*pairs)) : NULL;
	*count = 0;
	for (unsigned i = 0; pairs && i < s->frozen_count; i++)
		*count += s->frozen[i].in_repair && conntrack_note(s->frozen[i].host_fd, &pairs[*count]);
	return pairs;
}

void carry_source_forget(struct carry_source *s)
{
	if (s->ended)
		return;
	unsigned left;
	struct conntrack_pair *pairs = note_frozen(s, &left);
	/* Connections are in repair: closed silently. */
	release_frozen(s);
	fdtable_reset(s->fds, false);
	conntrack_forget(pairs, left);
	free(pairs);
	network_source_finish(&s->network);
	network_close(&s->network);
	s->ended = true;
}

void carry_source_close(struct carry_source *s)
{
	if (!s)
		return;
	carry_source_undo(s, NULL);
	network_close(&s->network);
	meeting_close(&s->meeting);
	bytes_free(&s->need.paths);
	bytes_free(&s->need.locks);
	free(s);
}
