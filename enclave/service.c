/* SPDX-License-Identifier: Apache-2.0
 *
 * Fresh entries: the first thing that happens in the enclave, and what the host
 * may ask of the runtime.
 */
#include <elf.h>
#include <errno.h>
#include <linux/mman.h>
#include "enclave/clock.h"
#include "enclave/entry.h"
#include "enclave/inspect.h"
#include "enclave/leaf.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/signal.h"
#include "enclave/signalfd.h"
#include "enclave/spin.h"
#include "enclave/start.h"
#include "enclave/thread.h"
#include "enclave/timer.h"

extern uint64_t xstate_mask;

static struct spin init_lock;
static uint32_t initialised;

/* Once, by whoever comes first: nothing was measured but the image and the config page. */
static void init_once(void)
{
	if (__atomic_load_n(&initialised, __ATOMIC_ACQUIRE))
		return;
	spin_lock(&init_lock);
	if (!initialised) {
		xstate_mask = CONFIG->xfrm;
		mm_init();
		__atomic_store_n(&initialised, 1, __ATOMIC_RELEASE);
	}
	spin_unlock(&init_lock);
}

static int service_clock(struct service_call *c)
{
	if (!host_range_ok(c->arg[0], sizeof(struct time_page)))
		return -EFAULT;
	return clock_init(c->arg[0]);
}

static int service_stats(struct service_call *c)
{
	struct runtime_stats s = {0};
	mm_counts(&s.pages_accepted, &s.pages_mapped);
	s.pages_deferred = mm_deferred();
	s.threads = threads_alive();
	s.faults = fault_count();
	if (c->out_size < sizeof s)
		return -ENOSPC;
	host_copy_out(c->out, &s, sizeof s);
	c->out_size = sizeof s;
	return 0;
}

static int service(struct service_call *c)
{
	switch (c->op) {
	case SERVICE_START:
		return start_program(c);
	case SERVICE_SIGNAL: {
		int64_t slot = signal_process((int)c->arg[0], true);
		c->ret[0] = slot < 0 ? ~0ull : (uint64_t)slot;
		c->ret[1] = signalfd_due();
		return slot == -EINVAL ? -EINVAL : 0;
	}
	case SERVICE_TIMERS: {
		int64_t slot;
		c->ret[1] = timers_look(&slot, &c->ret[2]);
		c->ret[0] = slot < 0 ? ~0ull : (uint64_t)slot;
		uint64_t bells = c->out_size < 8 ? 0 : signalfd_due();
		if (c->out_size >= 8)
			host_copy_out(c->out, &bells, c->out_size = 8);
		return 0;
	}
	case SERVICE_CLOCK:
		return service_clock(c);
	case SERVICE_STATS:
		return service_stats(c);
	case SERVICE_INSPECT_STOP:
	case SERVICE_INSPECT_PENDING:
	case SERVICE_INSPECT_DIRTY:
	case SERVICE_INSPECT_GO:
		return inspect_service(c);
	default:
		return c->op >= SERVICE_MIGRATE_FIRST ? migrate_service(c) : -ENOSYS;
	}
}

static _Noreturn void service_enter(struct thread *t, uint64_t u_call)
{
	struct service_call c;
	if (t->slot >= THREAD_SLOTS_SERVICE || !host_range_ok(u_call, sizeof c))
		final_exit(EEXIT_FATAL, FATAL_BAD_ENTRY, 0);
	host_copy_in(&c, u_call, sizeof c);
	if (!host_range_ok(c.in, c.in_size) && c.in_size)
		c.result = -EFAULT;
	else if (!host_range_ok(c.out, c.out_size) && c.out_size)
		c.result = -EFAULT;
	else
		c.result = service(&c);
	if (c.result < 0)
		c.out_size = 0;
	host_copy_out(u_call, &c, sizeof c);
	final_exit(EEXIT_DONE, 0, 0);
}

/* From entry.S: a fresh entry of this thread's slot. */
_Noreturn void entry_c(struct thread *t, uint64_t op, uint64_t rsi, uint64_t rdx)
{
	init_once();
	if (rt_dead())
		final_exit(EEXIT_FATAL, rt_dead(), 0);
	if (t->canary == 0)
		rt_random(&t->canary, sizeof t->canary);
	if (op == ECALL_THREAD)
		thread_enter(t, rsi, rdx);
	if (op == ECALL_SERVICE)
		service_enter(t, rsi);
	final_exit(EEXIT_FATAL, FATAL_BAD_ENTRY, 0);
}
