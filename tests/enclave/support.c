/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/enclave/support.h"
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "enclave/calls.h"
#include "enclave/clock.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "sgx/arch.h"

#define WEAK __attribute__((weak)) /* a test may have the real one, or its own */

static atomic_ulong accepted;
static uint8_t exists[(4ull << 30) >> PAGE_SHIFT];

unsigned long pages_accepted(void)
{
	return accepted;
}

static void map(uint64_t start, uint64_t size, int prot)
{
	void *p = mmap((void *)start, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	if (p != (void *)start) {
		printf("address %#lx cannot be mapped\n", (unsigned long)start);
		exit(77);
	}
}

void WEAK page_wanted(uint64_t page)
{
	printf("page %#lx is waited for, and nobody brings it\n", (unsigned long)page);
	exit(1);
}

/* As the processor: a page is accepted once, unless it was trimmed in between. */
static void leaf(greg_t *g)
{
	const struct sgx_secinfo *secinfo = (const void *)g[REG_RBX];
	void *page = (void *)g[REG_RCX];
	bool trim = g[REG_RAX] == SGX_EACCEPT && (secinfo->flags & SGX_SECINFO_TRIM) == SGX_SECINFO_TRIM;
	uint8_t was = __atomic_exchange_n(&exists[(uint64_t)page >> PAGE_SHIFT], !trim, __ATOMIC_SEQ_CST);
	if (was != trim || mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE)) {
		printf("page %p accepted twice\n", page);
		exit(1);
	}
	if (g[REG_RAX] == SGX_EACCEPTCOPY)
		memcpy(page, (void *)g[REG_RDX], PAGE_SIZE);
	if (trim) {
		memset(page, 0, PAGE_SIZE);
		mprotect(page, PAGE_SIZE, PROT_NONE);
	}
	accepted += trim ? -1ul : 1;
	g[REG_RAX] = 0;
	g[REG_RIP] += 3;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	static const uint8_t enclu[] = {0x0f, 0x01, 0xd7};

	if (memcmp((void *)g[REG_RIP], enclu, sizeof(enclu)) == 0) {
		leaf(g);
		return;
	}
	int rc = number == SIGSEGV ? mm_fault((uint64_t)info->si_addr) : -EFAULT;
	if (rc == -EINPROGRESS)
		page_wanted((uint64_t)info->si_addr >> PAGE_SHIFT);
	if (rc == 0 || rc == -EBUSY || rc == -EEXIST || rc == -EINPROGRESS)
		return;
	printf("signal %d, address %p, instruction %#llx\n", number, info->si_addr, g[REG_RIP]);
	exit(1);
}

struct thread *enclave_thread(unsigned slot)
{
	struct thread *t = thread_of_slot(slot);
	syscall(SYS_arch_prctl, ARCH_SET_GS, t);
	t->self = t;
	t->slot = slot;
	t->state = THREAD_RUNNING;
	t->ctx.kind = CONTEXT_DONE;
	t->ctx.tid = slot;
	if (!t->area)
		t->area = (uint64_t)mmap(NULL, CALL_AREA_SIZE, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return t;
}

void enclave_begin(void)
{
	memset(exists + (APP_BASE >> PAGE_SHIFT), 1, IMAGE_SIZE >> PAGE_SHIFT);
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
	struct image_config *c = (void *)CONFIG_BASE;

	map(CONFIG_BASE, PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(THREADS_BASE, 64 * THREAD_STRIDE, PROT_READ | PROT_WRITE);
	map(STOP_WORD, PAGE_SIZE, PROT_READ | PROT_WRITE);
	map(MARKS_BASE, MARKS_SIZE, PROT_NONE);
	map(PAGESTATE_BASE, PAGESTATE_SIZE, PROT_NONE);
	map(APP_BASE, IMAGE_SIZE, PROT_READ | PROT_WRITE);
	map(HEAP_BASE, HEAP_SIZE, PROT_NONE);
	*c = (struct image_config){.elrange_size = 4ull << 30,
				   .heap_base = HEAP_BASE,
				   .heap_size = HEAP_SIZE,
				   .stack_size = 1 << 20,
				   .thread_count = 32,
				   .slot_count = 32 + THREAD_SLOTS_SERVICE,
				   .range_count = 1,
				   .range = {{APP_BASE, APP_BASE + IMAGE_SIZE}}};
	/* what the loader adds for the image */
	uint64_t image_chunk = APP_BASE >> PAGE_SHIFT;
	mprotect((void *)(MARKS_BASE + image_chunk), PAGE_SIZE, PROT_READ | PROT_WRITE);
	mprotect((void *)(PAGESTATE_BASE + image_chunk), PAGE_SIZE, PROT_READ | PROT_WRITE);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	enclave_thread(THREAD_SLOTS_SERVICE);
	mm_init();
}

uint64_t random_below(uint64_t *seed, uint64_t end)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % end;
}

/* ---- what the rest of the runtime would be ---- */

long ocall_exit(enum eexit how, uint64_t rsi, uint64_t rdx)
{
	struct thread *t = thread_self();
	(void)how, (void)rsi, (void)rdx;
	host_answer(t, (struct call_area *)t->area);
	return 0;
}

_Noreturn void WEAK final_exit(enum eexit how, uint64_t rsi, uint64_t rdx)
{
	printf("left for good: %d, %lu, %lu: %.80s\n", how, (unsigned long)rsi, (unsigned long)rdx,
	       (const char *)area_data(thread_self()));
	exit(1);
}

void *rt_pages_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void rt_wipe(void *p, size_t size)
{
	explicit_bzero(p, size);
}

void rt_random(void *out, size_t size)
{
	memset(out, 0x5a, size);
}

uint64_t clock_mono_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t clock_real_ns(void)
{
	return clock_mono_ns();
}

uint64_t clock_to_host(uint64_t deadline_ns)
{
	return deadline_ns;
}

bool call_must_park(void)
{
	return false;
}

bool call_must_signal(struct thread *t)
{
	(void)t;
	return false;
}

void call_park_again(struct thread *t)
{
	(void)t;
	abort();
}

void WEAK signal_self(struct thread *t, int signum)
{
	(void)t, (void)signum;
}

int WEAK signal_take(struct thread *t, uint64_t set, uint8_t info[128])
{
	(void)t, (void)set, (void)info;
	return 0;
}

uint64_t WEAK signal_pending_anywhere(void)
{
	return 0;
}

int64_t WEAK signal_mask_for(struct thread *t, uint64_t app_set)
{
	(void)t, (void)app_set;
	return 0;
}

void WEAK signal_mask_back(struct thread *t)
{
	(void)t;
}
