/* SPDX-License-Identifier: Apache-2.0
 *
 * The runtime the trusted half stands on, made up: application memory at its
 * real address in this process, everything else as simple as it can be. Serves
 * side_call() on a socket until that closes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include "enclave/attest.h"
#include "enclave/clock.h"
#include "enclave/rt.h"
#include "enclave/session.h"
#include "tests/migrate/pair.h"
#include "tests/migrate/fake_runtime.h"

static struct identity self;
/* The root is one made for the test; the symbol is the real one's, which the header calls constant. */
uint8_t test_root_key[64] __asm__("softsgx_root_public_key");
static uint8_t state[PAIR_PAGES], mark[PAIR_PAGES], always[PAIR_PAGES];
static uint64_t deferred;
static char threads[4096];
static size_t threads_size;
static unsigned busy;
static enum { FRESH, LIVE, DESTINATION, COMMITTED } phase;
static bool stopping;

/* ---- border, memory, random ---- */
void host_copy_in(void *dst, uint64_t u_src, size_t size)
{
	memcpy(dst, (const void *)u_src, size);
}

static struct service_call meanwhile;
static uint8_t meanwhile_out[RECORD_SIZE_MAX];

void host_copy_out(uint64_t u_dst, const void *src, size_t size)
{
	if (meanwhile.op) {
		struct service_call call = meanwhile;
		meanwhile.op = 0;
		meanwhile.result = migrate_service(&call);
	}
	memcpy((void *)u_dst, src, size);
}

void rt_random(void *out, size_t size)
{
	if (getrandom(out, size, 0) != (ssize_t)size)
		abort();
}

void rt_die(enum fatal why, const char *text)
{
	fprintf(stderr, "rt_die(%d): %s\n", why, text);
	abort();
}

void *rt_pages_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void rt_pages_free(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

void rt_wipe(void *p, size_t size)
{
	explicit_bzero(p, size);
}

int rt_memcmp_ct(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size);
}

void attest_report(const struct sgx_targetinfo *target, const uint8_t data[static 64],
		   struct sgx_report *report)
{
	memset(report, 0, sizeof(*report));
	memset(report->mrenclave, self.mrenclave, sizeof(report->mrenclave));
	memset(report->mrsigner, self.mrsigner, sizeof(report->mrsigner));
	report->attributes.flags = self.attributes;
	report->attributes.xfrm = self.xfrm;
	memcpy(report->reportdata, data, 64);
}

/* ---- pages ---- */
uint8_t mm_state(uint64_t page)
{
	return page - PAIR_FIRST < PAIR_PAGES ? state[page - PAIR_FIRST] : 0;
}

uint64_t mm_next_live(uint64_t page, uint64_t end)
{
	while (page < end && (mm_state(page) & (PG_ACCEPTED | PG_MAPPED)) != (PG_ACCEPTED | PG_MAPPED))
		page++;
	return page;
}

uint64_t mm_used_end(void)
{
	return PAIR_FIRST + PAIR_PAGES;
}

uint64_t mm_end_page(void)
{
	return PAIR_FIRST + PAIR_PAGES;
}

static void exists(uint64_t page)
{
	deferred -= (state[page - PAIR_FIRST] & PG_DEFERRED) != 0;
	state[page - PAIR_FIRST] |= PG_ACCEPTED;
	state[page - PAIR_FIRST] &= (uint8_t)~PG_DEFERRED;
}

void mm_touch_image(void)
{
}

int mm_install(uint64_t page, const void *content)
{
	void *at = (void *)(page << PAGE_SHIFT);
	exists(page);
	if (content)
		memcpy(at, content, PAGE_SIZE);
	else
		memset(at, 0, PAGE_SIZE);
	return 0;
}

int mm_make_room(uint64_t page)
{
	exists(page);
	return 0;
}

int mm_take_out(uint64_t page)
{
	deferred += !(state[page - PAIR_FIRST] & PG_DEFERRED);
	state[page - PAIR_FIRST] = (uint8_t)((state[page - PAIR_FIRST] & ~PG_ACCEPTED) | PG_DEFERRED);
	return 0;
}

