/* SPDX-License-Identifier: Apache-2.0
 *
 *   hello -> load -> handshake -> prepare -> rounds -> READY -> COMMIT -> home (-> fill)
 *   `--------------- discard ------------------------'   |
 *                             waits for COMMIT, also over a new connection;
 *                             given up only by an authentic REFUSED
 */
#include "migrate/destination_private.h"
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "host/device.h"
#include "host/log.h"
#include "host/memory.h"
#include "host/signals.h"
#include "migrate/control.h"
#include "migrate/image_find.h"
#include "migrate/report.h"
#include "migrate/trusted.h"
#include "migrate/urgent.h"

/* ---- load ---- */

/* Is the name free, or is its bearer the program that is about to come? */
static int name_check(struct destination *d, struct failure *why)
{
	struct failure ignored;
	int fd;
	if (!control_name_ok(d->name))
		return fail(why, -EINVAL, "not a name for a program");
	int rc = control_possible(d->name, why);
	if (rc)
		return rc;
	rc = control_connect(d->name, &fd, &ignored);
	if (rc)
		return rc == -ETIMEDOUT ? fail(why, -EEXIST, "another program called %s is here, and does not answer", d->name)
					: 0;
	d->bearer = control_peer(fd);
	static const char question[] = "{\"command\":\"status\"}\n";
	char answer[4096] = "";
	struct wait wait = {now_us() + 2 * 1000 * 1000, -1};
	rc = wire_send_raw(fd, question, sizeof(question) - 1, wait);
	struct pollfd polled = {.fd = fd, .events = POLLIN};
	if (rc == 0 && poll(&polled, 1, 2000) > 0 && recv(fd, answer, sizeof(answer) - 1, 0) < 0)
		answer[0] = '\0';
	close(fd);
	json_t *status = json_loads(answer, JSON_DISABLE_EOF_CHECK, NULL);
	bool itself = json_is_true(json_object_get(status, "migrating"));
	json_decref(status);
	return itself ? 0 : fail(why, -EEXIST, "another program called %s runs here", d->name);
}

/* Of this process and of a move in it, beside the pages, and for each of them: its tables */
#define MOVE_BYTES (16ull << 20)
#define MOVE_PAGE_BYTES 8

/* Without room the kernel would end this process, perhaps when the program has come and some of its pages have not. SGX
 * hardware has memory of its own, which is not looked at. */
static int room_check(const struct destination *d, struct failure *why)
{
	uint64_t room = memory_room(), pages = d->hello->pages, pages_max = UINT64_MAX / (PAGE_SIZE + MOVE_PAGE_BYTES) / 2;
	if (pages > pages_max)
		pages = pages_max;
	uint64_t beside = MOVE_BYTES + pages * MOVE_PAGE_BYTES;
	if (device_is_hardware() || pages * PAGE_SIZE + beside <= room)
		return 0;
	return fail(why, -ENOMEM, "it has %.0f MB, taking it needs %.0f more, and there are %.0f MB of memory left here",
		    (double)pages * PAGE_SIZE / 1e6, (double)beside / 1e6, (double)room / 1e6);
}

static int load(struct destination *d, struct failure *why)
{
	char path[4096];
	int rc;
	if (d->hello->version != WIRE_VERSION)
		return fail(why, -EPROTO, "speaks version %d, not %u", WIRE_VERSION, d->hello->version);
	if (d->hello->streams == 0 || d->hello->streams > MIGRATE_STREAMS_MAX)
		return fail(why, -EPROTO, "%u streams are not 1 to %u", d->hello->streams,
			    MIGRATE_STREAMS_MAX);
	log_line("%s: on its way, %.0f MB", d->name, (double)d->hello->pages * PAGE_SIZE / 1e6);
	rc = name_check(d, why);
	if (rc == 0)
		rc = room_check(d, why);
	if (rc == 0)
		rc = image_find(d->o->image_dir, d->hello->mrenclave, path, sizeof(path), why);
	if (rc == 0)
		rc = enclave_load(path, &d->e, why);
	if (rc == 0 && (rc = arrivals_init(&d->arrivals, d->e, d->wake_fd)))
		fail(why, rc, "out of memory");
	if (rc == 0 && memcmp(enclave_mrenclave(d->e), d->hello->mrenclave, 32) != 0)
		rc = fail(why, -ENOENT, "the image changed while it was loaded");
	if (rc)
		return rc;
	enclave_stats(d->e, &d->before);
	if (d->o->hook)
		rc = hook_start(d->o->hook, "destination", &d->hook, why);
	struct frame_welcome welcome = {calendar_us()};
	if (rc == 0 && (rc = destination_tell(d, FRAME_WELCOME, &welcome, sizeof(welcome), NULL, 0)))
		rc = destination_link_failed(rc, why);
	return rc ? rc : destination_streams_open(d, why);
}

/* ---- home ---- */

void destination_report(struct destination *d)
{
	uint64_t waits = atomic_load(&d->arrivals.waits);
	struct softsgx_stats now;
	char host[64] = "", where[96];
	gethostname(host, sizeof(host) - 1);
	snprintf(where, sizeof(where), "%s:%d", host, getpid());
	json_t *leaves = enclave_stats(d->e, &now) ? json_object() : migrate_leaves_json(&now, &d->before);
	json_t *report =
	    json_pack("{s:s, s:o, s:I, s:I}", "enclave", where, "leaves", leaves, "postcopy_faults",
		      (json_int_t)waits, "postcopy_us", (json_int_t)d->filled_us);
	char *text = json_dumps(report, JSON_COMPACT);
	if (text)
		destination_tell(d, FRAME_REPORT, text, strlen(text), NULL, 0);
	free(text);
	json_decref(report);
}

