/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/aex.h"

#include <string.h>

#define XSTATE_MAGIC1 0x46505853u
#define XSAVE_LEGACY 512
#define XSAVE_HEADER 576
#define FCW_INIT 0x037f
#define MXCSR_INIT 0x1f80u
#define RFLAGS_USER 0x240dd5ull /* ID AC OF DF SF ZF AF PF CF */
#define RFLAGS_ARITHMETIC 0x8d5ull
#define RFLAGS_RF 0x10000ull
#define RFLAGS_TF 0x100ull

/* What the kernel tells about the extended state in a signal frame. */
struct frame_state {
	uint32_t magic1;
	uint32_t extended_size;
	uint64_t features;
	uint32_t size;
};

struct xsave_header {
	uint64_t xstate_bv;
	uint64_t xcomp_bv;
	uint64_t reserved[6];
};

static uint8_t *frame_area(const ucontext_t *context)
{
	return (uint8_t *)context->uc_mcontext.fpregs;
}

/* Bytes of XSAVE image in the signal frame; 512 where the kernel saved with FXSAVE. */
static size_t frame_size(const uint8_t *area)
{
	const struct frame_state *state = (const void *)(area + 464);

	return state->magic1 == XSTATE_MAGIC1 ? state->size : XSAVE_LEGACY;
}

uint8_t *ssa_frame(const struct enclave *e, const struct sgx_tcs *tcs, uint32_t frame)
{
	uint64_t size = (uint64_t)e->secs.ssa_frame_size * SGX_PAGE_SIZE;
	uint64_t offset = tcs->ossa + frame * size;

	if (tcs->ossa > e->size || size > e->size || offset > e->size - size)
		return NULL;
	return e->view + offset;
}

struct sgx_gprsgx *ssa_gpr(const struct enclave *e, uint8_t *frame)
{
	return (void *)(frame + (size_t)e->secs.ssa_frame_size * SGX_PAGE_SIZE - sizeof(struct sgx_gprsgx));
}

static void save_extended(const struct enclave *e, const uint8_t *area, uint8_t *frame)
{
	size_t have = frame_size(area), want = xsave_size(e->secs.attributes.xfrm);
	struct xsave_header *header = (void *)(frame + XSAVE_LEGACY);
	uint64_t present = 3;

	memcpy(frame, area, XSAVE_LEGACY);
	memset(frame + 464, 0, XSAVE_LEGACY - 464); /* the kernel's own notes */
	if (have > XSAVE_LEGACY) {
		present = ((const struct xsave_header *)(area + XSAVE_LEGACY))->xstate_bv;
		if (want > have)
			want = have;
		memcpy(frame + XSAVE_HEADER, area + XSAVE_HEADER, want - XSAVE_HEADER);
	}
	*header = (struct xsave_header){.xstate_bv = present & e->secs.attributes.xfrm};
}

/* The enclave's components go to their initial state: the host sees nothing of them. */
static void clear_extended(uint64_t xfrm, uint8_t *area)
{
	uint16_t fcw = FCW_INIT;
	uint32_t mxcsr = MXCSR_INIT;

	memcpy(area, &fcw, sizeof(fcw));
	memset(area + 2, 0, 22);
	memcpy(area + 24, &mxcsr, sizeof(mxcsr));
	memset(area + 32, 0, 464 - 48);
	if (frame_size(area) > XSAVE_LEGACY) {
		struct xsave_header *header = (void *)(area + XSAVE_LEGACY);

		header->xstate_bv &= ~xfrm;
		memset(area + XSAVE_HEADER, 0,
		       (xsave_size(xfrm) < frame_size(area) ? xsave_size(xfrm) : frame_size(area)) -
			   XSAVE_HEADER);
	}
}

static int load_extended(const struct enclave *e, const uint8_t *frame, uint8_t *area)
{
	uint64_t xfrm = e->secs.attributes.xfrm;
	struct xsave_header from;
	size_t have = frame_size(area), want = xsave_size(xfrm);
	uint32_t mxcsr;

	memcpy(&from, frame + XSAVE_LEGACY, sizeof(from));
	memcpy(&mxcsr, frame + 24, sizeof(mxcsr));
	for (size_t i = 0; i < sizeof(from.reserved) / sizeof(from.reserved[0]); i++)
		if (from.reserved[i])
			return -1;
	/* What XRSTOR would fault on must not reach the kernel's: it would end the program. */
	if ((from.xstate_bv & ~xfrm) || from.xcomp_bv || (mxcsr & ~0xffffu))
		return -1;
	memcpy(area, frame, 464);
	if (have > XSAVE_LEGACY) {
		struct xsave_header *header = (void *)(area + XSAVE_LEGACY);

		memcpy(area + XSAVE_HEADER, frame + XSAVE_HEADER, (want < have ? want : have) - XSAVE_HEADER);
		header->xstate_bv = (header->xstate_bv & ~xfrm) | from.xstate_bv;
	}
	return 0;
}

