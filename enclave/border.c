/* SPDX-License-Identifier: Apache-2.0
 *
 * Host memory as seen from inside.
 */
#include "enclave/rt.h"
#include "enclave/ocall.h"
#include "enclave/thread.h"

#define USER_END 0x7ffffffff000ull

bool host_range_ok(uint64_t addr, uint64_t size)
{
	return addr >= CONFIG->elrange_size && addr < USER_END && size <= USER_END - addr;
}

void host_copy_in(void *dst, uint64_t u_src, size_t size)
{
	memcpy(dst, (const void *)u_src, size);
}

void host_copy_out(uint64_t u_dst, const void *src, size_t size)
{
	memcpy((void *)u_dst, src, size);
}

#define AREA(t) ((volatile struct call_area *)(t)->area)

uint64_t area_data(struct thread *t)
{
	return t->area + offsetof(struct call_area, data);
}

int64_t ocall(struct thread *t, enum ocall op, uint64_t nr, const uint64_t arg[6], bool *interrupted)
{
	volatile struct call_area *area = AREA(t);
	area->op = op;
	area->nr = nr;
	for (int i = 0; i < 6; i++)
		area->arg[i] = arg[i];
	area->interrupted = 0;
	ocall_exit(EEXIT_OCALL, 0, 0);
	/* Another thread may have found the enclave attacked: then nobody goes on. */
	if (rt_dead())
		final_exit(EEXIT_FATAL, rt_dead(), 0);
	/* The host may have come back with another area in mind; ours is fixed. */
	int64_t result = area->result;
	if (interrupted)
		*interrupted = area->interrupted != 0;
	return result;
}

int64_t ocall1(struct thread *t, enum ocall op, uint64_t arg0)
{
	return ocall(t, op, 0, (const uint64_t[6]){arg0}, NULL);
}

/* Puts text where the host reads it; long text is cut. */
static size_t area_text(struct thread *t, const char *text)
{
	size_t n = strlen(text);
	if (n > 1000)
		n = 1000;
	host_copy_out(area_data(t), text, n);
	return n;
}

void rt_trace(uint64_t nr, bool unknown)
{
	struct thread *t = thread_self();
	if (t->area)
		ocall(t, OCALL_TRACE, 0, (const uint64_t[6]){nr, unknown}, NULL);
}

static uint64_t dead; /* every later entry learns it */

uint64_t rt_dead(void)
{
	return __atomic_load_n(&dead, __ATOMIC_ACQUIRE);
}

void rt_set_dead(uint64_t why)
{
	uint64_t none = FATAL_NONE;
	__atomic_compare_exchange_n(&dead, &none, why, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

_Noreturn void rt_die(enum fatal why, const char *text)
{
	struct thread *t = thread_self();
	rt_set_dead(why);
	if (t->area) {
		volatile struct call_area *area = AREA(t);
		area->op = OCALL_DIE;
		area->arg[1] = area_text(t, text);
		area->arg[0] = why;
		final_exit(EEXIT_OCALL, 0, 0);
	}
	final_exit(EEXIT_FATAL, why, 0);
}
