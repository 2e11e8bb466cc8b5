/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processor and the kernel's fault handlers do, from a signal handler:
 * finds out what happened, and to whom.
 */
#include <string.h>
#include "softsgx/abort.h"
#include "softsgx/bases.h"
#include "softsgx/cpuid.h"
#include "softsgx/illegal.h"
#include "softsgx/int3_site.h"
#include "softsgx/leaf.h"
#include "softsgx/mm.h"
#include "softsgx/patch.h"
#include "softsgx/signals.h"

extern char softsgx_aep[], softsgx_fault[], softsgx_claim[], softsgx_claimed[], softsgx_entered[],
    softsgx_again[];

struct thread *softsgx_trap(int signal, siginfo_t *info, ucontext_t *context, struct thread *t);

#define RFLAGS_RF 0x10000ll
#define RFLAGS_TF 0x100ll

enum { TRAP_DB = 1, TRAP_BP = 3, TRAP_UD = 6, TRAP_GP = 13, TRAP_PF = 14 };

/* An event as the handlers see it. */
struct event {
	int signal;
	siginfo_t *info;
	ucontext_t *context;
	greg_t *g;
	struct thread *t;
};

/* A signal in the middle of the short EENTER: as if it had not begun. */
static void unwind_entry(struct event *ev)
{
	uint64_t rip = (uint64_t)ev->g[REG_RIP];
	int claimed;

	if (rip < (uint64_t)softsgx_claim || rip >= (uint64_t)softsgx_entered || !ev->t)
		return;
	claimed =
	    rip > (uint64_t)softsgx_claimed || (rip == (uint64_t)softsgx_claimed && !(ev->g[REG_EFL] & 1));
	if (claimed)
		tcs_release(ev->t->ready.view);
	ev->t->selector = 0; /* before any system call */
	thread_left(ev->t);
	ev->g[REG_RIP] = (greg_t)softsgx_again;
}

/* Registers the thread if this is the first time we hear of it. */
static struct thread *thread_of(struct event *ev)
{
	if (!ev->t)
		ev->t = softsgx_self;
	if (!ev->t) {
		ev->t = thread_register(&ev->context->uc_stack);
		/* The return from this handler puts it in force. */
		if (ev->t)
			ev->context->uc_stack = thread_stack(ev->t);
	}
	return ev->t;
}

/* Length of the ENCLU in these bytes, or 0. REX prefixes are ignored, others make it #UD. */
static unsigned int enclu_length(const uint8_t *code, size_t size)
{
	unsigned int prefix = size && (code[0] & 0xf0) == 0x40;

	if (size < prefix + 3 || memcmp(code + prefix, "\x0f\x01\xd7", 3))
		return 0;
	return prefix + 3;
}

/* Could this signal be an ENCLU that the processor did not execute? SIGILL where it has no SGX. Where it has,
 * but this machine must not use it: a protection fault, or a page fault on RBX, which for a TCS of ours is
 * SIGBUS. Not if fetching it already failed. */
static int may_be_enclu(const struct event *ev)
{
	greg_t trap = ev->g[REG_TRAPNO];

	if (ev->signal == SIGILL)
		return 1;
	return (ev->signal == SIGSEGV || ev->signal == SIGBUS) &&
	       (trap == TRAP_GP || (trap == TRAP_PF && !(ev->g[REG_ERR] & SGX_PF_I)));
}

static int is_breakpoint(const struct event *ev)
{
	return ev->signal == SIGTRAP && ev->g[REG_TRAPNO] == TRAP_BP;
}

/* ... of the one at this offset, also where INT3 stands for it. */
static unsigned int enclu_length_at(struct enclave *e, uint64_t offset, size_t size)
{
	return int3_site(e, offset) == INT3_ENCLU ? 3 : enclu_length(e->view + offset, size);
}

