/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "host/enclave_private.h"

static int slot_take(struct enclave *e, unsigned *out)
{
	int rc = -EIO;

	pthread_mutex_lock(&e->lock);
	while (!atomic_load(&e->ending)) {
		for (unsigned i = 0; rc && i < THREAD_SLOTS_SERVICE; i++) {
			if (!e->service_busy[i]) {
				e->service_busy[i] = 1;
				*out = i;
				rc = 0;
			}
		}
		if (!rc)
			break;
		pthread_cond_wait(&e->service_given, &e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return rc;
}

static void slot_give(struct enclave *e, unsigned slot)
{
	pthread_mutex_lock(&e->lock);
	e->service_busy[slot] = 0;
	pthread_cond_signal(&e->service_given);
	pthread_mutex_unlock(&e->lock);
}

int enclave_service(struct enclave *e, struct service_call *call)
{
	uint64_t words[3] = {ECALL_SERVICE, (uintptr_t)call, sizeof(*call)};
	uint64_t status;
	enum eexit exit;
	unsigned slot;
	int rc;

	rc = slot_take(e, &slot);
	if (rc)
		return rc;
	exit = border_enter(e, slot, words, &status);
	slot_give(e, slot);
	if (exit == EEXIT_DONE)
		return 0;
	enclave_dead(e, exit, status);
	return -EIO;
}

int enclave_runtime_stats(struct enclave *e, struct runtime_stats *out)
{
	struct service_call call = {.op = SERVICE_STATS, .out = (uintptr_t)out, .out_size = sizeof(*out)};
	*out = (struct runtime_stats){0};
	int rc = enclave_service(e, &call);
	return rc ? rc : (int)call.result;
}
