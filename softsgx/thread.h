/* SPDX-License-Identifier: Apache-2.0
 *
 * A host thread that has entered an enclave. Its record is found from the
 * alternate signal stack it lies beside, because inside an enclave FS and GS are
 * the enclave's: a handler has no thread-local storage until entry.S has put the
 * host's FS base back.
 */
#ifndef SOFTSGX_THREAD_H
#define SOFTSGX_THREAD_H

#include <signal.h>
#include <stddef.h>
#include "softsgx/enclave.h"
#include "softsgx/thread_layout.h"

#define ILLEGAL_SITES 4	  /* the processor's breakpoints */
#define ABORT_PAGES_MAX 8 /* more than one instruction can touch */

struct thread {
	uint32_t inside;  /* in enclave mode */
	uint8_t selector; /* Syscall User Dispatch: blocks system calls inside */
	uint8_t pad[3];
	uint64_t host_fs; /* valid while inside */
	uint64_t host_gs;
	uint64_t enclave_fs; /* as of the last trap; loaded when a handler returns inside */
	uint64_t enclave_gs;

	/* The last TCS entered the long way with everything checked: entered again without a trap while
	 * generation and TCS are the same and its CSSA is zero. */
	struct {
		uint64_t generation;
		uint64_t tcs;
		struct sgx_tcs *view;
		struct sgx_gprsgx *gpr; /* of SSA frame 0 */
		uint64_t entry;
		uint64_t fs, gs;
		uint64_t *counter;
		uint64_t cssa;
	} ready;

	/* valid while inside */
	struct enclave *enclave;
	struct sgx_tcs *tcs;
	uint64_t tcs_address;
	uint64_t host_tf; /* RFLAGS.TF of the host, back at the exit */
	uint64_t told_gs; /* what the kernel takes GS's base for (bases.h) */

	stack_t program_stack; /* the alternate stack the program itself has asked for */
	/* A host access to enclave pages is being stepped over abort pages in their place. */
	uint64_t abort_pages[ABORT_PAGES_MAX];
	uint32_t abort_count;
	uint32_t used;
	uint32_t exits; /* counts; a futex while somebody waits for one */
	int32_t tid;
	uint32_t awaited_exits;	       /* what exits was when ... */
	const struct enclave *awaited; /* ... an interrupt was sent because of it */

	/* Breakpoints on instructions that would run though they are illegal inside. */
	uint64_t sites_generation;
	uint64_t site[ILLEGAL_SITES]; /* address, or 0 */
	int site_fd[ILLEGAL_SITES];
};

#define THREAD_OFFSET(field, at) _Static_assert(offsetof(struct thread, field) == (at), #field)
THREAD_OFFSET(inside, T_INSIDE);
THREAD_OFFSET(selector, T_SELECTOR);
THREAD_OFFSET(host_fs, T_HOST_FS);
THREAD_OFFSET(host_gs, T_HOST_GS);
THREAD_OFFSET(enclave_fs, T_ENCLAVE_FS);
THREAD_OFFSET(enclave_gs, T_ENCLAVE_GS);
THREAD_OFFSET(ready.generation, T_READY_GENERATION);
THREAD_OFFSET(ready.tcs, T_READY_TCS);
THREAD_OFFSET(ready.view, T_READY_VIEW);
THREAD_OFFSET(ready.gpr, T_READY_GPR);
THREAD_OFFSET(ready.entry, T_READY_ENTRY);
THREAD_OFFSET(ready.fs, T_READY_FS);
THREAD_OFFSET(ready.gs, T_READY_GS);
THREAD_OFFSET(ready.counter, T_READY_COUNTER);
THREAD_OFFSET(ready.cssa, T_READY_CSSA);
_Static_assert(offsetof(struct sgx_tcs, cssa) == TCS_CSSA && offsetof(struct sgx_tcs, aep) == TCS_AEP, "TCS");
_Static_assert(offsetof(struct sgx_gprsgx, ursp) == GPR_URSP && offsetof(struct sgx_gprsgx, urbp) == GPR_URBP,
	       "GPRSGX");
_Static_assert(offsetof(struct sgx_enclave_run, reserved) == RUN_RESERVED, "run");

/* This thread's record, or NULL if it has none yet. */
extern __thread struct thread *softsgx_self __attribute__((tls_model("initial-exec")));

int thread_init(void);
/* Gives the calling thread a record. previous is the alternate stack now in force, which becomes the
 * program's; the caller puts thread_stack() in its place. NULL if there are no slots left. */
struct thread *thread_register(const stack_t *previous);
/* Is any thread of this process inside e? */
int thread_is_inside(const struct enclave *e);
/* The thread is outside again. */
void thread_left(struct thread *t);
/* Makes every thread of this process that is inside e take an asynchronous exit, as the kernel's interrupts
 * do, and returns when they have. e is not locked. */
void threads_interrupt(const struct enclave *e);
/* Is this signal that interrupt? It has no other effect. */
int thread_is_interrupt(const siginfo_t *info);
stack_t thread_stack(struct thread *t);
/* Before a thread's first entry through our own call: a record, our stack, our signals open. */
void softsgx_prepare_thread(void);

#endif