static unsigned int enclu_inside(struct event *ev)
{
	struct enclave *e = ev->t->enclave;
	int breakpoint = is_breakpoint(ev);
	uint64_t rip = (uint64_t)ev->g[REG_RIP] - (breakpoint ? 1 : 0), offset = rip - e->base;
	unsigned int length;
	size_t size = 4;

	if ((!breakpoint && !may_be_enclu(ev)) || !enclave_contains(e, rip, 3))
		return 0;
	if (!enclave_contains(e, rip, size))
		size = 3;
	if (!(epcm_get(&e->epcm, enclave_page(e, rip)) & EPCM_VALID))
		return 0;
	length = enclu_length_at(e, offset, size);
	/* Another thread that trapped here too may have made it INT3 between the two looks, or taken that
	 * back. */
	if (!length && (breakpoint || ev->signal == SIGILL)) {
		lock_take(&e->lock);
		length = enclu_length_at(e, offset, size);
		lock_drop(&e->lock);
	}
	if (breakpoint && length) {
		/* As if it had been a fault. */
		ev->g[REG_RIP]--;
		ev->g[REG_EFL] |= RFLAGS_RF;
	} else if (length == 3 && ev->signal == SIGILL) {
		lock_take(&e->lock);
		int3_site_make(e, offset, INT3_ENCLU);
		lock_drop(&e->lock);
	}
	return length;
}

static unsigned int enclu_outside(const struct event *ev)
{
	uint64_t rip = (uint64_t)ev->g[REG_RIP];
	uint8_t code[4];
	size_t size = sizeof(code);

	/* There by the breakpoint before it, or by itself. */
	if (is_breakpoint(ev))
		return rip == (uint64_t)softsgx_aep ? 3 : 0;
	if (!may_be_enclu(ev))
		return 0;
	if (rip == (uint64_t)softsgx_aep)
		return 3;
	if (sys_copy_in(code, (void *)rip, size)) {
		size = 3;
		if (sys_copy_in(code, (void *)rip, size))
			return 0;
	}
	return enclu_length(code, size);
}

/* The signal a vector becomes, and its siginfo. */
static int describe(const struct exception *x, siginfo_t *info)
{
	switch (x->vector) {
	case 0:
		info->si_code = FPE_INTDIV;
		return SIGFPE;
	case 1:
		info->si_code = TRAP_TRACE;
		return SIGTRAP;
	case 3:
		info->si_code = SI_KERNEL;
		return SIGTRAP;
	case TRAP_UD:
		info->si_code = ILL_ILLOPN;
		return SIGILL;
	case TRAP_PF:
		info->si_addr = (void *)x->address;
		if (x->code & MM_BUS) {
			info->si_code = BUS_ADRERR;
			return SIGBUS;
		}
		info->si_code = x->code & MM_MAPPED ? SEGV_ACCERR : SEGV_MAPERR;
		return SIGSEGV;
	case 16:
	case 19:
		info->si_code = FPE_FLTINV;
		return SIGFPE;
	case 12:
		info->si_code = SI_KERNEL;
		return SIGBUS;
	case 17:
		info->si_code = BUS_ADRALN;
		return SIGBUS;
	default:
		info->si_code = SI_KERNEL;
		return SIGSEGV;
	}
}

/* An exception at an ENCLU of the host: told through the run structure if it is our call's, else a signal. */
static void raise_outside(struct event *ev, const struct exception *x)
{
	siginfo_t info = {0};
	int signal;

	/* Debug exceptions are never converted. */
	if (ev->g[REG_RIP] == (greg_t)softsgx_aep && x->vector != 1 && x->vector != 3) {
		ev->g[REG_RIP] = (greg_t)softsgx_fault;
		ev->g[REG_RDI] = x->vector;
		ev->g[REG_RSI] = x->code & 0xffff;
		ev->g[REG_RDX] = x->vector == TRAP_PF ? (greg_t)x->address : 0;
		return;
	}
	signal = describe(x, &info);
	info.si_signo = signal;
	if (x->vector != TRAP_PF)
		info.si_addr = x->vector == 13 ? NULL : (void *)ev->g[REG_RIP];
	ev->g[REG_TRAPNO] = x->vector;
	ev->g[REG_ERR] = x->code & 0xffff;
	ev->g[REG_CR2] = (greg_t)x->address;
	signals_deliver(signal, &info, ev->context, ev->t);
}

