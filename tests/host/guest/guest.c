/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include "abi/call.h"
#include "abi/layout.h"
#include "sgx/arch.h"
#include "tests/host/guest/guest.h"

long guest_step(long ecall, uint64_t argument, uint64_t record);

static struct guest_slot {
	atomic_ulong mode, mode_argument;
	atomic_ulong count, interrupted, parked;
	struct call_area *area;
	int asked; /* what the last request was; 0 none */
	int turn;
} slots[GUEST_SLOTS];
static atomic_ulong stop;

static long ask(struct guest_slot *s, uint32_t op, uint64_t argument)
{
	s->asked = op;
	s->area->op = op;
	s->area->arg[0] = argument;
	s->area->interrupted = 0;
	return EEXIT_OCALL;
}

static void answer_take(struct guest_slot *s)
{
	if (s->asked == OCALL_PARK)
		s->parked = 0;
	else if (s->asked && s->area->interrupted)
		s->interrupted++;
	s->asked = 0;
}

static long next_request(struct guest_slot *s)
{
	if (atomic_load(&stop)) {
		s->parked = 1;
		return ask(s, OCALL_PARK, 0);
	}
	s->count++;
	switch (s->mode) {
	case GUEST_WAIT:
		return ask(s, OCALL_WAIT, ~0ull);
	case GUEST_PING:
		s->turn = !s->turn;
		return s->turn ? ask(s, OCALL_WAKE, s->mode_argument) : ask(s, OCALL_WAIT, ~0ull);
	case GUEST_READ:
		s->area->nr = 0; /* read */
		s->area->arg[1] = (uint64_t)s->area->data;
		s->area->arg[2] = 1;
		return ask(s, OCALL_SYSCALL, s->mode_argument);
	case GUEST_SPIN:
		while (s->mode == GUEST_SPIN)
			;
		return EEXIT_DONE;
	case GUEST_FAULT:
		__asm__ volatile("ud2");
		return EEXIT_DONE;
	case GUEST_EXIT:
		return ask(s, OCALL_EXIT, s->mode_argument);
	case GUEST_CREATE:
		s->mode = GUEST_DONE;
		return ask(s, OCALL_THREAD_CREATE, s->mode_argument);
	default:
		return EEXIT_DONE;
	}
}

/* A wait that was cut short is asked again: its turn was not over. */
static long continue_request(struct guest_slot *s)
{
	int again = s->mode == GUEST_PING && s->asked == OCALL_WAIT && s->area->interrupted;

	answer_take(s);
	if (again)
		s->turn = !s->turn;
	return next_request(s);
}

static long service(struct service_call *call)
{
	struct guest_slot *s = &slots[call->arg[0] % GUEST_SLOTS];

	call->result = 0;
	switch (call->op) {
	case GUEST_MODE:
		s->mode_argument = call->arg[2];
		s->mode = call->arg[1];
		break;
	case GUEST_COUNT:
		call->ret[0] = s->count;
		call->ret[1] = s->interrupted;
		call->ret[2] = s->parked;
		break;
	case GUEST_STOP:
		atomic_store(&stop, call->arg[0]);
		break;
	}
	return EEXIT_DONE;
}

/* Steps over the two bytes of ud2, in the frame the processor saved. */
static long repair(uint64_t record)
{
	uint64_t frame = record - THREAD_RECORD + THREAD_SSA;
	struct sgx_gprsgx *registers = (struct sgx_gprsgx *)(frame + PAGE_SIZE - sizeof(*registers));

	if (SGX_EXITINFO_VECTOR(registers->exitinfo) != 6 || !SGX_EXITINFO_VALID(registers->exitinfo))
		return EEXIT_FATAL;
	registers->rip += 2;
	return EEXIT_RESUME;
}

long guest_step(long ecall, uint64_t argument, uint64_t record)
{
	struct guest_slot *s = &slots[(record - THREADS_BASE) / THREAD_STRIDE % GUEST_SLOTS];

	switch (ecall) {
	case ECALL_SERVICE:
		return service((struct service_call *)argument);
	case ECALL_FAULT:
		return repair(record);
	case ECALL_THREAD:
		s->area = (struct call_area *)argument;
		return next_request(s);
	default:
		return continue_request(s);
	}
}
