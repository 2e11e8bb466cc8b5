/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files behind host/enclave.h share. Nobody else includes it.
 *
 *   enclave.c  loading, the program's beginning and end
 *   border.c   one entry, with the exceptions on its way
 *   thread.c   a host thread per application slot; what the enclave asks of it
 *   stragglers.c  threads that are to stop and have not: which, and where
 *   service.c  service slots
 *   pages.c    pages given up, pages waited for
 */
#ifndef HOST_ENCLAVE_PRIVATE_H
#define HOST_ENCLAVE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include "host/device.h"
#include "host/enclave.h"
#include "host/loader.h"
#include "host/timepage.h"

struct slot {
	struct host_thread thread; /* for host/ocall*.c */

	/* the slot's own host thread writes, enclave_kick_all() reads */
	atomic_uint outside; /* not inside the enclave: a kick needs a signal */

	/* any thread writes */
	atomic_uint wake_token; /* futex; OCALL_WAKE gives, OCALL_WAIT takes */
	atomic_bool parked;	/* its own thread writes */

	/* under enclave.lock */
	enum { SLOT_UNUSED, SLOT_RUNNING, SLOT_FINISHED } state; /* finished: wants joining */
	pthread_t pthread;
	pid_t tid;	    /* 0: has not come that far */
	atomic_uint *kicks; /* that have reached it; valid while it runs and tid is set */

	/* the slot's own host thread only */
	uint32_t entered_generation;
};

struct enclave {
	/* fixed once loaded */
	struct device device;
	struct loader_map map;
	struct image_config config;
	uint8_t mrenclave[32];
	char *image_path; /* for the names of functions only */
	struct fdtable *fds;
	struct timepage *time;
	struct slot *slot; /* config.slot_count */

	atomic_bool ending;		/* no thread may enter again */
	atomic_bool abandoned;		/* parked threads end */
	atomic_uint unpark_generation;	/* futex of the parked: each wakes on its own, by no lock */

	pthread_mutex_t change_lock; /* of ioctls that change pages */

	/* set while no thread runs inside */
	void (*page_wait)(void *context, uint64_t page);
	void *page_context;

	pthread_mutex_t lock; /* protects the following, and part of struct slot */
	pthread_cond_t changed, service_given;

	bool ended;
	enum enclave_end end;
	int end_status;
	uint64_t cpu_past_ns[2]; /* of threads that have ended: user mode, all */
	uint8_t service_busy[THREAD_SLOTS_SERVICE];
};

static inline uint64_t slot_tcs(unsigned slot)
{
	return THREADS_BASE + (uint64_t)slot * THREAD_STRIDE + THREAD_TCS;
}

/* border.c: enters and goes on through exceptions until the enclave asks for something: EEXIT_OCALL,
 * EEXIT_DONE or EEXIT_FATAL (*status: enum fatal). words: what the enclave is told. */
enum eexit border_enter(struct enclave *e, unsigned slot, const uint64_t words[static 3], uint64_t *status);

/* pages.c */
void page_wait(struct enclave *e, uint64_t page);

/* thread.c: -EINVAL for a slot that is none of the application's. */
int thread_start(struct enclave *e, uint64_t slot);
/* Threads that end, or never entered, or are gone: all joined when it returns. */
void thread_join_all(struct enclave *e);

/* enclave.c: the first end counts. */
void enclave_finish(struct enclave *e, enum enclave_end end, int status);
/* The same for what border_enter() gave that was neither a request nor done. */
void enclave_dead(struct enclave *e, enum eexit exit, uint64_t status);

#endif