static void exit_with(struct event *ev, struct exception *x)
{
	uint64_t address = x->address;

	aex(ev->t, ev->context, x);
	abort_left(ev->t->enclave);
	/* Only EXINFO learns where in the page it was. */
	x->address = address & ~(uint64_t)(SGX_PAGE_SIZE - 1);
	raise_outside(ev, x);
}

/* A page fault in enclave mode. 1 if the access may be tried again. */
static int page_fault(struct event *ev, struct exception *x)
{
	struct enclave *e = ev->t->enclave;
	uint64_t address = (uint64_t)ev->g[REG_CR2];
	uint32_t error = (uint32_t)ev->g[REG_ERR];
	enum mm_access access = mm_access_of(error);

	if (!enclave_contains(e, address, 1)) {
		*x = (struct exception){.vector = TRAP_PF, .code = error & 0xffff, .address = address};
		if (access == ACCESS_FETCH)
			*x = (struct exception){.vector = TRAP_GP};
		else if (ev->signal == SIGBUS)
			x->code |= MM_BUS;
		else if (ev->info->si_code == SEGV_ACCERR)
			x->code |= MM_MAPPED;
		return 0;
	}
	*x = (struct exception){.vector = TRAP_PF, .code = mm_fault(e, address, access), .address = address};
	return !x->code;
}

static int is_synchronous(const struct event *ev)
{
	switch (ev->signal) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGTRAP:
	case SIGSYS:
		return ev->info->si_code > 0;
	default:
		return 0;
	}
}

/* Outside it would have been another fault. */
static int is_illegal_inside(const struct event *ev)
{
	const struct enclave *e = ev->t->enclave;
	uint64_t rip = (uint64_t)ev->g[REG_RIP];

	return enclave_contains(e, rip, 16) && illegal_instruction(e->view + (rip - e->base), 16);
}

/* 1 if it was an instruction that reads or writes the base of FS or GS, and is dealt with. */
static int base_access(struct event *ev, struct exception *x)
{
	enum bases_result result = bases_trap(ev->t, ev->g, is_breakpoint(ev));

	if (result == BASES_FAULTS) {
		*x = (struct exception){.vector = TRAP_GP};
		exit_with(ev, x);
	}
	return result != BASES_OTHER;
}

static void trap_inside(struct event *ev)
{
	struct exception x = {.vector = VECTOR_NONE};
	unsigned int length;

	if (!is_synchronous(ev)) {
		aex(ev->t, ev->context, &x);
		abort_left(ev->t->enclave);
		if (!thread_is_interrupt(ev->info))
			signals_deliver(ev->signal, ev->info, ev->context, ev->t);
		return;
	}
	if (ev->signal == SIGSYS) {
		/* The kernel reports it behind the instruction; RCX and R11 are lost to SYSCALL. */
		ev->g[REG_RIP] -= 2;
		x.vector = TRAP_UD;
		exit_with(ev, &x);
		return;
	}
	/* The enclave's own: POPF would not have set it. */
	if (ev->g[REG_TRAPNO] == TRAP_DB && ev->g[REG_EFL] & RFLAGS_TF) {
		ev->g[REG_EFL] &= ~(greg_t)RFLAGS_TF;
		return;
	}
	if (illegal_is_trap(ev->signal, ev->info)) {
		x.vector = TRAP_UD;
		exit_with(ev, &x);
		return;
	}
	if ((is_breakpoint(ev) || ev->signal == SIGILL) && base_access(ev, &x))
		return;
	length = enclu_inside(ev);
	if (length) {
		if (leaf_inside(ev->t, ev->context, length, &x))
			exit_with(ev, &x);
		return;
	}
	if (ev->g[REG_TRAPNO] == TRAP_PF) {
		if (!page_fault(ev, &x))
			exit_with(ev, &x);
		return;
	}
	x.vector = (uint8_t)ev->g[REG_TRAPNO];
	x.code = (uint32_t)ev->g[REG_ERR] & 0xffff;
	/* INT3 is a fault in an enclave: its frame shows the instruction itself. */
	if (x.vector == TRAP_BP)
		ev->g[REG_RIP]--;
	if (x.vector == TRAP_GP && is_illegal_inside(ev))
		x = (struct exception){.vector = TRAP_UD};
	exit_with(ev, &x);
}

