/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <linux/mman.h>
#include "enclave/clock.h"
#include "enclave/mm.h"
#include "enclave/start.h"
#include "enclave/thread.h"

#define START_INFO_MAX (1u << 20)
#define ARGUMENTS_MAX 8192u

struct stack {
	uint64_t sp;
	uint64_t low;
	bool full;
};

static uint64_t push_bytes(struct stack *s, const void *data, uint64_t size)
{
	if (s->full || s->sp - s->low < size + 16) {
		s->full = true;
		return s->sp;
	}
	s->sp -= size;
	memcpy((void *)s->sp, data, size);
	return s->sp;
}

/* strings: argc + envc NUL terminated strings, checked. Returns the stack pointer for the entry point, 0 if full. */
static uint64_t lay_out_stack(uint64_t low, uint64_t top, const struct start_info *info, const char *strings)
{
	struct stack s = {top, low, false};
	uint8_t random[16];
	rt_random(random, sizeof random);
	uint64_t at_random = push_bytes(&s, random, sizeof random);
	uint64_t text = push_bytes(&s, strings, info->strings_size);
	s.sp &= ~15ull;

	const uint64_t aux[][2] = {
		{AT_PHDR, CONFIG->phdr}, {AT_PHENT, sizeof(Elf64_Phdr)}, {AT_PHNUM, CONFIG->phdr_count},
		{AT_PAGESZ, PAGE_SIZE},  {AT_ENTRY, CONFIG->entry},      {AT_RANDOM, at_random},
		{AT_UID, info->uid},     {AT_EUID, info->uid},           {AT_GID, info->gid},
		{AT_EGID, info->gid},    {AT_SECURE, 0},                 {AT_EXECFN, text},
		{AT_CLKTCK, 100},        {AT_NULL, 0},
	};
	uint64_t words = 1 + info->argc + 1 + info->envc + 1 + sizeof aux / 8;
	if (words & 1)
		s.sp -= 8;
	if (s.full || s.sp - s.low < words * 8 + 4096)
		return 0;
	s.sp -= words * 8;
	uint64_t *w = (uint64_t *)s.sp;
	*w++ = info->argc;
	for (uint32_t i = 0; i < info->argc + info->envc; i++) {
		if (i == info->argc)
			*w++ = 0;
		*w++ = text;
		text += strlen((const char *)text) + 1;
	}
	if (info->envc == 0)
		*w++ = 0;
	*w++ = 0;
	memcpy(w, aux, sizeof aux);
	marks_set(s.sp, top - s.sp);
	return s.sp;
}

static bool strings_ok(const struct start_info *info, const char *strings)
{
	if (info->argc == 0 || info->argc > ARGUMENTS_MAX || info->envc > ARGUMENTS_MAX ||
	    info->strings_size == 0 || strings[info->strings_size - 1] != 0)
		return false;
	uint32_t found = 0;
	for (uint32_t i = 0; i < info->strings_size; i++)
		found += strings[i] == 0;
	return found == info->argc + info->envc;
}

/* A process begins with its program's. */
static void name_thread(char name[16], const char *path)
{
	for (const char *p = path; *p; p++)
		if (*p == '/')
			path = p + 1;
	for (unsigned i = 0; i < 15 && path[i]; i++)
		name[i] = path[i];
}

static int start_with(const struct start_info *info, const char *strings)
{
	if (!strings_ok(info, strings))
		return -EINVAL;
	int rc = state_become_live();
	if (rc < 0)
		return rc;
	gate_set_tracing(info->flags & START_TRACE);
	int64_t low = mm_mmap(0, CONFIG->stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	if (low < 0)
		return (int)low;
	uint64_t top = (uint64_t)low + CONFIG->stack_size;
	mm_mprotect((uint64_t)low, PAGE_SIZE, PROT_NONE); /* guard */
	uint64_t sp = lay_out_stack((uint64_t)low, top, info, strings);
	if (!sp)
		return -E2BIG;
	struct thread *t;
	rc = thread_alloc(&t);
	if (rc < 0)
		return rc;
	t->ctx = (struct context){.kind = CONTEXT_ENTRY, .mxcsr = 0x1f80, .fcw = 0x37f, .rsp = sp, .stack_top = top,
		.call = {CONFIG->entry}, .tid = 1};
	if (info->argc)
		name_thread(t->ctx.name, strings);
	__atomic_store_n(&t->state, THREAD_READY, __ATOMIC_SEQ_CST);
	return 0;
}

int start_program(struct service_call *call)
{
	struct start_info info;
	if (call->in_size < sizeof info || call->in_size > START_INFO_MAX)
		return -EINVAL;
	host_copy_in(&info, call->in, sizeof info);
	if (info.strings_size > call->in_size - sizeof info)
		return -EINVAL;
	char *strings = rt_pages_alloc(info.strings_size + 1);
	if (!strings)
		return -ENOMEM;
	host_copy_in(strings, call->in + sizeof info, info.strings_size);
	int rc = start_with(&info, strings);
	rt_pages_free(strings, info.strings_size + 1);
	return rc;
}