int mm_arrive(uint64_t page, const void *content)
{
	if (!(state[page - PAIR_FIRST] & PG_DEFERRED))
		return 0;
	mm_install(page, content);
	return 1;
}

uint64_t mm_deferred(void)
{
	return deferred;
}

bool mm_movable(uint64_t page)
{
	return page - PAIR_FIRST < PAIR_PAGES;
}

static uint8_t told[PAIR_PAGES];
static bool told_nothing = true;

void mm_export_all(void)
{
	told_nothing = true;
}

size_t mm_export_max(void)
{
	return sizeof(state);
}

long mm_export(uint8_t *out, size_t capacity, uint64_t *live, uint64_t *anew)
{
	memcpy(out, state, sizeof(state));
	memset(live, 0, PAIR_PAGES / 8);
	if (told_nothing || memcmp(told, state, sizeof(state)) != 0)
		anew[0] = ~0ull;
	memcpy(told, state, sizeof(state));
	told_nothing = false;
	for (unsigned i = 0; i < PAIR_PAGES; i++)
		if ((state[i] & PG_ACCEPTED) && (state[i] & PG_MAPPED))
			live[i / 64] |= 1ull << (i % 64);
	return sizeof(state);
}

int mm_import(const uint8_t *in, size_t size)
{
	if (size != sizeof(state))
		return -EBADMSG;
	for (unsigned i = 0; i < PAIR_PAGES; i++) {
		bool lives = (in[i] & PG_ACCEPTED) && (in[i] & PG_MAPPED), here = state[i] & PG_ACCEPTED;
		deferred -= (state[i] & PG_DEFERRED) != 0;
		state[i] = (uint8_t)((in[i] & PG_MAPPED) | (here ? PG_ACCEPTED : 0) |
				     (lives && !here ? PG_DEFERRED : 0));
		deferred += lives && !here;
	}
	return 0;
}

uint64_t marks_look(uint64_t page, uint64_t pages[static 64])
{
	uint64_t blocks = 0;
	memset(pages, 0, 64 * sizeof(*pages));
	for (unsigned i = 0; page == PAIR_FIRST && i < PAIR_PAGES; i++)
		if (mark[i]) {
			pages[i / 64] |= 1ull << (i % 64);
			blocks |= 1ull << (i / 64);
		}
	return blocks;
}

uint64_t marks_take(uint64_t page, uint64_t count, uint64_t *bitmap)
{
	uint64_t taken = 0;
	for (uint64_t i = 0; i < count; i++)
		if (page + i - PAIR_FIRST < PAIR_PAGES && mark[page + i - PAIR_FIRST]) {
			mark[page + i - PAIR_FIRST] = 0;
			bitmap[i / 64] |= 1ull << (i % 64);
			taken++;
		}
	return taken;
}

/* ---- threads ---- */
unsigned tracking_begin(void)
{
	return 0;
}

void tracking_end(void)
{
}

void stop_begin(void)
{
	stopping = true;
}

unsigned stop_pending(void)
{
	return busy;
}

void stop_undo(void)
{
	stopping = false;
}

int stop_commit(void)
{
	if (busy || !stopping)
		return -EBUSY;
	if (phase == COMMITTED)
		return -EALREADY;
	phase = COMMITTED;
	return 0;
}

int stop_uncommit(void)
{
	phase = LIVE;
	stopping = false;
	return 0;
}

void stop_always_dirty(void (*add)(void *ctx, uint64_t page, uint64_t count), void *ctx)
{
	for (unsigned i = 0; i < PAIR_PAGES; i++)
		if (always[i])
			add(ctx, PAIR_FIRST + i, 1);
}

size_t state_export_max(void)
{
	return 1 << 16;
}

long state_export(uint8_t *out, size_t capacity)
{
	memcpy(out, threads, threads_size);
	return (long)threads_size;
}

int state_import(const uint8_t *in, size_t size)
{
	if (size > sizeof(threads) || memcmp(in, "bad", 3) == 0)
		return -EBADMSG;
	memcpy(threads, in, size);
	threads_size = size;
	return 0;
}

