/* SPDX-License-Identifier: Apache-2.0
 *
 * The per-thread record: one private page per slot, base of FS and GS at entry.
 * Offsets used by entry.S are asserted in thread.c.
 */
#ifndef ENCLAVE_THREAD_H
#define ENCLAVE_THREAD_H

#include <stdbool.h>
#include <stdint.h>
#include "enclave/rt.h"

/*
 * Where a parked thread goes on. Nothing of the private stack is kept: what a
 * thread needs lies on its own stack (rsp) and here, so the same code resumes it
 * after an undone stop and on another machine. This is all that travels.
 */
enum context_kind {
	CONTEXT_NONE = 0,
	CONTEXT_START = 1,     /* never ran: call call[0](call[1]) on rsp */
	CONTEXT_SAFEPOINT = 2, /* stub frame at rsp */
	CONTEXT_DONE = 3,      /* gate frame at rsp, call finished with result */
	CONTEXT_AGAIN = 4,     /* gate frame at rsp, call is to be issued (again) */
	CONTEXT_ENTRY = 5,     /* program start: jump to call[0] with rsp */
	CONTEXT_FAULT = 6,     /* in a signal's frame only: any instruction, all registers behind the frame */
};

struct context {
	uint32_t kind;
	uint32_t mxcsr;
	uint16_t fcw;
	uint16_t reserved0;
	uint32_t reserved1;
	uint64_t rsp;
	uint64_t fs;
	int64_t result;
	uint64_t call[7];     /* number and arguments of the system call under way */
	uint64_t deadline_ns; /* absolute, the enclave's clock; 0 not computed yet, ~0 none */
	uint64_t stack_top;   /* end of the stack rsp lies in */
	uint64_t clear_tid;   /* address to clear and wake at exit */
	uint64_t signal_mask;
	uint64_t sigsuspend_mask; /* mask to restore once the call under way returns */
	uint32_t tid;
	uint32_t in_sigsuspend;
	uint64_t altstack, altstack_size;
	char name[16]; /* prctl(PR_SET_NAME): nobody outside sees it */
	uint64_t outer_rsp; /* while on the alternate stack: where the thread's own stack was left */
};

enum thread_state {
	THREAD_FREE = 0,
	THREAD_READY = 1,   /* context filled, host may enter */
	THREAD_RUNNING = 2, /* inside, or outside in an ocall */
	THREAD_PARKED = 3,
	THREAD_STANDBY = 4, /* destination: host thread waits, context may come */
	THREAD_TAKEN = 5,   /* its context is being filled: nobody may enter, nor take it */
};

struct thread {
	struct thread *self;     /* 0x00 */
	uint64_t slot;           /* 0x08 */
	uint64_t stack_top;      /* 0x10 private stack */
	uint64_t fault_stack_top; /* 0x18 */
	uint64_t ocall_rsp;      /* 0x20 private stack pointer of the ocall under way, 0 if none */
	uint64_t canary;         /* 0x28 fs:0x28 for objects compiled with a stack protector */
	uint64_t host_rsp, host_rbp, host_ret;    /* 0x30 0x38 0x40 */
	uint64_t fault_rsp, fault_rbp, fault_ret; /* 0x48 0x50 0x58 */
	uint64_t saved_fs;       /* 0x60 FS base around an ocall */
	uint32_t saved_mxcsr;    /* 0x68 */
	uint16_t saved_fcw;      /* 0x6c */
	uint16_t pad;
	struct context ctx;      /* 0x70 */

	/* private from here on; nothing below travels */
	uint32_t state; /* enum thread_state, atomic */
	uint64_t area; /* struct call_area of the host thread inside, checked */
	uint32_t tracking; /* the last beginning of tracking it has come by, atomic */
	/* futex.c */
	struct thread *futex_next;
	uint64_t futex_addr;
	uint32_t futex_bitset;
	uint32_t futex_queued;
	/* signal.c */
	uint64_t signal_pending;
	bool restartable; /* the call under way gave way to a signal and had no effect */
	bool reissued;    /* the call under way was interrupted before: what it gives way to may be there already */
	/* fault.c */
	uint64_t fault_addr;
	uint32_t fault_repeats;
	uint64_t fault_frame; /* the thread goes on from this signal's frame: signal_fault_return() */
	bool accepting; /* EACCEPT under way: a fault now is one the host could have spared us */
};
_Static_assert(sizeof(struct thread) <= PAGE_SIZE, "a record is one page");

static inline struct thread *thread_self(void)
{
	struct thread *t;
	__asm__("movq %%gs:0, %0" : "=r"(t));
	return t;
}

static inline bool context_altstack_has(const struct context *c, uint64_t rsp)
{
	return c->altstack_size && rsp - c->altstack <= c->altstack_size;
}

static inline bool context_on_altstack(const struct context *c)
{
	return context_altstack_has(c, c->rsp);
}

/* Down to where the thread's own stack is in use, also while it is on its alternate one. */
static inline uint64_t context_stack_low(const struct context *c)
{
	return c->outer_rsp && context_on_altstack(c) ? c->outer_rsp : c->rsp;
}

static inline struct thread *thread_of_slot(unsigned slot)
{
	return (struct thread *)((uint64_t)THREADS_BASE + (uint64_t)slot * THREAD_STRIDE + THREAD_RECORD);
}

/* Takes a free application slot; the caller fills its context and makes it READY, or releases it. -EAGAIN if none. */
int thread_alloc(struct thread **out);
/* The slot is free again, its context gone. */
void thread_release(struct thread *t);
_Noreturn void thread_exit(struct thread *t);
/* ECALL_THREAD. */
_Noreturn void thread_enter(struct thread *t, uint64_t u_area, uint64_t size);
unsigned threads_alive(void);
uint32_t thread_new_tid(void);
uint32_t thread_last_tid(uint32_t at_least); /* raises it if need be */

/* park.c */
static inline uint8_t stop_word(void)
{
	return __atomic_load_n((uint8_t *)STOP_WORD, __ATOMIC_SEQ_CST);
}
#define STOP_MOVE 1u   /* park */
#define STOP_SIGNAL 2u /* a signal waits for somebody */
#define STOP_TRACK 4u  /* come by: tracking has begun */
void tracking_seen(struct thread *t); /* the thread is at a safepoint, or in the gate */
void stop_signal(bool on);
_Noreturn void park(struct thread *t);        /* context is complete */
_Noreturn void thread_resume(struct thread *t); /* goes where the context says */
bool state_is_destination(void);

/* entry.S */
#define EEXIT_ARGS enum eexit how, uint64_t rsi, uint64_t rdx
long ocall_exit(EEXIT_ARGS);               /* leaves; returns when the host enters with ECALL_RETURN */
_Noreturn void final_exit(EEXIT_ARGS);     /* leaves for good */
_Noreturn void context_return(uint64_t rsp, long result); /* out of a gate frame */
_Noreturn void context_safepoint(uint64_t rsp);
_Noreturn void context_start(uint64_t rsp, uint64_t fn, uint64_t arg);
_Noreturn void context_entry(uint64_t rsp, uint64_t rip);
_Noreturn void context_signal(uint64_t rsp, uint64_t handler, int signum, uint64_t info, uint64_t ucontext);
_Noreturn void private_stack_call(void (*fn)(struct thread *), struct thread *t);

#endif
