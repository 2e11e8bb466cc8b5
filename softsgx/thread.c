/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include "softsgx/cpuid.h"
#include "softsgx/illegal.h"
#include "softsgx/signals.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif
#define RESTORER_SIZE 8
#define INTERRUPT_SIGNAL SIGSYS /* ours already, and hardly ever sent */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

extern const char softsgx_restorer[];

__thread struct thread *softsgx_self;
/* Read by entry.S to tell whether a signal arrived on one of our stacks. */
char *softsgx_slots __attribute__((visibility("hidden")));

static struct lock slots_lock;
static unsigned int slots_used; /* slots below this have been made accessible */
static pthread_key_t exit_key;
static uint32_t interrupting; /* calls of threads_interrupt() in progress */

static struct thread *slot_record(unsigned int i)
{
	return (struct thread *)(softsgx_slots + (size_t)i * SLOT_SIZE + SLOT_RECORD);
}

static void thread_exited(void *record)
{
	struct thread *t = record;
	stack_t none = t->program_stack;
	uint64_t mask = signals_off();

	SYS(SYS_sigaltstack, &none, 0);
	SYS(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
	softsgx_self = NULL;
	illegal_disarm(t);
	lock_take(&slots_lock);
	*t = (struct thread){0};
	lock_drop(&slots_lock);
	signals_restore(mask);
}

/* Inside an enclave SYSCALL is #UD: the kernel turns it into SIGSYS while the selector says so, except for
 * the return from our own handlers. Without the kernel's help (Linux 5.11) system calls from inside go
 * through. */
static void block_system_calls(struct thread *t)
{
	SYS(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, softsgx_restorer, RESTORER_SIZE,
	    &t->selector);
}

/* Only the forking thread lives on. */
static void forked(void)
{
	slots_lock = (struct lock){0};
	illegal_forked();
	for (unsigned int i = 0; i < slots_used; i++) {
		illegal_disarm(slot_record(i));
		if (slot_record(i) != softsgx_self)
			*slot_record(i) = (struct thread){0};
	}
	if (!softsgx_self)
		return;
	softsgx_self->tid = (int32_t)SYS(SYS_gettid);
	block_system_calls(softsgx_self);
}

int thread_init(void)
{
	void *slots = sys_mmap(NULL, (size_t)(SLOTS_MAX + 1) * SLOT_SIZE, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (sys_failed(slots))
		return -ENOMEM;
	softsgx_slots = (char *)(((uintptr_t)slots + SLOT_SIZE - 1) & ~(uintptr_t)(SLOT_SIZE - 1));
	if (pthread_key_create(&exit_key, thread_exited))
		return -EAGAIN;
	pthread_atfork(NULL, NULL, forked);
	return 0;
}

static struct thread *slot_take(void)
{
	struct thread *t = NULL;

	lock_take(&slots_lock);
	for (unsigned int i = 0; i < slots_used && !t; i++)
		if (!slot_record(i)->used)
			t = slot_record(i);
	if (!t && slots_used < SLOTS_MAX) {
		char *slot = softsgx_slots + (size_t)slots_used * SLOT_SIZE;

		if (!SYS(SYS_mprotect, slot + SLOT_STACK, SLOT_SIZE - SLOT_STACK, PROT_READ | PROT_WRITE))
			t = slot_record(slots_used++);
	}
	if (t)
		t->used = 1;
	lock_drop(&slots_lock);
	return t;
}

struct thread *thread_register(const stack_t *previous)
{
	struct thread *t = slot_take();

	if (!t)
		return NULL;
	t->program_stack = *previous;
	t->program_stack.ss_flags &= ~SS_ONSTACK;
	t->tid = (int32_t)SYS(SYS_gettid);
	softsgx_self = t;
	signals_adopt_hidden();
	cpuid_fault_start();
	block_system_calls(t);
	pthread_setspecific(exit_key, t);
	return t;
}

int thread_is_inside(const struct enclave *e)
{
	for (unsigned int i = 0; i < slots_used; i++) {
		const struct thread *t = slot_record(i);

		if (__atomic_load_n(&t->inside, __ATOMIC_ACQUIRE) && t->enclave == e)
			return 1;
	}
	return 0;
}

void thread_left(struct thread *t)
{
	t->inside = 0;
	__atomic_add_fetch(&t->exits, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&interrupting, __ATOMIC_SEQ_CST))
		SYS(SYS_futex, &t->exits, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
}

int thread_is_interrupt(const siginfo_t *info)
{
	/* Of one for which RLIMIT_SIGPENDING left no room the kernel tells nothing, not even a sender. */
	if (info->si_signo == INTERRUPT_SIGNAL && info->si_code == SI_USER && !info->si_pid)
		return 1;
	return info->si_signo == INTERRUPT_SIGNAL && info->si_code == SI_QUEUE &&
	       info->si_ptr == &interrupting;
}

/* Not for ever: a debugger may hold the thread, and its page table entries are gone in any case. */
static void await_exit(const struct thread *t, const struct enclave *e)
{
	const struct timespec slice = {.tv_nsec = 10000000};

	for (int i = 0; i < 100; i++) {
		if (!__atomic_load_n(&t->inside, __ATOMIC_SEQ_CST) || t->enclave != e ||
		    __atomic_load_n(&t->exits, __ATOMIC_SEQ_CST) != t->awaited_exits)
			return;
		SYS(SYS_futex, &t->exits, FUTEX_WAIT, t->awaited_exits, &slice, 0, 0);
	}
}

void threads_interrupt(const struct enclave *e)
{
	siginfo_t info = {.si_signo = INTERRUPT_SIGNAL, .si_code = SI_QUEUE};
	unsigned int count = __atomic_load_n(&slots_used, __ATOMIC_ACQUIRE);

	info.si_ptr = &interrupting;
	__atomic_add_fetch(&interrupting, 1, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < count; i++) {
		struct thread *t = slot_record(i);
		uint32_t exits = __atomic_load_n(&t->exits, __ATOMIC_SEQ_CST);

		/* Who waits for another enclave's exit goes on waiting. */
		if (t->awaited == e)
			t->awaited = NULL;
		if (!__atomic_load_n(&t->inside, __ATOMIC_SEQ_CST) || t->enclave != e)
			continue;
		t->awaited = e;
		t->awaited_exits = exits;
		SYS(SYS_rt_tgsigqueueinfo, SYS(SYS_getpid), t->tid, INTERRUPT_SIGNAL, &info);
	}
	for (unsigned int i = 0; i < count; i++)
		if (slot_record(i)->awaited == e)
			await_exit(slot_record(i), e);
	__atomic_sub_fetch(&interrupting, 1, __ATOMIC_SEQ_CST);
}

stack_t thread_stack(struct thread *t)
{
	char *slot = (char *)t - SLOT_RECORD;

	/* Disarmed while in use: the kernel then never takes an enclave's RSP for a place on it. */
	return (stack_t){
	    .ss_sp = slot + SLOT_STACK, .ss_size = SLOT_RECORD - SLOT_STACK, .ss_flags = (int)SS_AUTODISARM};
}

void softsgx_prepare_thread(void)
{
	const uint64_t traps = 1ull << (SIGSEGV - 1) | 1ull << (SIGILL - 1) | 1ull << (SIGBUS - 1) |
			       1ull << (SIGFPE - 1) | 1ull << (SIGTRAP - 1) | 1ull << (SIGSYS - 1);
	uint64_t mask;
	stack_t now, ours;
	struct thread *t;

	if (!softsgx_slots)
		return;
	mask = signals_off();
	/* On an alternate stack already, it cannot be changed: the entry will fault. */
	if (!SYS(SYS_sigaltstack, NULL, &now) && !(now.ss_flags & SS_ONSTACK)) {
		t = thread_register(&now);
		if (t) {
			ours = thread_stack(t);
			SYS(SYS_sigaltstack, &ours, NULL);
		}
	}
	signals_restore(mask & ~traps);
}
