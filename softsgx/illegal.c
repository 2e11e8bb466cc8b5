/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/illegal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <string.h>
#include "softsgx/cpuid.h"
#include "softsgx/decode.h"
#include "softsgx/mm.h"
#include "softsgx/platform.h"

#define LONGEST 15
#define LOOK_BACK 32 /* bytes from which decoding must arrive at an instruction */
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif
#define MARK 0x736f6674736778ull /* ours, in the siginfo */

/* How the processor takes an instruction in user mode. */
enum how { LEGAL, FAULTS, RUNS_RARE, RUNS, RUNS_CPUID };

static struct site {
	uint64_t address;
	const struct enclave *enclave;
	enum how how;
} sites[ILLEGAL_SITES];
static struct lock sites_lock;
static uint64_t sites_generation = 1;
static int unavailable; /* the kernel does not let us have breakpoints */

static enum how two_bytes(const uint8_t *code, size_t size)
{
	uint8_t modrm = size > 1 ? code[1] : 0, reg = modrm >> 3 & 7;
	int memory = modrm < 0xc0;

	switch (code[0]) {
	case 0xa2: /* CPUID */
		return cpuid_faults() ? FAULTS : RUNS_CPUID;
	case 0x00: /* SLDT, STR */
		return size > 1 && reg < 2 ? RUNS : LEGAL;
	case 0x01: /* SGDT, SIDT, SMSW; VMCALL, which a hypervisor may answer; VMFUNC */
		if (size < 2)
			return LEGAL;
		if (memory ? reg < 2 || reg == 4 : reg == 4)
			return RUNS;
		if (modrm == 0xf9)
			return platform_has_sgx2() ? LEGAL : RUNS;
		if (modrm == 0xc1)
			return RUNS;
		return modrm == 0xd4 ? FAULTS : LEGAL;
	case 0x31: /* RDTSC, as RDTSCP above: SGX2 brought it */
		return platform_has_sgx2() ? LEGAL : RUNS;
	case 0xb2: /* LSS, LFS, LGS */
	case 0xb4:
	case 0xb5:
		return size > 1 && memory ? RUNS : LEGAL;
	case 0xa1: /* POP FS, GS */
	case 0xa9:
		return RUNS;
	case 0x05: /* SYSCALL, RDPMC, SYSENTER, GETSEC */
	case 0x33:
	case 0x34:
	case 0x37:
		return FAULTS;
	default:
		return LEGAL;
	}
}

static enum how how_taken(const uint8_t *code, size_t size)
{
	uint8_t modrm, reg;

	while (size && (*code == 0x66 || *code == 0xf2 || *code == 0xf3 || (*code & 0xf0) == 0x40)) {
		code++;
		size--;
	}
	if (!size)
		return LEGAL;
	if (*code == 0x0f)
		return size > 1 ? two_bytes(code + 1, size - 1) : LEGAL;
	modrm = size > 1 ? code[1] : 0xff;
	reg = modrm >> 3 & 7;
	switch (*code) {
	case 0x6c: /* INS, OUTS, INT n, IN, OUT */
	case 0x6d:
	case 0x6e:
	case 0x6f:
	case 0xcd:
	case 0xe4:
	case 0xe5:
	case 0xe6:
	case 0xe7:
	case 0xec:
	case 0xed:
	case 0xee:
	case 0xef:
		return FAULTS;
	case 0xca: /* far RET, IRET */
	case 0xcb:
	case 0xcf:
		return RUNS_RARE;
	case 0x8e: /* MOV to a segment register; to CS it does not exist */
		return size > 1 && reg < 6 && reg != 1 ? RUNS_RARE : LEGAL;
	case 0xff: /* far CALL, JMP */
		return size > 1 && modrm < 0xc0 && (reg == 3 || reg == 5) ? RUNS_RARE : LEGAL;
	default:
		return LEGAL;
	}
}

int illegal_instruction(const uint8_t *code, size_t size)
{
	return how_taken(code, size) != LEGAL;
}

/* Does decoding from the bytes before arrive here? Of code, from nearly all starts; of a constant in another
 * instruction, from nearly none. Starts that soon meet no instruction at all say nothing. */
static int begins_here(const uint8_t *start, const uint8_t *at, const uint8_t *end)
{
	unsigned int arrived = 0, passed = 0;

	for (const uint8_t *from = at - start > LOOK_BACK ? at - LOOK_BACK : start; from + LONGEST < at;
	     from++) {
		const uint8_t *p = from;
		size_t length = 1;

		while (p < at && length) {
			length = decode_length(p, (size_t)(end - p));
			p += length;
		}
		arrived += p == at;
		passed += p > at;
	}
	return arrived >= 3 * passed;
}