static void save_registers(const greg_t *g, const struct thread *t, struct sgx_gprsgx *gpr)
{
	gpr->rax = (uint64_t)g[REG_RAX];
	gpr->rcx = (uint64_t)g[REG_RCX];
	gpr->rdx = (uint64_t)g[REG_RDX];
	gpr->rbx = (uint64_t)g[REG_RBX];
	gpr->rsp = (uint64_t)g[REG_RSP];
	gpr->rbp = (uint64_t)g[REG_RBP];
	gpr->rsi = (uint64_t)g[REG_RSI];
	gpr->rdi = (uint64_t)g[REG_RDI];
	gpr->r8 = (uint64_t)g[REG_R8];
	gpr->r9 = (uint64_t)g[REG_R9];
	gpr->r10 = (uint64_t)g[REG_R10];
	gpr->r11 = (uint64_t)g[REG_R11];
	gpr->r12 = (uint64_t)g[REG_R12];
	gpr->r13 = (uint64_t)g[REG_R13];
	gpr->r14 = (uint64_t)g[REG_R14];
	gpr->r15 = (uint64_t)g[REG_R15];
	gpr->rflags = (uint64_t)g[REG_EFL] & ~RFLAGS_TF;
	gpr->rip = (uint64_t)g[REG_RIP];
	gpr->fsbase = t->enclave_fs;
	gpr->gsbase = t->enclave_gs;
}

static void load_registers(const struct sgx_gprsgx *gpr, greg_t *g)
{
	g[REG_RAX] = (greg_t)gpr->rax;
	g[REG_RCX] = (greg_t)gpr->rcx;
	g[REG_RDX] = (greg_t)gpr->rdx;
	g[REG_RBX] = (greg_t)gpr->rbx;
	g[REG_RSP] = (greg_t)gpr->rsp;
	g[REG_RBP] = (greg_t)gpr->rbp;
	g[REG_RSI] = (greg_t)gpr->rsi;
	g[REG_RDI] = (greg_t)gpr->rdi;
	g[REG_R8] = (greg_t)gpr->r8;
	g[REG_R9] = (greg_t)gpr->r9;
	g[REG_R10] = (greg_t)gpr->r10;
	g[REG_R11] = (greg_t)gpr->r11;
	g[REG_R12] = (greg_t)gpr->r12;
	g[REG_R13] = (greg_t)gpr->r13;
	g[REG_R14] = (greg_t)gpr->r14;
	g[REG_R15] = (greg_t)gpr->r15;
	g[REG_EFL] = (greg_t)((gpr->rflags & RFLAGS_USER) | ((uint64_t)g[REG_EFL] & ~RFLAGS_USER));
	g[REG_RIP] = (greg_t)gpr->rip;
}

/* Vectors an enclave is told about; page and protection faults only where EXINFO can say the rest. */
static uint32_t exitinfo(const struct enclave *e, const struct exception *why)
{
	const uint32_t always = 1u << 0 | 1u << 1 | 1u << 5 | 1u << 6 | 1u << 16 | 1u << 17 | 1u << 19;
	uint32_t hardware = SGX_EXITTYPE_HARDWARE << 8, valid = 1u << 31;

	if (why->vector == 3)
		return valid | SGX_EXITTYPE_SOFTWARE << 8 | 3;
	if (why->vector < 32 && (always >> why->vector & 1))
		return valid | hardware | why->vector;
	if ((why->vector == 13 || why->vector == 14) && (e->secs.miscselect & SGX_MISC_EXINFO))
		return valid | hardware | why->vector;
	return 0;
}

static void synthesise(struct thread *t, ucontext_t *context, const struct sgx_gprsgx *gpr)
{
	greg_t *g = context->uc_mcontext.gregs;

	g[REG_RAX] = SGX_ERESUME;
	g[REG_RBX] = (greg_t)t->tcs_address;
	g[REG_RCX] = (greg_t)t->tcs->aep;
	g[REG_RSP] = (greg_t)gpr->ursp;
	g[REG_RBP] = (greg_t)gpr->urbp;
	g[REG_RIP] = (greg_t)t->tcs->aep;
	g[REG_RDX] = g[REG_RSI] = g[REG_RDI] = 0;
	g[REG_R8] = g[REG_R9] = g[REG_R10] = g[REG_R11] = 0;
	g[REG_R12] = g[REG_R13] = g[REG_R14] = g[REG_R15] = 0;
	g[REG_EFL] &= ~(greg_t)(RFLAGS_ARITHMETIC | RFLAGS_RF);
	g[REG_EFL] |= (greg_t)t->host_tf;
}

void aex(struct thread *t, ucontext_t *context, const struct exception *why)
{
	struct enclave *e = t->enclave;
	uint8_t *frame = ssa_frame(e, t->tcs, t->tcs->cssa);
	struct sgx_gprsgx *gpr = ssa_gpr(e, frame);

	save_extended(e, frame_area(context), frame);
	save_registers(context->uc_mcontext.gregs, t, gpr);
	gpr->exitinfo = exitinfo(e, why);
	if (e->secs.miscselect & SGX_MISC_EXINFO) {
		struct sgx_exinfo info = {0};

		if (why->vector == 13 || why->vector == 14) {
			info.maddr = why->vector == 14 ? why->address : 0;
			info.errcd = why->code & 0xffff;
		}
		memcpy((uint8_t *)gpr - sizeof(info), &info, sizeof(info));
	}
	clear_extended(e->secs.attributes.xfrm, frame_area(context));
	synthesise(t, context, gpr);
	t->tcs->cssa++;
	enclave_count(&e->stats.aex);
	tcs_release(t->tcs);
	thread_left(t);
}

int ssa_load(const struct enclave *e, uint8_t *frame, ucontext_t *context, uint64_t *fs, uint64_t *gs)
{
	struct sgx_gprsgx gpr = *ssa_gpr(e, frame);

	if (!is_canonical(gpr.rip) || !is_canonical(gpr.fsbase) || !is_canonical(gpr.gsbase))
		return -1;
	if (load_extended(e, frame, frame_area(context)))
		return -1;
	load_registers(&gpr, context->uc_mcontext.gregs);
	*fs = gpr.fsbase;
	*gs = gpr.gsbase;
	return 0;
}
