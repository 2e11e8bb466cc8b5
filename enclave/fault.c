/* SPDX-License-Identifier: Apache-2.0
 *
 * Exceptions inside the enclave. Runs on a stack of its own, holds no lock, and
 * believes only what the processor saved in the SSA; the host's word counts for
 * nothing. A stray entry (no valid EXITINFO) just goes back.
 */
#include <errno.h>
#include "enclave/entry.h"
#include "enclave/leaf.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/start.h"
#include "enclave/text.h"
#include "enclave/thread.h"

#define VECTOR_PF 14
/* A generous bound on how often a page that must be there may turn out to be. */
#define FAULT_REPEATS_MAX 1000

static uint64_t faults;

uint64_t fault_count(void)
{
	return __atomic_load_n(&faults, __ATOMIC_RELAXED);
}

static const char *const fault_name[32] = {[0] = "divide error", [1] = "debug", [3] = "breakpoint", [5] = "bound range",
	[6] = "invalid instruction", [13] = "general protection", [14] = "page fault", [16] = "x87 error",
	[17] = "alignment check", [19] = "SIMD error"};

/* The call area of this thread may hold a half-made ocall, but the enclave is dead now: text may go there. */
static enum fatal die_text(struct thread *t, enum fatal why, const struct sgx_gprsgx *g, uint64_t addr)
{
	unsigned vector = SGX_EXITINFO_VECTOR(g->exitinfo);
	struct text msg = {0};
	text_str(&msg, vector < 32 && fault_name[vector] ? fault_name[vector] : "exception");
	text_str(&msg, " at instruction ");
	text_hex(&msg, g->rip);
	if (vector == VECTOR_PF) {
		text_str(&msg, ", address ");
		text_hex(&msg, addr);
	}
	rt_set_dead(why);
	if (t->area)
		host_copy_out(area_data(t), msg.s, msg.n + 1);
	return why;
}

uint64_t fault_c(struct thread *t, uint64_t op)
{
	const uint8_t *frame_end = (const uint8_t *)t - THREAD_RECORD + THREAD_SSA + PAGE_SIZE;
	const struct sgx_gprsgx *g = (const void *)(frame_end - sizeof *g);
	const struct sgx_exinfo *x = (const void *)(frame_end - sizeof *g - sizeof *x);

	if (rt_dead())
		return rt_dead();
	if (op != ECALL_FAULT || !SGX_EXITINFO_VALID(g->exitinfo))
		return 0;
	__atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED);
	if (SGX_EXITINFO_VECTOR(g->exitinfo) != VECTOR_PF)
		return die_text(t, FATAL_EXCEPTION, g, 0);
	uint64_t addr = x->maddr;
	if (t->accepting) /* the fault may not need what its thread holds */
		return die_text(t, FATAL_PAGE_ATTACK, g, addr);
	switch (mm_fault(addr)) {
	case 0:
		break;
	case -EBUSY:
		for (int i = 0; i < 100; i++)
			__asm__ volatile("pause");
		break;
	case -EEXIST:
		/* Brought in since by another thread: once or twice. Else the host has taken it away, and an empty
		 * page in its place is never accepted. */
		if (addr >> PAGE_SHIFT != t->fault_addr >> PAGE_SHIFT)
			t->fault_repeats = 0;
		t->fault_addr = addr;
		if (++t->fault_repeats > FAULT_REPEATS_MAX)
			return die_text(t, FATAL_PAGE_ATTACK, g, addr);
		break;
	default:
		return die_text(t, FATAL_SEGV, g, addr);
	}
	return 0;
}
