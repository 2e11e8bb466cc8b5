/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/bases.h"

#include <asm/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include "softsgx/aex.h"
#include "softsgx/int3_site.h"

#define HWCAP2_FSGSBASE_BIT 2
#define LONGEST 5
#define REP 0xf3

/* Read by entry.S. */
uint8_t softsgx_bases_told __attribute__((visibility("hidden")));

void bases_init(void)
{
	softsgx_bases_told = !(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT) || getenv("SOFTSGX_NO_FSGSBASE");
}

int bases_are_told(void)
{
	return softsgx_bases_told;
}

void bases_read(uint64_t *fs, uint64_t *gs)
{
	if (softsgx_bases_told) {
		SYS(SYS_arch_prctl, ARCH_GET_FS, fs);
		SYS(SYS_arch_prctl, ARCH_GET_GS, gs);
	} else {
		__asm__ volatile("rdfsbase %0; rdgsbase %1" : "=r"(*fs), "=r"(*gs));
	}
}

/* F3 [REX] 0F AE /0 to /3 with a register. */
struct instruction {
	size_t length; /* 0: it is none */
	int writes, gs, wide;
	unsigned int reg; /* by the processor's number */
};

/* first: the first byte, for which INT3 may stand */
static struct instruction decode(const uint8_t *code, size_t size, uint8_t first)
{
	uint8_t rex = size > 1 && (code[1] & 0xf0) == 0x40 ? code[1] : 0, modrm;
	size_t at = rex ? 2 : 1;

	if (first != REP || size < at + 3 || code[at] != 0x0f || code[at + 1] != 0xae)
		return (struct instruction){0};
	modrm = code[at + 2];
	if (modrm < 0xc0 || modrm >= 0xe0)
		return (struct instruction){0};
	return (struct instruction){.length = at + 3,
				    .writes = modrm >> 4 & 1,
				    .gs = modrm >> 3 & 1,
				    .wide = !!(rex & 8),
				    .reg = (modrm & 7u) | (rex & 1u) << 3};
}

void bases_look(struct enclave *e, size_t first, size_t count)
{
	const uint8_t *start = e->view + first * SGX_PAGE_SIZE, *end = start + count * SGX_PAGE_SIZE;
	const uint8_t *at = start, *limit = end;

	if (!softsgx_bases_told || !epcm_is_stored(&e->epcm, first) ||
	    !(epcm_get(&e->epcm, first) & SGX_SECINFO_X))
		return;
	/* One may begin in the page before, or end in the next. */
	if (first && epcm_is_stored(&e->epcm, first - 1))
		at -= LONGEST - 1;
	if (epcm_is_stored(&e->epcm, first + count))
		limit += LONGEST - 1;
	while ((at = memchr(at, REP, (size_t)(end - at)))) {
		struct instruction i = decode(at, (size_t)(limit - at), REP);

		if (i.writes && at + i.length > start)
			int3_site_make(e, (uint64_t)(at - e->view), INT3_BASE);
		if (++at == end)
			break;
	}
}

static const int register_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct instruction instruction_at(struct enclave *e, uint64_t rip)
{
	struct instruction i = {0};
	uint64_t offset = rip - e->base;
	const uint8_t *code = e->view + offset;
	size_t size = LONGEST;

	if (!enclave_contains(e, rip, 1))
		return i;
	if (!enclave_contains(e, rip, size))
		size = e->size - offset;
	/* What INT3 stands for needs no lock. It may be gone since it trapped, though, or made since this was #UD. */
	if (int3_site(e, offset) == INT3_BASE)
		return decode(code, size, REP);
	lock_take(&e->lock);
	if (epcm_get(&e->epcm, enclave_page(e, rip)) & EPCM_VALID)
		i = decode(code, size, int3_site(e, offset) == INT3_BASE ? REP : *code);
	lock_drop(&e->lock);
	return i;
}

enum bases_result bases_trap(struct thread *t, greg_t *registers, int is_breakpoint)
{
	greg_t rip = registers[REG_RIP] - (is_breakpoint ? 1 : 0), *operand;
	struct instruction i;
	uint64_t *base, value;

	if (!softsgx_bases_told)
		return BASES_OTHER;
	i = instruction_at(t->enclave, (uint64_t)rip);
	if (!i.length)
		return BASES_OTHER;
	registers[REG_RIP] = rip;
	operand = &registers[register_of[i.reg]];
	base = i.gs ? &t->enclave_gs : &t->enclave_fs;
	value = i.writes ? (uint64_t)*operand : *base;
	if (!i.wide)
		value = (uint32_t)value;
	if (!is_canonical(value))
		return BASES_FAULTS;
	if (i.writes)
		*base = value;
	else
		*operand = (greg_t)value;
	registers[REG_RIP] += (greg_t)i.length;
	return BASES_DONE;
}

void bases_tell_gs(struct thread *t)
{
	uint64_t wanted = t->inside ? t->enclave_gs : t->host_gs;

	if (!softsgx_bases_told || t->told_gs == wanted)
		return;
	SYS(SYS_arch_prctl, ARCH_SET_GS, wanted);
	t->told_gs = wanted;
}
