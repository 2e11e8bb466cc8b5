/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/source_private.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "migrate/trusted.h"

#define PREFLIGHT_TRIES 8
#define ROOM_FEW (128u << 10) /* any buffer will do */

/* ---- handshake: messages are the enclaves', this host only carries them ---- */

int source_handshake(struct source *s, struct failure *why)
{
	uint8_t evidence[sizeof(struct evidence) + EVIDENCE_BODY_MAX];
	struct handshake_hello hello;
	size_t size;
	struct trusted_call c = {.out = &hello, .out_size = sizeof(hello)};
	int rc = trusted(s->e, MIGRATE_OFFER, s->o->streams, &c);
	if (rc)
		return source_enclave_failed(
		    rc,
		    rc == -EPERM ? "to move while the pages of its last move are still coming" : "to begin",
		    why);
	s->offered = true;
	rc = source_tell(s, FRAME_HANDSHAKE, &hello, sizeof(hello), why);
	if (rc == 0)
		rc = source_expect(s, FRAME_HANDSHAKE, PREPARE_TIMEOUT_US, why);
	if (rc)
		return rc;
	c = (struct trusted_call){.in = s->control.data, .in_size = s->control.size};
	rc = trusted(s->e, MIGRATE_ANSWERED, 0, &c);
	if (rc)
		return source_enclave_failed(rc, "the destination's key", why);
	rc = trusted_evidence(s->e, evidence, sizeof(evidence), &size, why);
	if (rc == 0)
		rc = source_tell(s, FRAME_EVIDENCE, evidence, size, why);
	if (rc == 0)
		rc = source_expect(s, FRAME_EVIDENCE, PREPARE_TIMEOUT_US, why);
	if (rc)
		return rc;
	c = (struct trusted_call){.in = s->control.data, .in_size = s->control.size};
	rc = trusted(s->e, MIGRATE_PEER, 0, &c);
	return rc ? trusted_peer_refused(rc, "the destination", why) : 0;
}

/* ---- prepare ---- */

int source_tell_slots(struct source *s, struct failure *why)
{
	uint8_t slots[THREAD_SLOTS_MAX / 8];
	struct trusted_call c = {.out = slots, .out_size = sizeof(slots)};
	int rc = trusted(s->e, MIGRATE_SLOTS, 0, &c);
	if (rc)
		return source_enclave_failed(rc, "to name its threads", why);
	if (memcmp(slots, s->slots, sizeof(slots)) == 0)
		return 0;
	memcpy(s->slots, slots, sizeof(slots));
	return source_tell(s, FRAME_SLOTS, slots, sizeof(slots), why);
}

static void tell_item(void *context, const struct carry_item *item)
{
	json_t *list = context, *fds = json_array();
	for (unsigned i = 0; i < item->fd_count; i++)
		json_array_append_new(fds, json_integer(item->fd[i]));
	json_array_append_new(list, json_pack("{s:o, s:s, s:s, s:s?}", "descriptors", fds, "what", item->what,
					      "how", item->how, "obstacle", item->obstacle));
}

/* What this host alone can tell: can everything the program has open go along? */
int source_leave_check(struct source *s, struct bytes *manifest, struct failure *why)
{
	struct carry_options options = {.tcp_established = s->o->tcp_established,
					.file_locks = s->o->file_locks,
					.files_ignore = s->o->files_ignore};
	if (s->o->only_check) {
		s->r->carried = json_array();
		options.tell = tell_item;
		options.context = s->r->carried;
	}
	socklen_t local_size = sizeof(options.stream_local), peer_size = sizeof(options.stream_peer);
	if (s->control.fd >= 0) {
		getsockname(s->control.fd, (struct sockaddr *)&options.stream_local, &local_size);
		getpeername(s->control.fd, (struct sockaddr *)&options.stream_peer, &peer_size);
	}
	/* The program runs and opens, closes and removes files: what stands in the way now may be gone in a
	 * moment. */
	for (unsigned tries = 1;; tries++) {
		int rc = carry_source_open(enclave_fds(s->e), &options, &s->carry, why);
		if (rc)
			return rc;
		size_t before = manifest->size;
		rc = carry_source_preflight(s->carry, manifest, NULL, why);
		if (rc == 0 || tries == PREFLIGHT_TRIES)
			return rc;
		carry_source_close(s->carry);
		s->carry = NULL;
		json_array_clear(s->r->carried);
		manifest->size = before;
		nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
	}
}

static int prepare_carry(struct source *s, struct failure *why)
{
	struct bytes manifest = {0};
	int rc = source_leave_check(s, &manifest, why);
	if (rc == 0)
		rc = source_tell(s, FRAME_MANIFEST, manifest.data, manifest.size, why);
	if (rc == 0)
		rc = source_expect(s, FRAME_ANSWER, PREPARE_TIMEOUT_US, why);
	if (rc == 0)
		rc = carry_source_prepare(s->carry, s->control.data, s->control.size, why);
	bytes_free(&manifest);
	return rc;
}

int source_tell_room(struct source *s, struct failure *why)
{
	struct frame_room room = {carry_source_expected(s->carry)};
	if (room.size <= s->room || room.size <= ROOM_FEW)
		return 0;
	s->room = room.size;
	return source_tell(s, FRAME_ROOM, &room, sizeof(room), why);
}

/* The destination makes room for every page there is now. */
static int prepare_pages(struct source *s, struct failure *why)
{
	struct round_choice choice;
	int rc = source_round_begin(s, ROUND_PREPARE, UINT64_MAX, GROW_NOT, &choice, why);
	return rc ? rc : source_round_send(s, &choice, choice.pages, why);
}

int source_prepare(struct source *s, struct failure *why)
{
	int rc = 0;
	if (s->o->hook[0])
		rc = hook_start(s->o->hook, "source", &s->hook, why);
	if (rc == 0)
		rc = prepare_carry(s, why);
	if (rc == 0 && s->o->only_check)
		return source_forecast(s, why);
	if (rc == 0)
		rc = source_tell_room(s, why);
	if (rc == 0)
		rc = source_tell_slots(s, why);
	/* Where pages may stay behind, one exists once its content has come. */
	if (rc == 0 && !migrate_mode_defers(s->o->mode))
		rc = prepare_pages(s, why);
	s->r->setup_us = now_us() - s->begun_us;
	s->r->round_trip_us = wire_round_trip_us(s->control.fd);
	return rc;
}
