/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals of the application. Nothing asynchronous: one is taken at a safepoint
 * or when a system call returns, and its handler runs on the application's stack
 * as an ordinary call.
 */
#ifndef ENCLAVE_SIGNAL_H
#define ENCLAVE_SIGNAL_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave/wire.h"

struct thread;

bool signal_deliverable(struct thread *t);
/* The stop word asks for safepoints while some running thread could take a signal. */
void signal_word_update(void);
/* Context is DONE, AGAIN or SAFEPOINT. Runs the handler, whose return goes on with that context. */
_Noreturn void signal_deliver(struct thread *t);

int64_t signal_action(struct thread *t, int signum, uint64_t app_new, uint64_t app_old);
int64_t signal_procmask(struct thread *t, int how, uint64_t app_set, uint64_t app_old);
int64_t signal_pending_call(struct thread *t, uint64_t app_set);
int64_t signal_suspend(struct thread *t, uint64_t app_set);
int64_t signal_pause(struct thread *t);
int64_t signal_timedwait(struct thread *t, uint64_t app_set, uint64_t app_info, uint64_t app_timeout);
/* A call's own signal mask, until signal_mask_back() or the handler that interrupts it returns. */
int64_t signal_mask_for(struct thread *t, uint64_t app_set);
void signal_mask_back(struct thread *t);
int64_t signal_altstack(struct thread *t, uint64_t app_new, uint64_t app_old);
int64_t signal_send(struct thread *t, int signum);
int64_t signal_thread(struct thread *t, uint32_t tid, int signum);
/* Slot to kick, -1 if none needs it, -ESRCH. signum 0 only looks for the thread. */
int64_t signal_raise(uint32_t tid, int signum);
int64_t signal_return(struct thread *t, uint64_t frame);
/* To the process: slot to kick, -1 if none needs it. */
int64_t signal_process(int signum, bool from_host);
/* Takes one of set that is pending, without a handler, and tells of it as sigwaitinfo() does: its number, or 0. */
int signal_take(struct thread *t, uint64_t set, uint8_t info[128]);
/* For any thread, blocked or not. */
uint64_t signal_pending_anywhere(void);
/* What a call brings upon its own thread. */
void signal_self(struct thread *t, int signum);

/* An exception of the application's own instruction, from the fault handler; g and xsave are its SSA frame. 0: the
 * thread goes on in its handler. -EAGAIN: not yet, try the instruction again, if *wanted is not 0 when that page has come. -EFAULT: it has no handler, or no room
 * for its frame: the signal is deadly. */
struct sgx_gprsgx;
struct fault {
	int signum, code;
	uint64_t addr;
	uint64_t vector, error; /* the processor's */
};
int signal_fault(struct thread *t, struct sgx_gprsgx *g, uint8_t *xsave, const struct fault *fault, uint64_t *wanted);
/* The other way, from the exception that signal_return() raises for such a frame. False: t has raised none. */
bool signal_fault_return(struct thread *t, struct sgx_gprsgx *g, uint8_t *xsave);

void signal_export(struct writer *w);
void signal_import(struct reader *r);

#endif
