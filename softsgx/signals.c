/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/signals.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define SIGNALS 65
#define FIRST_HIDDEN 32 /* of pthread_cancel() and setxid(): the C library refuses them to programs */
#define LAST_HIDDEN 33
#define SA_RESTORER_FLAG 0x04000000ul
#define RED_ZONE 128
#define MINSIGSTKSZ_KERNEL 2048
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1 << 31)
#endif
#define XSTATE_MAGIC1 0x46505853u
#define RFLAGS_DF_TF_RF (0x400ull | 0x100ull | 0x10000ull)
#define KERNEL_UCONTEXT_SIZE 304 /* its signal mask is one word, the C library's is 128 bytes */
#define KERNEL_SIGINFO_SIZE 128

struct kernel_action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

extern char softsgx_signal[], softsgx_restorer[];

/* What the program wants; ours[] says which of them come to us first. */
static struct kernel_action program[SIGNALS];
static uint8_t ours[SIGNALS];
static struct lock actions_lock;
static int32_t owner; /* whose they are: not of a child of vfork(), which borrows our memory */

static const int always_ours[] = {SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGSYS};

static long set_action(int signal, const struct kernel_action *action, struct kernel_action *old)
{
	return SYS(SYS_rt_sigaction, signal, action, old, sizeof(uint64_t));
}

/* Our handler, with those of the program's flags that act on the kernel's side of the call. */
static struct kernel_action our_action(uint64_t program_flags)
{
	const uint64_t kept = SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT;

	return (struct kernel_action){.handler = (uint64_t)softsgx_signal,
				      .flags =
					  (program_flags & kept) | SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG,
				      .restorer = (uint64_t)softsgx_restorer,
				      .mask = ~0ull};
}

static uint64_t traps_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < sizeof(always_ours) / sizeof(always_ours[0]); i++)
		mask |= 1ull << (always_ours[i] - 1);
	return mask;
}

static int is_always_ours(int signal)
{
	for (size_t i = 0; i < sizeof(always_ours) / sizeof(always_ours[0]); i++)
		if (always_ours[i] == signal)
			return 1;
	return 0;
}

static void action_from_program(const struct sigaction *from, struct kernel_action *to)
{
	to->handler = (uint64_t)from->sa_handler;
	to->flags = (uint64_t)(unsigned int)from->sa_flags | SA_RESTORER_FLAG;
	to->restorer = (uint64_t)softsgx_restorer;
	memcpy(&to->mask, &from->sa_mask, sizeof(to->mask));
	to->mask &= ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1));
}

static void action_to_program(const struct kernel_action *from, struct sigaction *to)
{
	memset(to, 0, sizeof(*to));
	to->sa_handler = (void (*)(int))from->handler;
	to->sa_flags = (int)(from->flags & ~SA_RESTORER_FLAG);
	memcpy(&to->sa_mask, &from->mask, sizeof(from->mask));
}

static int change_action(int signal, const struct kernel_action *wanted)
{
	struct kernel_action real = *wanted;
	int handled = wanted->handler != (uint64_t)SIG_DFL && wanted->handler != (uint64_t)SIG_IGN;

	if (handled || is_always_ours(signal)) {
		real = our_action(wanted->flags);
	} else {
		real.flags |= SA_RESTORER_FLAG;
		real.restorer = (uint64_t)softsgx_restorer;
	}
	program[signal] = *wanted;
	ours[signal] = handled || is_always_ours(signal);
	return (int)set_action(signal, &real, NULL);
}

static int active;

int signals_active(void)
{
	return active;
}

int signals_wait(uint64_t blocked)
{
	uint64_t pending = 0;

	SYS(SYS_rt_sigpending, &pending, sizeof(pending));
	pending &= ~blocked;
	for (int signal = 1; pending && signal < SIGNALS; signal++)
		if ((pending >> (signal - 1) & 1) && ours[signal])
			return 1;
	return pending & (1ull << (SIGKILL - 1) | 1ull << (SIGTERM - 1) | 1ull << (SIGINT - 1)) ? 1 : 0;
}

static void forked(void)
{
	actions_lock = (struct lock){0};
	owner = (int32_t)SYS(SYS_getpid);
}

/* Handlers that the program has already go through us from now on. */
int signals_init(void)
{
	uint64_t traps = traps_mask();

	if (active)
		return 0;
	for (int signal = 1; signal < SIGNALS; signal++) {
		struct kernel_action now;

		if (signal == SIGKILL || signal == SIGSTOP || set_action(signal, NULL, &now))
			continue;
		if (change_action(signal, &now) && is_always_ours(signal))
			return -EINVAL;
	}
	SYS(SYS_rt_sigprocmask, SIG_UNBLOCK, &traps, NULL, sizeof(traps));
	pthread_atfork(NULL, NULL, forked);
	owner = (int32_t)SYS(SYS_getpid);
	active = 1;
	return 0;
}

void signals_adopt_hidden(void)
{
	for (int signal = FIRST_HIDDEN; signal <= LAST_HIDDEN; signal++) {
		struct kernel_action now;

		if (!set_action(signal, NULL, &now) && now.handler != (uint64_t)softsgx_signal)
			change_action(signal, &now);
	}
}

void signals_keep_ours(sigset_t *set)
{
	for (size_t i = 0; i < sizeof(always_ours) / sizeof(always_ours[0]); i++)
		sigdelset(set, always_ours[i]);
}

