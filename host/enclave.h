/* SPDX-License-Identifier: Apache-2.0
 *
 * One loaded enclave in this process: its pages, its host threads, its service
 * calls. Untrusted. Opens /dev/sgx_enclave when it exists, softsgx otherwise;
 * everything above sees no difference. At most one enclave per process.
 * Functions return 0 or -errno; those that can fail for reasons an operator must
 * know fill a struct failure. Thread-safe unless stated.
 */
#ifndef HOST_ENCLAVE_H
#define HOST_ENCLAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/call.h"
#include "abi/image.h"
#include "host/failure.h"

struct enclave;
struct fdtable;

/* Creates, measures, initialises. Nothing runs yet. */
int enclave_load(const char *image_path, struct enclave **out, struct failure *why);
/* Removes it. All its host threads must be gone or parked; parked ones are ended. */
void enclave_destroy(struct enclave *e);

const uint8_t *enclave_mrenclave(const struct enclave *e); /* 32 bytes */
const struct image_config *enclave_config(const struct enclave *e);
bool enclave_is_software(const struct enclave *e);
/* Counts of the software SGX; -ENOTSUP on hardware. */
struct softsgx_stats;
int enclave_stats(const struct enclave *e, struct softsgx_stats *out);
struct fdtable *enclave_fds(struct enclave *e);

/* Starts the program: SERVICE_START, then the main thread's host thread. */
int enclave_start(struct enclave *e, int argc, char **argv, char **envp, uint32_t flags, struct failure *why);
/* Destination: one host thread per slot of the bitmap (bit i = slot i) enters and waits in OCALL_PARK.
 * Returns when all of them are inside and waiting. May be called again for further slots. */
int enclave_standby(struct enclave *e, const uint8_t *slots, unsigned slot_count);
/* Enters a free service slot (waits for one) and makes the call. -EIO if the enclave is dead; 0 says only
 * that the enclave answered: its own answer is call->result. */
int enclave_service(struct enclave *e, struct service_call *call);
/* What the runtime counts. -EIO if the enclave is dead; all zero then. */
int enclave_runtime_stats(struct enclave *e, struct runtime_stats *out);

/* Interrupts every host thread that is blocked in a system call or OCALL_WAIT for the enclave: the call
 * returns -EINTR with .interrupted = 1. A thread about to block does not. No kick is lost. Threads in
 * OCALL_PARK are not touched. */
void enclave_kick_all(struct enclave *e);
void enclave_kick(struct enclave *e, uint64_t slot); /* nothing if there is no such slot */
/* Threads that are to stop, and have not, before everything else on this host; and back. Without CAP_SYS_NICE: nothing.
 * -EPERM is not reported. */
void enclave_hurry(struct enclave *e, bool hurry);
/* What the program's threads have used of processors here, those that have ended included: in user mode, in all. */
void enclave_cpu_ns(struct enclave *e, uint64_t out[2]);
/* The same, for the enclave to read. */
void enclave_cpu_tell(struct enclave *e, uint64_t out[2]);

/* Threads that are to stop and have not, for a message. note() looks who they are and interrupts those that compute; find(),
 * called until it says true or patience ends, looks where they were then. That is what a debugger may see, so it stays
 * unknown unless the enclave is a debug one. Neither takes long. */
struct stragglers {
	unsigned count;
	struct straggler {
		unsigned slot;
		enum { STRAGGLER_COMPUTES, STRAGGLER_CALLS, STRAGGLER_ASKS } what;
		uint64_t number;      /* of the system call, or the request */
		uint64_t instruction; /* 0: not known */
		unsigned kicks;	      /* it had had when it was interrupted */
		bool found;	      /* where it was; or there is nothing to find */
	} one[4];
};
void enclave_stragglers_note(struct enclave *e, struct stragglers *out);
bool enclave_stragglers_find(struct enclave *e, struct stragglers *s);
/* "slot 3 computes in qsort, slot 4 is in system call 232". Reads the image file for names. */
void enclave_stragglers_text(const struct enclave *e, const struct stragglers *s, char *text, size_t size);
/* All three, within some milliseconds. */
void enclave_stragglers(struct enclave *e, char *text, size_t size);
/* Answers every OCALL_PARK that waits now or is on its way out of an entry made before. The answer may come
 * to a thread that should stay: the enclave asks again. */
void enclave_unpark_all(struct enclave *e);
/* Until all threads have parked, as far as this host can see; false: not within that time. */
bool enclave_await_parks(struct enclave *e, uint64_t us);
/* After unpark_all: were some answered that no processor has run since? */
bool enclave_any_parked(struct enclave *e);
/* The moved-away source: host threads in OCALL_PARK, now or later, end without entering again. */
void enclave_abandon(struct enclave *e);

/* Before the enclave agrees to give pages up, and after: EMODT to TRIM and EREMOVE, by the kernel. */
int enclave_trim(struct enclave *e, uint64_t page, uint64_t count);
int enclave_remove(struct enclave *e, uint64_t page, uint64_t count);
/* A thread inside needs a page whose content is elsewhere. wait() is called in that thread, outside the enclave; when
 * it returns the thread goes on, and asks again if the page has not come. NULL: threads ask again soon. */
void enclave_set_pager(struct enclave *e, void (*wait)(void *context, uint64_t page), void *context);

enum enclave_end { ENCLAVE_EXITED, ENCLAVE_SIGNALED, ENCLAVE_DIED, ENCLAVE_MOVED };
/* Blocks until the program ended; status: exit code, signal number, or enum fatal. */
enum enclave_end enclave_wait(struct enclave *e, int *status);
/* What an enum fatal means, for the operator. */
const char *enclave_fatal_text(int fatal);
/* Makes enclave_wait() return ENCLAVE_MOVED; lost: ENCLAVE_DIED, as the program runs nowhere any more. */
void enclave_set_moved(struct enclave *e, bool lost);

/* For host/ocall*.c: the host thread that runs a slot. */
struct host_thread {
	struct enclave *enclave;
	unsigned slot;
	struct call_area *area;
	/* enclave_cpu_ns(), or NULL for a thread of no enclave */
	void (*cpu_ns)(struct enclave *e, uint64_t out[2]);
	/* Set by enclave_kick_all() before it signals; cleared by the call that was cut short. See
	 * host/kick.S: tested in the instruction before `syscall`. */
	volatile uint32_t kicked;
};

#endif
