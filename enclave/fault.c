/* SPDX-License-Identifier: Apache-2.0
 *
 * Exceptions inside the enclave. Runs on a stack of its own, holds no lock, and
 * believes only what the processor saved in the SSA; the host's word counts for
 * nothing. A stray entry (no valid EXITINFO) just goes back.
 */
#include <errno.h>
#include <signal.h>
#include "enclave/entry.h"
#include "enclave/leaf.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/start.h"
#include "enclave/text.h"
#include "enclave/thread.h"

#define VECTOR_UD 6
#define VECTOR_PF 14
/* The signal a program gets for an exception of its own, as from the kernel. */
static struct fault fault_of(unsigned vector, const struct sgx_gprsgx *g, const struct sgx_exinfo *x)
{
	struct fault f = {.signum = SIGSEGV, .code = SI_KERNEL, .vector = vector};
	switch (vector) {
	case 0:
		f = (struct fault){SIGFPE, FPE_INTDIV, g->rip, vector, 0};
		break;
	case 1:
	case 3:
		f.signum = SIGTRAP;
		break;
	case 6:
		f = (struct fault){SIGILL, ILL_ILLOPN, g->rip, vector, 0};
		break;
	case VECTOR_PF:
		f = (struct fault){SIGSEGV, SEGV_MAPERR, x->maddr, vector, x->errcd};
		break;
	case 16:
	case 19:
		f = (struct fault){SIGFPE, FPE_FLTINV, g->rip, vector, 0};
		break;
	case 17:
		f = (struct fault){SIGBUS, BUS_ADRALN, 0, vector, 0};
		break;
	}
	return f;
}

static bool in_runtime(uint64_t rip)
{
	return rip >= RUNTIME_BASE && rip < RUNTIME_END;
}

/*
 * CPUID, which an enclave may not execute: what every enclave's processor has (host/cpu.c looks for it) and nothing else,
 * so that the answer holds wherever the program moves, and the host has no say in it.
 */
static const struct cpuid_leaf {
	uint32_t leaf, eax, ebx, ecx, edx;
} cpuid_leaves[] = {
	{0, 7, 0x756e6547, 0x6c65746e, 0x49656e69}, /* GenuineIntel */
	/* A Haswell; lines of 64 bytes. SSE3, PCLMULQDQ, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT, AES, XSAVE, OSXSAVE, AVX;
	 * FPU, TSC, CX8, CMOV, CLFLUSH, MMX, FXSR, SSE, SSE2 */
	{1, 0x306c3, 0x10800, 0x1e982203, 0x07888111},
	{7, 0, 1u << 5, 0, 0}, /* AVX2 */
	{0x80000000, 0x80000001, 0, 0, 0},
	{0x80000001, 0, 0, 1, 1u << 29}, /* LAHF, 64-bit mode */
};

static bool answer_cpuid(struct sgx_gprsgx *g)
{
	const uint8_t *code = (const uint8_t *)g->rip;
	struct cpuid_leaf answer = {0};

	/* the second byte is looked at only where the processor has: it may be in another page */
	if (!mm_app_range(g->rip, 2) || code[0] != 0x0f || code[1] != 0xa2)
		return false;
	for (unsigned i = 0; i < sizeof(cpuid_leaves) / sizeof(*cpuid_leaves); i++)
		if (cpuid_leaves[i].leaf == (uint32_t)g->rax && (cpuid_leaves[i].leaf != 7 || !(uint32_t)g->rcx))
			answer = cpuid_leaves[i];
	g->rax = answer.eax;
	g->rbx = answer.ebx;
	g->rcx = answer.ecx;
	g->rdx = answer.edx;
	g->rip += 2;
	return true;
}

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

/* The call area of this thread may hold a half-made ocall, but the enclave is dead now: text may go there. In production
 * it says no more than the processor does: a host that takes a table's page away would learn what is looked up there. */
