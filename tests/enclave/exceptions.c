/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals and exceptions that a host makes up: a program's own are not among those it may send, one that the processor
 * has saved is answered once, and none comes of a page of the program's code that the host takes away.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "enclave/entry.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/timer.h"
#include "sgx/arch.h"
#include "tests/enclave/support.h"

void host_answer(struct thread *t, struct call_area *area)
{
	(void)t;
	area->result = -EIO;
	area->interrupted = 0;
}

void context_signal(uint64_t rsp, uint64_t handler, int signum, uint64_t info, uint64_t ucontext)
{
	(void)rsp, (void)handler, (void)signum, (void)info, (void)ucontext;
	abort();
}

void park(struct thread *t)
{
	(void)t;
	abort();
}

void thread_resume(struct thread *t)
{
	(void)t;
	abort();
}

void stop_signal(bool on)
{
	(void)on;
}

bool state_is_destination(void)
{
	return false;
}

static bool timers_locked;
static uint64_t pending_when_locked;

void timers_lock(void)
{
	timers_locked = true;
	pending_when_locked = signal_pending_anywhere();
}

void timers_unlock(void)
{
	timers_locked = false;
}

bool timer_raised(int signum, uint32_t tid, struct timer_rung *rung)
{
	(void)signum, (void)tid, (void)rung;
	CHECK(timers_locked);
	return false;
}

#define HANDLER (APP_BASE + 0x800)
#define CODE (APP_BASE + 0x900)
#define STACK (HEAP_BASE + (6u << 20))

static void handle(struct thread *t, int signum)
{
	/* the kernel's: handler, flags, restorer, mask */
	const uint64_t action[4] = {HANDLER, SA_NODEFER, 0, 0};
	memcpy((void *)APP_BASE, action, sizeof(action));
	signal_action(t, signum, APP_BASE, 0);
}

static void host_sends_what_hosts_send(struct thread *t)
{
	static const int sent[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM, SIGCHLD};
	for (int number = -1; number <= 65; number++) {
		bool may = false;
		for (unsigned i = 0; i < sizeof(sent) / sizeof(*sent); i++)
			may |= sent[i] == number;
		handle(t, number);
		CHECK((signal_process(number, true) != -EINVAL) == may);
		CHECK((signal_process(number, false) != -EINVAL) == (number >= 1 && number <= 64));
	}
}

static struct sgx_gprsgx *registers(struct thread *t)
{
	return (struct sgx_gprsgx *)((uint8_t *)t - THREAD_RECORD + THREAD_SSA + PAGE_SIZE) - 1;
}

/* An exception of the program's, as the processor leaves it. */
static struct sgx_gprsgx *raise_exception(struct thread *t, unsigned vector, uint64_t addr, uint32_t code)
{
	struct sgx_gprsgx *g = registers(t);
	struct sgx_exinfo *x = (struct sgx_exinfo *)g - 1;
	*g = (struct sgx_gprsgx){.rip = CODE, .rsp = STACK, .exitinfo = 1u << 31 | SGX_EXITTYPE_HARDWARE << 8 | vector};
	*x = (struct sgx_exinfo){.maddr = addr, .errcd = code};
	t->ctx.signal_mask = 0;
	return g;
}

static void exceptions_are_answered_once(struct thread *t)
{
	handle(t, SIGILL);
	for (int i = 0; i < 3; i++) {
		struct sgx_gprsgx *g = raise_exception(t, 6, 0, 0);
		CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE);
		CHECK(g->rip == (uint64_t)context_signal && g->rsp < STACK);
		struct sgx_gprsgx before = *g;
		for (int k = 0; k < 3; k++)
			CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE && memcmp(&before, g, sizeof(before)) == 0);
	}
}

