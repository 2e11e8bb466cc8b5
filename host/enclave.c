/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "host/cpu.h"
#include "host/enclave_private.h"
#include "host/fdtable.h"
#include "host/log.h"
#include "host/ocall.h"
#include "softsgx/softsgx.h"

static int image_load(struct enclave *e, struct image *image, const char *path, struct failure *why)
{
	struct failure inner;
	int rc;

	rc = image_open(path, image, why);
	if (rc)
		return rc;
	rc = image_derive_signed(image, &inner);
	if (rc)
		return fail(why, rc, "%s: %.300s", path, inner.message);
	e->config = image->config;
	rc = cpu_check(e->config.xfrm, &inner);
	if (rc)
		return fail(why, rc, "%s: %.300s", path, inner.message);
	memcpy(e->mrenclave, image->note.sigstruct.enclavehash, sizeof(e->mrenclave));
	e->image_path = realpath(path, NULL);
	return 0;
}

static int device_load(struct enclave *e, const struct image *image, const char *path, struct failure *why)
{
	struct failure inner;
	int rc = device_open(&e->device, why);

	if (rc)
		return rc;
	if (e->device.software)
		log_line("no SGX on this machine: software SGX, which keeps nothing secret from this host");
	rc = kick_signal_install(e->device.op.sigaction);
	if (rc)
		return fail(why, rc, "cannot install a signal handler: %s", strerror(-rc));
	rc = loader_build(&e->device, image, &e->map, &inner);
	return rc ? fail(why, rc, "%s: %.300s", path, inner.message) : 0;
}

static int parts_make(struct enclave *e, struct failure *why)
{
	int rc = timepage_create(&e->time);

	if (!rc)
		rc = fdtable_create(&e->fds);
	if (rc)
		return fail(why, rc, "cannot prepare the host's side: %s", strerror(-rc));
	e->slot = calloc(e->config.slot_count, sizeof(*e->slot));
	if (!e->slot)
		return fail(why, -ENOMEM, "out of memory");
	return 0;
}

/* Before anything runs, here or after a move to here. */
static int clock_give(struct enclave *e, struct failure *why)
{
	struct service_call call = {.op = SERVICE_CLOCK, .arg = {(uintptr_t)timepage_page(e->time)}};
	int rc = timepage_start(e->time);

	if (!rc)
		rc = enclave_service(e, &call);
	if (!rc)
		rc = call.result;
	return rc ? fail(why, rc, "the enclave does not answer: %s", strerror(-rc)) : 0;
}

int enclave_load(const char *image_path, struct enclave **out, struct failure *why)
{
	struct enclave *e = calloc(1, sizeof(*e));
	struct image image = {0};
	int rc;

	if (!e)
		return fail(why, -ENOMEM, "out of memory");
	e->device.fd = -1;
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->change_lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	pthread_cond_init(&e->service_given, NULL);
	rc = image_load(e, &image, image_path, why);
	if (!rc)
		rc = parts_make(e, why);
	if (!rc)
		rc = device_load(e, &image, image_path, why);
	if (!rc)
		rc = clock_give(e, why);
	image_close(&image);
	if (rc)
		enclave_destroy(e);
	else
		*out = e;
	return rc;
}

void enclave_destroy(struct enclave *e)
{
	atomic_store(&e->ending, true);
	pthread_mutex_lock(&e->lock);
	pthread_cond_broadcast(&e->changed);
	pthread_cond_broadcast(&e->service_given);
	pthread_mutex_unlock(&e->lock);
	enclave_unpark_all(e);
	if (e->slot)
		enclave_kick_all(e);
	/* Threads that compute inside fault out of it now, and see that it is ending. */
	loader_unmap(&e->device, &e->map);
	if (e->slot)
		thread_join_all(e);
	device_close(&e->device);
	fdtable_destroy(e->fds);
	timepage_destroy(e->time);
	pthread_cond_destroy(&e->service_given);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->change_lock);
	pthread_mutex_destroy(&e->lock);
	free(e->slot);
	free(e->image_path);
	free(e);
}

const uint8_t *enclave_mrenclave(const struct enclave *e)
{
	return e->mrenclave;
}

const struct image_config *enclave_config(const struct enclave *e)
{
	return &e->config;
}

bool enclave_is_software(const struct enclave *e)
{
	return e->device.software;
}