void clock_arrives(void)
{
}

void state_slots(uint8_t *out)
{
	memset(out, 0, THREAD_SLOTS_MAX / 8);
	out[1] = 1;
}

void state_go(void)
{
	phase = LIVE;
}

bool state_is_fresh(void)
{
	return phase == FRESH;
}

int state_become_destination(void)
{
	if (phase != FRESH)
		return -EBUSY;
	phase = DESTINATION;
	return 0;
}

/* ---- the test's own calls ---- */
static void fill(struct service_call *call)
{
	memset((void *)(uint64_t)(APP_BASE + call->arg[0] * PAGE_SIZE), (int)call->arg[1], PAGE_SIZE);
	state[call->arg[0]] |= PG_ACCEPTED | PG_MAPPED;
}

static int poke(struct service_call *call)
{
	switch (call->op) {
	case POKE_FILL:
		fill(call);
		mark[call->arg[0]] = 1;
		return 0;
	case POKE_SILENT:
		fill(call);
		return 0;
	case POKE_READ:
		memcpy((void *)call->out, (void *)(uint64_t)(APP_BASE + call->arg[0] * PAGE_SIZE), PAGE_SIZE);
		call->out_size = PAGE_SIZE;
		return 0;
	case POKE_EXISTS:
		call->ret[0] = (state[call->arg[0]] & PG_ACCEPTED) != 0;
		return 0;
	case POKE_GONE:
		state[call->arg[0]] &= (uint8_t)~PG_MAPPED;
		return 0;
	case POKE_DIRTY:
		always[call->arg[0]] = 1;
		return 0;
	case POKE_COUNTER:
		session.channel[call->arg[0]].next = call->arg[1];
		return 0;
	case POKE_MEANWHILE:
		meanwhile = (struct service_call){.op = MIGRATE_FETCH,
						  .arg = {call->arg[0], call->arg[1]},
						  .out = (uint64_t)meanwhile_out,
						  .out_size = sizeof(meanwhile_out)};
		return 0;
	case POKE_MEANWHILE_RC:
		call->ret[0] = (uint64_t)-meanwhile.result;
		return 0;
	case POKE_STATE:
		memcpy(threads, (void *)call->in, call->in_size);
		threads_size = call->in_size;
		return 0;
	case POKE_LOOK:
		memcpy((void *)call->out, threads, threads_size);
		call->out_size = threads_size;
		call->ret[0] = phase == LIVE && !stopping;
		for (unsigned i = 0; i < PAIR_PAGES; i++)
			call->ret[1] += (state[i] & PG_MAPPED) != 0;
		return 0;
	case POKE_BUSY:
		busy = (unsigned)call->arg[0];
		return 0;
	case POKE_START:
		phase = LIVE;
		return 0;
	}
	return -ENOSYS;
}

static void read_all(int fd, void *data, size_t size)
{
	for (char *p = data; size;) {
		ssize_t n = read(fd, p, size);
		if (n <= 0)
			_exit(0);
		p += n;
		size -= (size_t)n;
	}
}

void fake_runtime_serve(int fd, const struct identity *who, const uint8_t key[static 64])
{
	static uint8_t in[1 << 20], out[1 << 20];
	self = *who;
	memcpy(test_root_key, key, 64);
	if (mmap((void *)CONFIG_BASE, PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap((void *)(uint64_t)APP_BASE, PAIR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		perror("mmap");
		_exit(1);
	}
	((struct image_config *)CONFIG_BASE)->flags = who->config_flags;
	for (;;) {
		struct service_call call;
		read_all(fd, &call, sizeof(call));
		read_all(fd, in, call.in_size);
		call.in = (uint64_t)in;
		call.out = (uint64_t)out;
		call.result = call.op >= POKE_FILL ? poke(&call) : migrate_service(&call);
		if (call.result)
			call.out_size = 0;
		if (write(fd, &call, sizeof(call)) != sizeof(call) ||
		    write(fd, out, call.out_size) != (ssize_t)call.out_size)
			_exit(0);
	}
}