int softsgx_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
	struct kernel_action wanted, was, now = {0};
	uint64_t mask;
	int error = 0;

	if (signal < 1 || signal >= SIGNALS || (action && (signal == SIGKILL || signal == SIGSTOP)) ||
	    (signal >= FIRST_HIDDEN && signal <= LAST_HIDDEN))
		return -EINVAL;
	mask = signals_off();
	lock_take(&actions_lock);
	set_action(signal, NULL, &now);
	was = now.handler == (uint64_t)softsgx_signal ? program[signal] : now;
	if (action) {
		action_from_program(action, &wanted);
		error = owner == (int32_t)SYS(SYS_getpid) ? change_action(signal, &wanted)
							  : (int)set_action(signal, &wanted, NULL);
	}
	lock_drop(&actions_lock);
	signals_restore(mask);
	if (!error && old)
		action_to_program(&was, old);
	return error;
}

/* The default action, by the kernel's own hand: the signal comes again when we return. */
static void take_default(int signal, const siginfo_t *info, uint64_t *mask)
{
	struct kernel_action action = {
	    .handler = (uint64_t)SIG_DFL, .flags = SA_RESTORER_FLAG, .restorer = (uint64_t)softsgx_restorer};
	siginfo_t copy = *info;

	set_action(signal, &action, NULL);
	SYS(SYS_rt_tgsigqueueinfo, SYS(SYS_getpid), SYS(SYS_gettid), signal, &copy);
	if (info->si_code > 0)
		*mask &= ~(1ull << (signal - 1)); /* a fault cannot be blocked */
}

static int on_stack(const stack_t *stack, uint64_t sp)
{
	return !(stack->ss_flags & SS_DISABLE) && sp - (uint64_t)stack->ss_sp < stack->ss_size;
}

/* Where the kernel would have put the handler's frame. */
static uint64_t frame_top(const struct kernel_action *action, const ucontext_t *context, struct thread *t)
{
	const stack_t *stack = t ? &t->program_stack : &context->uc_stack;
	uint64_t sp = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
	uint64_t here = (uint64_t)__builtin_frame_address(0);

	if (!(action->flags & SA_ONSTACK) || (stack->ss_flags & SS_DISABLE) || !stack->ss_size ||
	    on_stack(stack, sp))
		sp -= RED_ZONE;
	else
		sp = (uint64_t)stack->ss_sp + stack->ss_size;
	/* A thread without a record is served on the program's own stack: stay below ourselves. */
	if (here < sp && sp - here < 0x10000 && !t)
		sp = here - 0x1000;
	return sp;
}

int signals_altstack(const stack_t *stack, stack_t *old)
{
	stack_t *mine = &softsgx_self->program_stack;
	uint64_t sp = (uint64_t)__builtin_frame_address(0);

	if (old) {
		*old = *mine;
		old->ss_flags =
		    !mine->ss_size ? SS_DISABLE : mine->ss_flags | (on_stack(mine, sp) ? SS_ONSTACK : 0);
	}
	if (!stack)
		return 0;
	if (on_stack(mine, sp))
		return -EPERM;
	if (stack->ss_flags & ~(SS_DISABLE | SS_AUTODISARM | SS_ONSTACK))
		return -EINVAL;
	if (!(stack->ss_flags & SS_DISABLE) && stack->ss_size < MINSIGSTKSZ_KERNEL)
		return -ENOMEM;
	*mine = *stack;
	mine->ss_flags &= ~SS_ONSTACK;
	if (stack->ss_flags & SS_DISABLE)
		*mine = (stack_t){.ss_flags = SS_DISABLE};
	return 0;
}

struct frame {
	uint64_t restorer;
	uint8_t context[KERNEL_UCONTEXT_SIZE];
	uint8_t info[KERNEL_SIGINFO_SIZE];
};

static size_t state_size(const uint8_t *area)
{
	uint32_t magic, extended;

	memcpy(&magic, area + 464, sizeof(magic));
	memcpy(&extended, area + 468, sizeof(extended));
	return magic == XSTATE_MAGIC1 ? extended : 512;
}

void signals_deliver(int signal, const siginfo_t *info, ucontext_t *context, struct thread *t)
{
	struct kernel_action action = program[signal];
	greg_t *g = context->uc_mcontext.gregs;
	uint8_t *area = (uint8_t *)context->uc_mcontext.fpregs, *area_copy;
	struct frame *frame;
	uint64_t sp, *mask = (uint64_t *)&context->uc_sigmask, blocked = *mask;

	if (action.handler == (uint64_t)SIG_IGN && info->si_code <= 0)
		return;
	if (action.handler == (uint64_t)SIG_DFL || action.handler == (uint64_t)SIG_IGN) {
		take_default(signal, info, mask);
		return;
	}
	if (action.flags & SA_RESETHAND)
		program[signal].handler = (uint64_t)SIG_DFL;

	sp = frame_top(&action, context, t);
	area_copy = (uint8_t *)((sp - state_size(area)) & ~63ull);
	frame = (struct frame *)((((uint64_t)area_copy - sizeof(*frame)) & ~15ull) - 8);
	memcpy(area_copy, area, state_size(area));
	memcpy(frame->context, context, sizeof(frame->context));
	memcpy(frame->info, info, sizeof(frame->info));
	((ucontext_t *)(void *)frame->context)->uc_mcontext.fpregs = (void *)area_copy;
	frame->restorer = action.flags & SA_RESTORER_FLAG ? action.restorer : (uint64_t)softsgx_restorer;

	blocked |= action.mask;
	if (!(action.flags & SA_NODEFER))
		blocked |= 1ull << (signal - 1);
	*mask = blocked & ~traps_mask();
	g[REG_RSP] = (greg_t)frame;
	g[REG_RIP] = (greg_t)action.handler;
	g[REG_RDI] = signal;
	g[REG_RSI] = (greg_t)frame->info;
	g[REG_RDX] = (greg_t)frame->context;
	g[REG_RAX] = 0;
	g[REG_EFL] &= ~(greg_t)RFLAGS_DF_TF_RF;
}