int enclave_stats(const struct enclave *e, struct softsgx_stats *out)
{
	return e->device.software ? softsgx_stats(e->device.fd, out) : -ENOTSUP;
}

struct fdtable *enclave_fds(struct enclave *e)
{
	return e->fds;
}

static size_t strings_size(char **strings, int count)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += strlen(strings[i]) + 1;
	return size;
}

static char *strings_put(char *out, char **strings, int count)
{
	for (int i = 0; i < count; i++)
		out = stpcpy(out, strings[i]) + 1;
	return out;
}

static struct start_info *start_info_make(struct enclave *e, int argc, char **argv, char **envp,
					  uint32_t flags, size_t *size)
{
	struct start_info *info;
	size_t strings;
	int envc = 0;

	while (envp[envc])
		envc++;
	strings = strings_size(argv, argc) + strings_size(envp, envc);
	*size = sizeof(*info) + strings;
	info = malloc(*size);
	if (!info)
		return NULL;
	*info = (struct start_info){
	    .argc = argc,
	    .envc = envc,
	    .flags = flags,
	    .uid = getuid(),
	    .gid = getgid(),
	    .pid = getpid(),
	    .strings_size = strings,
	};
	strings_put(strings_put(info->strings, argv, argc), envp, envc);
	return info;
}

int enclave_start(struct enclave *e, int argc, char **argv, char **envp, uint32_t flags, struct failure *why)
{
	struct service_call call = {.op = SERVICE_START};
	struct start_info *info;
	int rc;

	info = start_info_make(e, argc, argv, envp, flags, &call.in_size);
	if (!info)
		return fail(why, -ENOMEM, "out of memory");
	call.in = (uintptr_t)info;
	rc = enclave_service(e, &call);
	free(info);
	if (!rc)
		rc = call.result;
	if (rc == -E2BIG)
		return fail(why, rc, "arguments and environment are too large for the enclave");
	if (rc)
		return fail(why, rc, "the enclave does not start: %s", strerror(-rc));
	rc = thread_start(e, THREAD_SLOTS_SERVICE);
	if (rc)
		return fail(why, rc, "cannot start a thread: %s", strerror(-rc));
	return 0;
}

void enclave_finish(struct enclave *e, enum enclave_end end, int status)
{
	pthread_mutex_lock(&e->lock);
	if (!e->ended) {
		e->ended = true;
		e->end = end;
		e->end_status = status;
		pthread_cond_broadcast(&e->changed);
	}
	pthread_mutex_unlock(&e->lock);
}

void enclave_dead(struct enclave *e, enum eexit exit, uint64_t status)
{
	unsigned signum = status >> FATAL_SIGNAL_SHIFT & 0x7f;

	if (exit != EEXIT_FATAL)
		enclave_finish(e, ENCLAVE_DIED, FATAL_INTERNAL);
	else if (signum)
		enclave_finish(e, ENCLAVE_SIGNALED, signum);
	else if (status != FATAL_MOVED)
		enclave_finish(e, ENCLAVE_DIED, (int)status);
}

enum enclave_end enclave_wait(struct enclave *e, int *status)
{
	enum enclave_end end;

	pthread_mutex_lock(&e->lock);
	while (!e->ended)
		pthread_cond_wait(&e->changed, &e->lock);
	end = e->end;
	*status = e->end_status;
	pthread_mutex_unlock(&e->lock);
	return end;
}

void enclave_set_moved(struct enclave *e, bool lost)
{
	enclave_finish(e, lost ? ENCLAVE_DIED : ENCLAVE_MOVED, lost ? FATAL_MOVED : 0);
}

const char *enclave_fatal_text(int fatal)
{
	static const char *const text[] = {
	    [FATAL_NONE] = "no reason given",
	    [FATAL_BAD_ENTRY] = "this host broke the entry protocol",
	    [FATAL_PAGE_ATTACK] = "a page that must be there was taken away or changed",
	    [FATAL_SEGV] = "the program touched memory it has not mapped",
	    [FATAL_EXCEPTION] = "the program raised an exception it does not handle",
	    [FATAL_INTERNAL] = "internal error",
	    [FATAL_MOVED] = "it was moved away",
	};

	if (fatal < 0 || fatal >= (int)(sizeof(text) / sizeof(text[0])))
		return "unknown reason";
	return text[fatal];
}