/* CPUID is answered, the same everywhere; what only looks like it is the program's fault. */
static void cpuid_is_answered(struct thread *t)
{
	static const struct {
		uint32_t leaf, sub, ebx;
	} known[] = {{0, 0, 0x756e6547}, {1, 0, 0x10800}, {7, 0, 1 << 5}, {7, 1, 0}, {2, 0, 0}, {0x80000002, 0, 0}};
	uint8_t *code = (uint8_t *)CODE;

	handle(t, SIGILL);
	memcpy(code, "\x0f\xa2", 2);
	for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++) {
		struct sgx_gprsgx *g = raise_exception(t, 6, 0, 0);
		g->rax = 0xffffffff00000000 | known[i].leaf;
		g->rbx = g->rdx = UINT64_MAX;
		g->rcx = known[i].sub;
		CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE);
		CHECK(g->rip == CODE + 2 && g->rbx == known[i].ebx && g->rax <= UINT32_MAX && g->rdx <= UINT32_MAX);
	}
	memcpy(code, "\x0f\x0b", 2);
	struct sgx_gprsgx *g = raise_exception(t, 6, 0, 0);
	CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE && g->rip == (uint64_t)context_signal);
	memcpy(code, "\x0f\xa2", 2);
	g = raise_exception(t, 13, 0, 0);
	CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE && g->rip == (uint64_t)context_signal);
}

#define TEXT (APP_BASE + 0x10000)
#define CONSTANTS (APP_BASE + 0x20000)
#define READ 4u
#define WRITE 6u
#define FETCH 20u

/* An image with code and constants, behind the writable part. */
static void image_has_segments(void)
{
	static const Elf64_Phdr headers[] = {
	    {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = TEXT, .p_memsz = 2 * PAGE_SIZE},
	    {.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = CONSTANTS, .p_memsz = 10},
	    {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = APP_BASE, .p_memsz = IMAGE_SIZE},
	};
	struct image_config *c = (void *)CONFIG_BASE;
	c->phdr = (uint64_t)headers;
	c->phdr_count = sizeof(headers) / sizeof(*headers);
	mm_init();
}

/* A fault that the program did not make is none of its handler's; it is the end where the page does not come back. */
static void missing_code_is_an_attack(struct thread *t)
{
	static const struct {
		uint64_t addr;
		uint32_t code;
		bool own;
	} faults[] = {
	    {TEXT, READ, false},
	    {TEXT + PAGE_SIZE, FETCH, false},
	    {TEXT, WRITE, true},
	    {TEXT + 2 * PAGE_SIZE, READ, true},
	    {CONSTANTS + 100, READ, false},
	    {CONSTANTS, WRITE, true},
	    {CONSTANTS, FETCH, true},
	    {CONSTANTS + PAGE_SIZE, READ, true},
	    {STOP_WORD, READ, false},
	    {0, READ, true},
	};
	handle(t, SIGSEGV);
	for (unsigned i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		struct sgx_gprsgx *g = raise_exception(t, 14, faults[i].addr, faults[i].code);
		CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE);
		CHECK(g->rip == (faults[i].own ? (uint64_t)context_signal : CODE));
	}
	for (int i = 0; i < 1000; i++) {
		raise_exception(t, 14, TEXT, READ);
		CHECK(fault_c(t, ECALL_FAULT).fatal == FATAL_NONE);
	}
	/* and then says no more of what was looked up there than the host knows */
	((struct image_config *)CONFIG_BASE)->flags = IMAGE_FLAG_PRODUCTION;
	raise_exception(t, 14, TEXT + 0x7b8, READ);
	CHECK((fault_c(t, ECALL_FAULT).fatal & 0xff) == FATAL_PAGE_ATTACK);
	CHECK(strstr((char *)area_data(t), ", address 0x") && !strstr((char *)area_data(t), "7b8"));
}

/* From when a signal is pending until it is known which timer rang, none rings: one ring would come twice. */
static void no_timer_rings_between(struct thread *t)
{
	uint64_t usr1 = 1ull << (SIGUSR1 - 1);
	uint8_t info[128];
	handle(t, SIGUSR1);
	signal_process(SIGUSR1, false);
	CHECK(signal_take(t, usr1, info) == SIGUSR1 && pending_when_locked & usr1 && !timers_locked);
	CHECK(!(signal_pending_anywhere() & usr1));
}

int main(void)
{
	enclave_begin();
	struct thread *t = thread_self();
	image_has_segments();
	CHECK(mm_mmap(HEAP_BASE + (4u << 20), 4 << 20, 3, 0x12) > 0);
	host_sends_what_hosts_send(t);
	exceptions_are_answered_once(t);
	cpuid_is_answered(t);
	no_timer_rings_between(t);
	missing_code_is_an_attack(t);
	return 0;
}
