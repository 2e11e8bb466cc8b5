/* SPDX-License-Identifier: Apache-2.0
 *
 * A host thread that came to a free slot of a destination, and that its host
 * held on the way in until the program ran, does not get into the slot that the
 * program has meanwhile taken for a new thread of its own: it would run there
 * and not be counted. A slot nobody has taken it may wait in.
 */
#include <setjmp.h>
#include "enclave/thread.h"
#include "tests/check.h"
#include "tests/enclave/support.h"

#define SLOT (THREAD_SLOTS_SERVICE + 1)

static bool destination = true;
static void (*meanwhile)(void); /* once the entering thread has seen that this is a destination */
static jmp_buf out;
static enum { PARKED = 1, RESUMED, REFUSED } end;

void host_answer(struct thread *t, struct call_area *area)
{
	(void)t, (void)area;
}

bool state_is_destination(void)
{
	static unsigned looks;
	bool was = destination;

	if (was && ++looks % 2 == 0)
		meanwhile();
	return was;
}

_Noreturn void park(struct thread *t)
{
	(void)t;
	end = PARKED;
	longjmp(out, 1);
}

_Noreturn void thread_resume(struct thread *t)
{
	(void)t;
	end = RESUMED;
	longjmp(out, 1);
}

_Noreturn void final_exit(enum eexit how, uint64_t rsi, uint64_t rdx)
{
	(void)how, (void)rsi, (void)rdx;
	end = REFUSED;
	longjmp(out, 1);
}

static void enter(struct thread *t, bool of_destination, void (*in_between)(void))
{
	destination = of_destination;
	meanwhile = in_between;
	t->slot = SLOT;
	if (!setjmp(out))
		thread_enter(t, 0x7f0000000000, CALL_AREA_SIZE);
}

static void program_takes_it(void)
{
	struct thread *t;

	destination = false;
	do
		CHECK(thread_alloc(&t) == 0);
	while (t->slot != SLOT);
}

static void nothing(void)
{
}

int main(void)
{
	enclave_begin();
	struct thread *t = thread_of_slot(SLOT);

	enter(t, true, nothing);
	CHECK(end == PARKED && t->state == THREAD_STANDBY);
	thread_release(t);

	enter(t, true, program_takes_it);
	CHECK(end == REFUSED && t->state == THREAD_TAKEN);
	/* nor may anybody enter before its context is there */
	enter(t, true, nothing);
	CHECK(end == REFUSED && t->state == THREAD_TAKEN);

	t->state = THREAD_READY;
	enter(t, false, nothing);
	CHECK(end == RESUMED && t->state == THREAD_RUNNING);
	return 0;
}