static uint64_t die_text(struct thread *t, uint64_t why, unsigned vector, const struct sgx_gprsgx *g, uint64_t addr)
{
	struct text msg = {0};
	uint64_t shown = CONFIG->flags & IMAGE_FLAG_PRODUCTION ? ~(uint64_t)(PAGE_SIZE - 1) : ~0ull;
	text_str(&msg, vector < 32 && fault_name[vector] ? fault_name[vector] : "exception");
	text_str(&msg, " at instruction ");
	text_hex(&msg, g->rip & shown);
	if (vector == VECTOR_PF) {
		text_str(&msg, ", address ");
		text_hex(&msg, addr & shown);
	}
	rt_set_dead(why);
	if (!t->area)
		return why;
	host_copy_out(area_data(t), msg.s, msg.n + 1);
	return why | FATAL_TOLD;
}

/* The program's own doing: its handler's business, or its end by that signal, which the host is told behind the
 * reason. */
static struct fault_answer program_fault(struct thread *t, enum fatal why, unsigned vector, struct sgx_gprsgx *g,
					 uint8_t *xsave, const struct sgx_exinfo *x)
{
	struct fault_answer answer = {0, 0};
	struct fault f = fault_of(vector, g, x);
	int rc = in_runtime(g->rip) ? -EFAULT : signal_fault(t, g, xsave, &f, &answer.page);
	if (rc == -EFAULT)
		answer.fatal = die_text(t, why | (uint64_t)f.signum << FATAL_SIGNAL_SHIFT, vector, g, f.addr);
	return answer;
}

struct fault_answer fault_c(struct thread *t, uint64_t op)
{
	const struct fault_answer resume = {0, 0};
	uint8_t *frame = (uint8_t *)t - THREAD_RECORD + THREAD_SSA, *frame_end = frame + PAGE_SIZE;
	struct sgx_gprsgx *g = (void *)(frame_end - sizeof *g);
	const struct sgx_exinfo *x = (const void *)(frame_end - sizeof *g - sizeof *x);

	if (rt_dead())
		return (struct fault_answer){rt_dead(), 0};
	uint32_t info = g->exitinfo;
	unsigned vector = SGX_EXITINFO_VECTOR(info);
	if (op != ECALL_FAULT || !SGX_EXITINFO_VALID(info))
		return resume;
	/* Once: the processor writes it anew with the next one, but the host may come again without any. */
	g->exitinfo = 0;
	__atomic_fetch_add(&faults, 1, __ATOMIC_RELAXED);
	if (vector == VECTOR_UD && in_runtime(g->rip) && signal_fault_return(t, g, frame))
		return resume;
	if (vector == VECTOR_UD && answer_cpuid(g))
		return resume;
	if (vector != VECTOR_PF)
		return program_fault(t, FATAL_EXCEPTION, vector, g, frame, x);
	uint64_t addr = x->maddr;
	if (t->accepting) /* the fault may not need what its thread holds */
		return (struct fault_answer){die_text(t, FATAL_PAGE_ATTACK, vector, g, addr), 0};
	int rc = mm_fault(addr);
	/* No doing of the program's: code and constants are there, unless the host takes them away. */
	if (rc == -EFAULT && mm_fault_is_strange(addr, x->errcd))
		rc = -EEXIST;
	switch (rc) {
	case 0:
		break;
	case -EBUSY:
		for (int i = 0; i < 100; i++)
			__asm__ volatile("pause");
		break;
	case -EINPROGRESS:
		return (struct fault_answer){0, addr >> PAGE_SHIFT};
	case -EEXIST:
		/* Brought in since by another thread: once or twice. Else the host has taken it away, and an empty
		 * page in its place is never accepted. */
		if (addr >> PAGE_SHIFT != t->fault_addr >> PAGE_SHIFT)
			t->fault_repeats = 0;
		t->fault_addr = addr;
		if (++t->fault_repeats > FAULT_REPEATS_MAX)
			return (struct fault_answer){die_text(t, FATAL_PAGE_ATTACK, vector, g, addr), 0};
		break;
	case -ENOMEM: /* not the page the enclave has asked for */
		return (struct fault_answer){die_text(t, FATAL_PAGE_ATTACK, vector, g, addr), 0};
	default:
		return program_fault(t, FATAL_SEGV, vector, g, frame, x);
	}
	return resume;
}