/* Beside the running program: what is left to say to this host and its neighbours, which takes most of a
 * second. */
static void *neighbours_main(void *context)
{
	struct destination *d = context;
	struct failure why;
	hook_tell(d->hook, HOOK_POST_RESUME, d->name, HOOK_TIMEOUT_MS, &why);
	hook_stop(d->hook);
	carry_destination_finish(d->carry);
	return NULL;
}

/* ... and to the source. */
static void *epilogue_main(void *context)
{
	struct destination *d = context;
	struct failure why;
	if (!d->deferred)
		destination_report(d);
	else
		destination_fill(d);
	for (uint64_t until_us = now_us() + REFUSED_KEPT_US;
	     !d->deferred && destination_await(d, until_us) == 0;) {
		if (d->control.type == FRAME_BYE)
			destination_hear_signals(d);
		if (d->control.type != FRAME_COMMIT)
			break;
		/* It did not hear the answer. */
		if (destination_on_commit(d, &why))
			log_line("%s: %s", d->name, why.message);
	}
	wire_close(&d->control);
	close(d->attach_fd); /* who comes now hears that there is no such session */
	return NULL;
}

/* Under its name, or, if another program took that meanwhile, with the process number. */
static struct control *control_serve(struct destination *d)
{
	struct control *control;
	struct failure why;
	if (control_open(d->name, d->e, d->bearer, &control, &why) == 0)
		return control;
	if (why.code == -EEXIST && control_open_numbered(d->name, d->e, &control, &why) == 0) {
		log_line("%s: another program took this name meanwhile; this one is called %.48s.%d here", d->name, d->name,
			 getpid());
		return control;
	}
	log_line("%s: cannot be controlled: %s", d->name, why.message);
	return NULL;
}

static enum enclave_end live_here(struct destination *d, int *status)
{
	pthread_t epilogue, neighbours;
	if (signals_forward(d->e))
		log_line("%s: signals will not reach the program", d->name);
	struct control *control = control_serve(d);
	atomic_store(d->stage, STAGE_HOME);
	if (!d->deferred) {
		inflow_close(&d->flow);
		arrivals_end(&d->arrivals);
		/* Nobody else is in a call of the session now, so it is not busy. */
		int rc = trusted(d->e, MIGRATE_RETIRE, 0, NULL);
		if (rc)
			log_line("%s: the keys of the move stay until the next one: %s", d->name, strerror(-rc));
	} else {
		inflow_priority(&d->flow, lane_while_following(d->deferred));
	}
	bool epilogue_runs = pthread_create(&epilogue, NULL, epilogue_main, d) == 0;
	if (pthread_create(&neighbours, NULL, neighbours_main, d) == 0)
		pthread_detach(neighbours);
	else
		neighbours_main(d);
	log_line("%s: runs here now", d->name);
	enum enclave_end end = enclave_wait(d->e, status);
	control_close(control);
	if (end == ENCLAVE_EXITED)
		log_line("%s: ended with status %d", d->name, *status);
	if (d->deferred && epilogue_runs) {
		/* The source waits for a word: pages that are still there are of no use to anybody. */
		atomic_store(&d->died, end == ENCLAVE_DIED);
		atomic_store(&d->ended, true);
		destination_wake(d);
		pthread_join(epilogue, NULL);
	} else if (epilogue_runs) {
		pthread_detach(epilogue);
	}
	return end;
}

static void tell_failed(struct destination *d, const struct failure *why)
{
	struct frame_failed said = {.code = why->code};
	snprintf(said.message, sizeof(said.message), "%s", why->message);
	destination_tell(d, FRAME_FAILED, &said, sizeof(said), NULL, 0);
}

static void discard(struct destination *d, const struct failure *why)
{
	struct failure ignored;
	if (d->only_asked)
		log_line("%s: could come; that was all the source asked", d->name);
	else
		log_line("%s: not taken: %s", d->name[0] ? d->name : "a program", why->message);
	if (d->control.fd >= 0 && d->refused_size == 0)
		tell_failed(d, why);
	hook_tell(d->hook, HOOK_FAILED, d->name, HOOK_TIMEOUT_MS, &ignored);
	inflow_close(&d->flow);
	carry_destination_discard(d->carry);
	hook_stop(d->hook);
	wire_close(&d->control);
	if (d->e) {
		arrivals_disconnect(&d->arrivals);
		enclave_destroy(d->e);
	}
}

int destination_run(const struct destination_options *o, const struct frame_hello *hello, int control_fd,
		    int attach_fd, atomic_int *stage, enum enclave_end *end, int *status)
{
	static struct destination d; /* the epilogue may outlive this call */
	struct failure why = {0};
	d.o = o;
	d.hello = hello;
	d.attach_fd = attach_fd;
	d.stage = stage;
	atomic_load(stage); /* a page fault less in the stop */
	memcpy(d.name, hello->name, sizeof(d.name));
	wire_text(d.name, sizeof(d.name));
	pthread_mutex_init(&d.send_lock, NULL);
	wire_init(&d.control, control_fd);
	address_tune(control_fd, SILENCE_MS);
	d.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = d.wake_fd < 0 ? fail(&why, -errno, "%s", strerror(errno)) : load(&d, &why);
	if (rc == 0)
		rc = destination_until_ready(&d, &why);
	if (rc == 0)
		rc = destination_serve_commit(&d, &why);
	thread_urgent_end(d.urgency);
	if (rc == 0)
		*end = live_here(&d, status);
	else
		discard(&d, &why);
	return rc;
}
