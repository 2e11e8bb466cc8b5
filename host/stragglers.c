/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that are to stop and have not: which they are, what they do, and, where
 * the enclave may be looked into, in which of the program's functions.
 *
 * A thread that computes inside is interrupted; the processor then leaves its
 * registers in its SSA, where a debugger, and nobody else, may read them.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "host/enclave_private.h"
#include "host/image_symbols.h"
#include "host/ocall.h"
#include "host/system_calls.h"
#include "sgx/arch.h"

#define STRAGGLERS_MAX (sizeof(((struct stragglers *)0)->one) / sizeof(struct straggler))
#define PATIENCE_STEPS 20
#define STEP_NS (100 * 1000)

static void note_one(struct slot *s, unsigned index, struct straggler *out)
{
	const struct call_area *area = s->thread.area;

	*out = (struct straggler){.slot = index};
	if (!atomic_load(&s->outside)) {
		out->what = STRAGGLER_COMPUTES;
		if (!s->tid)
			return;
		out->kicks = atomic_load(s->kicks);
		/* As every kick: should it be outside by then, its call comes back as one that was cut short. */
		s->thread.kicked = 1;
		atomic_thread_fence(memory_order_seq_cst);
		syscall(SYS_tgkill, getpid(), s->tid, KICK_SIGNAL);
		return;
	}
	out->found = true;
	out->what = area->op == OCALL_SYSCALL ? STRAGGLER_CALLS : STRAGGLER_ASKS;
	out->number = area->op == OCALL_SYSCALL ? area->nr : area->op;
}

void enclave_stragglers_note(struct enclave *e, struct stragglers *out)
{
	out->count = 0;
	pthread_mutex_lock(&e->lock);
	for (unsigned i = THREAD_SLOTS_SERVICE; i < e->config.slot_count && out->count < STRAGGLERS_MAX; i++) {
		struct slot *s = &e->slot[i];

		if (s->state == SLOT_RUNNING && !atomic_load(&s->parked))
			note_one(s, i, &out->one[out->count++]);
	}
	pthread_mutex_unlock(&e->lock);
}

/* Of the frame that the interrupted code was saved to: the application's is the first. */
static uint64_t saved_instruction(const struct enclave *e, unsigned slot)
{
	uint64_t frame_end = slot_tcs(slot) - THREAD_TCS + THREAD_SSA + PAGE_SIZE, rip;
	uint64_t at = frame_end - sizeof(struct sgx_gprsgx) + offsetof(struct sgx_gprsgx, rip);

	return e->device.op.peek(at, &rip, sizeof(rip)) ? 0 : rip;
}

bool enclave_stragglers_find(struct enclave *e, struct stragglers *s)
{
	bool all = true;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < s->count; i++) {
		struct straggler *one = &s->one[i];
		const struct slot *slot = &e->slot[one->slot];

		if (one->found || slot->state != SLOT_RUNNING || !slot->tid)
			continue;
		one->found = atomic_load(slot->kicks) != one->kicks;
		if (one->found)
			one->instruction = saved_instruction(e, one->slot);
		all = all && one->found;
	}
	pthread_mutex_unlock(&e->lock);
	return all;
}

static int one_text(const struct straggler *one, const struct image *image, char *text, size_t size)
{
	char name[80];

	if (one->what == STRAGGLER_CALLS) {
		system_call_name(one->number, name);
		return snprintf(text, size, "slot %u is in %s", one->slot, name);
	}
	if (one->what == STRAGGLER_ASKS && one->number == OCALL_WAIT)
		return snprintf(text, size, "slot %u waits for another thread", one->slot);
	if (one->what == STRAGGLER_ASKS)
		return snprintf(text, size, "slot %u is in request %llu", one->slot, (unsigned long long)one->number);
	if (one->instruction && image && image_function(image, one->instruction, name, sizeof(name)))
		return snprintf(text, size, "slot %u computes in %s", one->slot, name);
	return snprintf(text, size, "slot %u computes", one->slot);
}

void enclave_stragglers_text(const struct enclave *e, const struct stragglers *s, char *text, size_t size)
{
	struct image image = {0};
	struct failure ignored;
	bool named = s->count && e->image_path && image_open(e->image_path, &image, &ignored) == 0;
	size_t used = 0;

	text[0] = 0;
	for (unsigned i = 0; i < s->count && used < size; i++) {
		if (i)
			used += (size_t)snprintf(text + used, size - used, ", ");
		if (used < size)
			used += (size_t)one_text(&s->one[i], named ? &image : NULL, text + used, size - used);
	}
	image_close(&image);
}

void enclave_stragglers(struct enclave *e, char *text, size_t size)
{
	struct stragglers s;

	enclave_stragglers_note(e, &s);
	for (unsigned i = 0; i < PATIENCE_STEPS && !enclave_stragglers_find(e, &s); i++)
		nanosleep(&(struct timespec){0, STEP_NS}, NULL);
	enclave_stragglers_text(e, &s, text, size);
}