/* 1 if the table changed. A site that the processor would surely run takes the place of one that hardly is
 * code. */
static int note_site(const struct enclave *e, uint64_t address, enum how how)
{
	struct site *place = NULL;

	for (int i = 0; i < ILLEGAL_SITES; i++) {
		if (sites[i].address == address)
			return 0;
		if (sites[i].how < how && (!place || sites[i].how < place->how))
			place = &sites[i];
	}
	if (!place)
		return 0;
	*place = (struct site){address, e, how};
	return 1;
}

void illegal_look(struct enclave *e, size_t first, size_t count)
{
	const uint8_t *pages = e->view + first * SGX_PAGE_SIZE, *stop = pages + count * SGX_PAGE_SIZE;
	const uint8_t *start = pages, *end = stop;
	int changed = 0;

	if (unavailable || !epcm_is_stored(&e->epcm, first))
		return;
	if (first && epcm_is_stored(&e->epcm, first - 1))
		start -= LOOK_BACK + 2 * LONGEST;
	if (epcm_is_stored(&e->epcm, first + count))
		end += LONGEST;
	lock_take(&sites_lock);
	/* One walk over everything; where it stumbles over data it is soon in step again. */
	for (const uint8_t *at = start; at < stop;) {
		enum how how = how_taken(at, (size_t)(end - at));
		size_t length = decode_length(at, (size_t)(end - at));

		if (how >= RUNS_RARE && at + LONGEST > pages && begins_here(start, at, end))
			changed |= note_site(e, e->base + (uint64_t)(at - e->view), how);
		at += length ? length : 1;
	}
	lock_drop(&sites_lock);
	if (changed) {
		__atomic_add_fetch(&sites_generation, 1, __ATOMIC_SEQ_CST);
		mm_generation_bump();
	}
}

static int breakpoint_set(uint64_t address)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_BREAKPOINT,
				       .size = sizeof(attr),
				       .sample_period = 1,
				       .bp_type = HW_BREAKPOINT_X,
				       .bp_addr = address,
				       .bp_len = sizeof(long),
				       .exclude_kernel = 1,
				       .exclude_hv = 1,
				       .sigtrap = 1,
				       .remove_on_exec = 1,
				       .sig_data = MARK};
	long fd = SYS(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC), high;

	if (fd < 0)
		return (int)fd;
	high = SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 512);
	if (high < 0)
		return (int)fd;
	SYS(SYS_close, fd);
	return (int)high;
}

void illegal_disarm(struct thread *t)
{
	for (int i = 0; i < ILLEGAL_SITES; i++) {
		if (t->site[i])
			SYS(SYS_close, t->site_fd[i]);
		t->site[i] = 0;
	}
	t->sites_generation = 0;
}

void illegal_forked(void)
{
	sites_lock = (struct lock){0};
}

void illegal_arm(struct thread *t)
{
	uint64_t generation = __atomic_load_n(&sites_generation, __ATOMIC_SEQ_CST);

	if (t->sites_generation == generation)
		return;
	lock_take(&sites_lock);
	/* Old ones first: there may be none left for new ones. */
	for (int i = 0; i < ILLEGAL_SITES; i++) {
		if (t->site[i] && t->site[i] != sites[i].address) {
			SYS(SYS_close, t->site_fd[i]);
			t->site[i] = 0;
		}
	}
	for (int i = 0; i < ILLEGAL_SITES; i++) {
		int fd;

		if (!sites[i].address || t->site[i])
			continue;
		fd = breakpoint_set(sites[i].address);
		if (fd >= 0) {
			t->site_fd[i] = fd;
			t->site[i] = sites[i].address;
		} else if (fd == -EACCES || fd == -EPERM || fd == -ENOSYS || fd == -EINVAL) {
			unavailable = 1;
		}
	}
	lock_drop(&sites_lock);
	t->sites_generation = generation;
}

int illegal_is_trap(int signal, const siginfo_t *info)
{
	uint64_t data;

	/* si_perf_data comes after si_addr; the C library does not name it yet. */
	memcpy(&data, (const char *)&info->si_addr + sizeof(void *), sizeof(data));
	return signal == SIGTRAP && info->si_code == TRAP_PERF && data == MARK;
}

void illegal_forget(const struct enclave *e)
{
	lock_take(&sites_lock);
	for (int i = 0; i < ILLEGAL_SITES; i++) {
		if (sites[i].enclave == e) {
			sites[i] = (struct site){0};
			__atomic_add_fetch(&sites_generation, 1, __ATOMIC_SEQ_CST);
		}
	}
	lock_drop(&sites_lock);
}
