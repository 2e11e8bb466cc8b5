/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/migrate/model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "enclave/mm.h"
#include "enclave/session.h"

#define FIRST PAGESET_FIRST
#define END (FIRST + MODEL_PAGES)

static uint8_t mark[MODEL_PAGES];
struct session session;

/* ---- what enclave/source_pages.c stands on ---- */

void *rt_pages_alloc(size_t size)
{
	return calloc(1, size);
}

void rt_pages_free(void *p, size_t size)
{
	(void)size;
	free(p);
}

uint64_t mm_end_page(void)
{
	return END;
}

uint64_t mm_used_end(void)
{
	return END;
}

void mm_export_all(void)
{
}

size_t mm_export_max(void)
{
	return 1;
}

int blob_reserve(struct blob *b, size_t size)
{
	(void)b, (void)size;
	abort();
}

long mm_export(uint8_t *out, size_t capacity, uint64_t *live, uint64_t *anew)
{
	(void)out, (void)capacity;
	for (size_t i = 0; i < MODEL_PAGES / 64; i++)
		if (!live[i]) {
			live[i] = ~0ull;
			anew[i / 64] |= 1ull << (i % 64);
		}
	return 1;
}

uint64_t marks_look(uint64_t page, uint64_t pages[static 64])
{
	uint64_t blocks = 0;
	memset(pages, 0, 64 * sizeof(*pages));
	for (unsigned i = 0; i < CHUNK_PAGES && page + i < END; i++)
		if (mark[page + i - FIRST]) {
			pages[i / 64] |= 1ull << (i % 64);
			blocks |= 1ull << (i / 64);
		}
	return blocks;
}

uint64_t marks_take(uint64_t page, uint64_t count, uint64_t *bitmap)
{
	(void)bitmap; /* marks_look() has just said the same: nothing runs beside */
	memset(&mark[page - FIRST], 0, count);
	return 0;
}

unsigned tracking_begin(void)
{
	return 0;
}

unsigned stop_pending(void)
{
	return 0;
}

void stop_always_dirty(void (*add)(void *ctx, uint64_t page, uint64_t count), void *ctx)
{
	(void)add, (void)ctx;
}

/* ---- the model ---- */

void model_begin(void)
{
	struct source_pages *p = &session.pages;
	struct pageset *const all[] = {SOURCE_PAGESETS(p)};
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		pageset_free(all[i]);
	free(p->active);
	memset(&session, 0, sizeof(session));
	memset(mark, 0, sizeof(mark));
	/* a configuration that names no pages */
	if (mmap((void *)CONFIG_BASE, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	session.memory = (struct blob){.capacity = 1};
	if (source_pages_begin())
		abort();
}

void model_write(uint64_t page)
{
	mark[page] = 1;
}

int model_round(uint64_t kind, uint64_t most, uint64_t grow, uint64_t ret[4])
{
	struct service_call call = {.arg = {kind, most, grow}};
	session.stopping = kind == ROUND_FINAL;
	int rc = source_round(&call);
	memcpy(ret, call.ret, sizeof(call.ret));
	return rc;
}

void model_export(void)
{
	session.memory.done = session.memory.size;
}

/* As source_take_block() does, without records. */
struct model_sent model_send(void)
{
	struct source_pages *p = &session.pages;
	struct model_sent sent = {0, 0, 0};
	for (size_t i = 0; i < pageset_words(&p->pending); i++) {
		uint64_t pending = p->pending.word[i], leaving = pending & p->leaving.word[i], there = p->there.word[i];
		uint64_t content = pending & ~leaving;
		sent.taken_out += (uint64_t)__builtin_popcountll(leaving);
		sent.made += (uint64_t)__builtin_popcountll(content & ~there);
		sent.renewed += (uint64_t)__builtin_popcountll(content & there);
		p->there.word[i] = (there | content) & ~leaving;
		p->current.word[i] |= content;
		p->pending.word[i] = 0;
	}
	return sent;
}

uint64_t model_left(void)
{
	return source_left();
}