/* A CPUID that we made trap. */
static int emulate_cpuid(struct event *ev)
{
	uint64_t rip = (uint64_t)ev->g[REG_RIP];
	uint8_t code[2];
	struct cpuid c;

	if (ev->signal == SIGILL) {
		if (!patch_is_cpuid(rip))
			return 0;
	} else if (!cpuid_faults() || ev->signal != SIGSEGV || ev->g[REG_TRAPNO] != TRAP_GP ||
		   sys_copy_in(code, (void *)rip, sizeof(code)) || memcmp(code, "\x0f\xa2", 2)) {
		return 0;
	}
	c = cpuid_answer((uint32_t)ev->g[REG_RAX], (uint32_t)ev->g[REG_RCX]);
	ev->g[REG_RAX] = c.eax;
	ev->g[REG_RBX] = c.ebx;
	ev->g[REG_RCX] = c.ecx;
	ev->g[REG_RDX] = c.edx;
	ev->g[REG_RIP] += 2;
	return 1;
}

/* A fault of the host's own code on memory of an enclave? */
static int touches_enclave(const struct event *ev)
{
	struct vma vma;

	return (ev->signal == SIGBUS || ev->signal == SIGSEGV) && is_synchronous(ev) &&
	       ev->g[REG_TRAPNO] == TRAP_PF && mm_find((uint64_t)ev->g[REG_CR2], &vma) &&
	       vma.enclave->created;
}

static void host_touch(struct event *ev)
{
	uint64_t address = (uint64_t)ev->g[REG_CR2];
	struct exception x = {.vector = TRAP_PF, .address = address};

	x.code = abort_begin(ev->t, ev->context, address, (uint32_t)ev->g[REG_ERR]);
	if (x.code)
		raise_outside(ev, &x);
}

static void trap_outside(struct event *ev)
{
	struct exception x;
	unsigned int length;

	if (ev->t && ev->t->abort_count && !touches_enclave(ev) && abort_end(ev->t, ev->context))
		return;
	if (thread_is_interrupt(ev->info))
		return;
	if (is_synchronous(ev)) {
		length = enclu_outside(ev);
		if (length && thread_of(ev)) {
			if (leaf_outside(ev->t, ev->context, length, &x))
				raise_outside(ev, &x);
			return;
		}
		if (touches_enclave(ev) && thread_of(ev)) {
			host_touch(ev);
			return;
		}
		if (emulate_cpuid(ev))
			return;
	}
	signals_deliver(ev->signal, ev->info, ev->context, ev->t);
}

struct thread *softsgx_trap(int signal, siginfo_t *info, ucontext_t *context, struct thread *t)
{
	struct event ev = {signal, info, context, context->uc_mcontext.gregs, t};

	unwind_entry(&ev);
	if (ev.t && ev.t->inside)
		trap_inside(&ev);
	else
		trap_outside(&ev);
	if (ev.t)
		bases_tell_gs(ev.t);
	if (ev.t && ev.t->inside) {
		illegal_arm(ev.t);
		/* A fault comes with RF set, and RF hides a breakpoint on the instruction that is returned
		 * to. */
		ev.g[REG_EFL] &= ~(greg_t)RFLAGS_RF;
	}
	return ev.t;
}
