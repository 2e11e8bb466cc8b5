/* SPDX-License-Identifier: Apache-2.0
 *
 * Random memory calls against a model of what a kernel would do: which pages are
 * mapped and what is in them; every page the runtime itself changes is marked.
 * The map goes over to a fresh enclave and comes back the same; a malformed one
 * changes nothing.
 */
#include <errno.h>
#include <linux/mman.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/enclave/support.h"

#define OPERATIONS 30000
#define PAGES 512 /* all in one stretch */
#define BASE (HEAP_BASE + (16u << 20))

static struct {
	bool mapped, closed;
	uint8_t content;
} model[PAGES];
static uint64_t seed = 20241123;

void host_answer(struct thread *t, struct call_area *area)
{
	(void)t, (void)area;
	CHECK(!"a memory call asks no host");
}

static uint8_t *page_at(uint64_t i)
{
	return (uint8_t *)(BASE + i * PAGE_SIZE);
}

static void model_set(uint64_t first, uint64_t count, bool mapped, bool closed, int content)
{
	for (uint64_t i = first; i < first + count; i++) {
		model[i].mapped = mapped;
		model[i].closed = mapped && closed;
		if (content >= 0)
			model[i].content = (uint8_t)content;
	}
}

static bool model_all(uint64_t first, uint64_t count, bool mapped)
{
	for (uint64_t i = first; i < first + count; i++)
		if (model[i].mapped != mapped)
			return false;
	return true;
}

static uint8_t take_mark(uint64_t i)
{
	uint64_t bitmap[1] = {0};
	return (uint8_t)marks_take((BASE >> PAGE_SHIFT) + i, 1, bitmap);
}

static void compare(void)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		uint8_t state = mm_state((BASE >> PAGE_SHIFT) + i);
		CHECK(!!(state & PG_MAPPED) == model[i].mapped && !!(state & PG_NOACCESS) == model[i].closed);
		CHECK(mm_app_range((uint64_t)page_at(i), 1) == (model[i].mapped && !model[i].closed));
		if (model[i].mapped && !model[i].closed)
			CHECK(*page_at(i) == model[i].content &&
			      page_at(i)[PAGE_SIZE - 1] == model[i].content);
	}
}

static void one_operation(void)
{
	uint64_t first = random_below(&seed, PAGES), count = 1 + random_below(&seed, 24);
	if (count > PAGES - first)
		count = PAGES - first;
	uint64_t addr = (uint64_t)page_at(first), size = count * PAGE_SIZE - random_below(&seed, PAGE_SIZE);
	int prot = random_below(&seed, 8) ? PROT_READ | PROT_WRITE : PROT_NONE;
	switch (random_below(&seed, 8)) {
	case 0: /* at a place */
		CHECK(mm_mmap(addr, size, prot, MAP_PRIVATE | MAP_FIXED) == (int64_t)addr);
		model_set(first, count, true, prot == PROT_NONE, 0);
		break;
	case 1: { /* at a place if it is free */
		int64_t rc = mm_mmap(addr, size, prot, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
		bool free = model_all(first, count, false);
		CHECK(rc == (free ? (int64_t)addr : -EEXIST));
		if (free)
			model_set(first, count, true, prot == PROT_NONE, 0);
		break;
	}
	case 2:
		CHECK(mm_munmap(addr, size) == 0);
		model_set(first, count, false, false, 0);
		break;
	case 3: {
		bool all = model_all(first, count, true);
		CHECK(mm_mprotect(addr, size, prot) == (all ? 0 : -ENOMEM));
		if (all)
			model_set(first, count, true, prot == PROT_NONE, -1);
		break;
	}
	case 4:
		CHECK(mm_madvise(addr, size, MADV_DONTNEED) == 0);
		for (uint64_t i = first; i < first + count; i++)
			model[i].content = 0;
		break;
	case 5: { /* a little larger or smaller, in place */
		uint64_t want = 1 + random_below(&seed, 30);
		if (want > PAGES - first)
			want = PAGES - first;
		bool closed = model[first].closed, all = model_all(first, count, true);
		bool room = want <= count || model_all(first + count, want - count, false);
		int64_t rc = mm_mremap(addr, count * PAGE_SIZE, want * PAGE_SIZE, 0, 0);
		CHECK(rc == (!all ? -EFAULT : room ? (int64_t)addr : -ENOMEM));
		if (rc > 0 && want > count)
			model_set(first + count, want - count, true, closed, 0);
		else if (rc > 0)
			model_set(first + want, count - want, false, false, 0);
		break;
	}
	default: /* the program writes */
		for (uint64_t i = first; i < first + count; i++)
			if (model[i].mapped && !model[i].closed) {
				take_mark(i);
				memset(page_at(i), model[i].content = (uint8_t)(1 + random_below(&seed, 255)),
				       PAGE_SIZE);
			}
	}
	/* What was not zero and is now was cleared by the runtime, which had to mark it. */
	for (uint64_t i = first; i < first + count; i++)
		if (model[i].mapped && !model[i].closed && model[i].content == 0 &&
		    mm_state((BASE >> PAGE_SHIFT) + i) & PG_ACCEPTED)
			CHECK(*page_at(i) == 0);
}

static void limits(void)
{
	CHECK(mm_mmap(BASE, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED) == BASE);
	model_set(0, 1, true, false, 0);
	static const uint64_t huge[] = {~0ull, ~0ull - PAGE_SIZE, 1ull << 63, HEAP_SIZE + PAGE_SIZE,
					~0ull << 12};
	compare();
	for (unsigned i = 0; i < sizeof(huge) / sizeof(*huge); i++) {
		uint64_t size = huge[i];
		CHECK(mm_mmap(0, size, PROT_READ, MAP_PRIVATE) < 0 && mm_munmap(BASE, size) < 0);
		CHECK(mm_mmap(BASE, size, PROT_READ, MAP_PRIVATE | MAP_FIXED) < 0 &&
		      mm_mprotect(BASE, size, PROT_READ) < 0);
		CHECK(mm_mremap(BASE, PAGE_SIZE, size, MREMAP_MAYMOVE, 0) < 0 &&
		      mm_mremap(BASE, size, PAGE_SIZE, 0, 0) < 0);
		CHECK(!mm_app_range(BASE, size) && !mm_app_range(size, BASE) && !mm_app_span(BASE, size));
		mm_madvise(BASE, size, MADV_DONTNEED);
	}
	CHECK(!mm_app_span(STOP_WORD, 1) && !mm_app_span(THREADS_BASE, 8) && !mm_app_span(APP_BASE - 1, 2));
	CHECK(mm_mmap(APP_BASE, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED) < 0);
	CHECK(mm_mmap(MARKS_BASE, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED) < 0 &&
	      mm_munmap(MARKS_BASE, PAGE_SIZE) < 0);
	CHECK(mm_mmap(0, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE) == -EACCES);
	compare();
}

/* ---- over to a fresh enclave ---- */

static void in_child(void (*run)(const uint8_t *map, size_t size), const uint8_t *map, size_t size)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		enclave_begin();
		run(map, size);
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static uint8_t before[1 << 18], after[1 << 18], bad[1 << 18];
static uint64_t live[(HEAP_BASE + HEAP_SIZE - APP_BASE) / PAGE_SIZE / 64 + CHUNK_PAGES / 64];
static uint64_t anew[sizeof(live) / sizeof(*live) / 64 + 1];

static long export_all(uint8_t *out, size_t capacity)
{
	mm_export_all();
	return mm_export(out, capacity, live, anew);
}

static bool lives(uint64_t page)
{
	page -= APP_BASE >> PAGE_SHIFT;
	return live[page / 64] >> (page % 64) & 1;
}

static uint8_t page_content(uint64_t page)
{
	return (uint8_t)(page * 7 + 3);
}

void page_wanted(uint64_t page)
{
	static _Alignas(PAGE_SIZE) uint8_t content[PAGE_SIZE];
	memset(content, page_content(page), PAGE_SIZE);
	CHECK(mm_arrive(page, content) == 1);
}

/* What lives there and does not exist here is deferred: everybody gets it once, and content that came for what the
 * program has thrown away since is not wanted. */
static void deferred_pages(void)
{
	uint64_t first = BASE >> PAGE_SHIFT, page;
	for (page = first; page < first + PAGES && !(mm_state(page) & PG_DEFERRED && !(mm_state(page) & PG_NOACCESS)); page++)
		;
	CHECK(page < first + PAGES && mm_deferred() > 4);
	uint64_t left = mm_deferred();
	/* touched: it is waited for, and there */
	CHECK(*(volatile uint8_t *)(page << PAGE_SHIFT) == page_content(page) && mm_deferred() == left - 1);
	CHECK(mm_arrive(page, NULL) == 0 && *(volatile uint8_t *)(page << PAGE_SHIFT) == page_content(page));
	/* thrown away while it was still to come */
	while (!(mm_state(++page) & PG_DEFERRED) || mm_state(page) & PG_NOACCESS)
		CHECK(page < first + PAGES);
	left = mm_deferred();
	CHECK(mm_munmap(page << PAGE_SHIFT, PAGE_SIZE) == 0 && mm_deferred() == left - 1);
	CHECK(mm_mmap(page << PAGE_SHIFT, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED) > 0);
	CHECK(mm_arrive(page, before) == 0 && *(volatile uint8_t *)(page << PAGE_SHIFT) == 0);
	while (!(mm_state(++page) & PG_DEFERRED) || mm_state(page) & PG_NOACCESS)
		CHECK(page < first + PAGES);
	CHECK(mm_madvise(page << PAGE_SHIFT, PAGE_SIZE, MADV_DONTNEED) == 0);
	CHECK(mm_arrive(page, before) == 0 && *(volatile uint8_t *)(page << PAGE_SHIFT) == 0);
	/* mapped over */
	while (!(mm_state(++page) & PG_DEFERRED) || mm_state(page) & PG_NOACCESS)
		CHECK(page < first + PAGES);
	CHECK(mm_mmap(page << PAGE_SHIFT, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED) > 0);
	CHECK(mm_arrive(page, before) == 0 && *(volatile uint8_t *)(page << PAGE_SHIFT) == 0);
	/* moved: it is waited for, whether the program may touch it or not */
	for (int prot = PROT_NONE; prot <= PROT_READ; prot++) {
		while (!(mm_state(++page) & PG_DEFERRED))
			CHECK(page < first + PAGES);
		CHECK(mm_mprotect(page << PAGE_SHIFT, PAGE_SIZE, prot) == 0);
		int64_t to = mm_mremap(page << PAGE_SHIFT, PAGE_SIZE, 4 * PAGE_SIZE * PAGES, MREMAP_MAYMOVE, 0);
		CHECK(to > 0 && to != (int64_t)(page << PAGE_SHIFT));
		CHECK((mm_state((uint64_t)to >> PAGE_SHIFT) & PG_NOACCESS) == (prot ? 0 : PG_NOACCESS));
		CHECK(mm_mprotect((uint64_t)to, PAGE_SIZE, PROT_READ) == 0);
		CHECK(*(volatile uint8_t *)to == page_content(page));
		CHECK(mm_munmap((uint64_t)to, 4 * PAGE_SIZE * PAGES) == 0);
	}
	/* all others, from two sides */
	for (page = first; page < first + PAGES; page++)
		if (mm_state(page) & PG_DEFERRED) {
			CHECK(mm_arrive(page, NULL) == 1 && mm_arrive(page, NULL) == 0);
			CHECK(!(mm_state(page) & PG_DEFERRED) && mm_state(page) & PG_ACCEPTED);
		}
}

/* Before anything runs: content comes, pages are taken out again, and a newer map changes what is missing. */
static void pages_come_and_leave(void)
{
	uint64_t page = BASE >> PAGE_SHIFT, image = APP_BASE >> PAGE_SHIFT;
	while (!(mm_state(page) & PG_DEFERRED))
		page++;
	uint64_t left = mm_deferred();
	memset(before, 0x5a, PAGE_SIZE);
	CHECK(mm_install(page, before) == 0 && mm_deferred() == left - 1);
	CHECK(*(uint8_t *)(page << PAGE_SHIFT) == 0x5a);
	CHECK(mm_install(page, NULL) == 0 && *(uint8_t *)(page << PAGE_SHIFT) == 0);
	CHECK(mm_take_out(page) == 0 && mm_deferred() == left && mm_take_out(page) == 0);
	CHECK(mm_install(page, before) == 0 && mm_deferred() == left - 1);
	CHECK(mm_take_out(image) == 0 && mm_deferred() == left);
	CHECK(mm_install(image, before) == 0 && *(uint8_t *)APP_BASE == 0x5a && mm_deferred() == left - 1);
	CHECK(mm_make_room(page) == 0 && *(uint8_t *)(page << PAGE_SHIFT) == 0x5a);
	CHECK(mm_take_out(page) == 0 && mm_deferred() == left);
}

static void import_same(const uint8_t *map, size_t size)
{
	static _Alignas(PAGE_SIZE) uint8_t zero[PAGE_SIZE];
	CHECK(mm_import(map, size) == 0);
	uint64_t left = mm_deferred();
	CHECK(left > 0 && mm_import(map, size) == 0 && mm_deferred() == left);
	pages_come_and_leave();
	/* once everything has come, the map is the one that was sent */
	for (uint64_t page = HEAP_BASE >> PAGE_SHIFT; page < (HEAP_BASE + HEAP_SIZE) >> PAGE_SHIFT; page++)
		if (mm_state(page) & PG_DEFERRED)
			CHECK(mm_install(page, zero) == 0);
	CHECK(mm_deferred() == 0 && export_all(after, sizeof(after)) == (long)size && memcmp(map, after, size) == 0);
}

static void import_and_run(const uint8_t *map, size_t size)
{
	CHECK(mm_import(map, size) == 0);
	deferred_pages();
}

/* Whatever is not one is refused and changes nothing; what differs and still is one ends the process it was
 * tried in. */
static void import_damaged(const uint8_t *map, size_t size)
{
	long none = export_all(before, sizeof(before));
	for (int i = 0; i < 200; i++) {
		size_t n = random_below(&seed, 2) ? size : random_below(&seed, size);
		memcpy(bad, map, n);
		for (int k = 0; k < 8 && n; k++)
			bad[random_below(&seed, n)] ^= (uint8_t)(1 + random_below(&seed, 255));
		if (mm_import(bad, n) != -EBADMSG)
			return;
		CHECK(mm_deferred() == 0 && export_all(after, sizeof(after)) == none && memcmp(before, after, (size_t)none) == 0);
	}
}

/* Only what changed since is told again, and all of it. */
static void changes_are_told(void)
{
	static uint8_t map[1 << 18];
	uint64_t page = (BASE >> PAGE_SHIFT) + 3;
	CHECK(export_all(map, sizeof(map)) > 0);
	long nothing = mm_export(map, sizeof(map), live, anew);
	CHECK(mm_munmap(page << PAGE_SHIFT, PAGE_SIZE) == 0);
	long gone = mm_export(map, sizeof(map), live, anew);
	CHECK(gone > nothing && !lives(page) && mm_export(map, sizeof(map), live, anew) == nothing);
	CHECK(mm_mmap(page << PAGE_SHIFT, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED) > 0);
	CHECK(mm_export(map, sizeof(map), live, anew) > nothing);
	*(volatile uint8_t *)(page << PAGE_SHIFT) = 1;
	mm_export(map, sizeof(map), live, anew);
	CHECK(lives(page) && mm_export(map, sizeof(map), live, anew) == nothing);
	CHECK(mm_mprotect(page << PAGE_SHIFT, PAGE_SIZE, PROT_NONE) == 0);
	CHECK(mm_export(map, sizeof(map), live, anew) > nothing);
	CHECK(mm_mprotect(page << PAGE_SHIFT, PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
}

static void import_in_child(const uint8_t *map, size_t size)
{
	in_child(import_same, map, size);
	in_child(import_and_run, map, size);
	for (int i = 0; i < 20; i++) {
		in_child(import_damaged, map, size);
		seed += 7;
	}
}

/* ---- many threads, the same pages ---- */

static void *touch(void *slot)
{
	enclave_thread((unsigned)(uintptr_t)slot);
	for (uint64_t i = 0; i < 2048; i++)
		__atomic_fetch_add((uint32_t *)(BASE + PAGES * PAGE_SIZE + i * PAGE_SIZE), 1,
				   __ATOMIC_RELAXED);
	return NULL;
}

static void touched_together(void)
{
	enum { THREADS = 4 };
	pthread_t thread[THREADS];
	uint64_t start = BASE + PAGES * PAGE_SIZE;
	CHECK(mm_mmap(start, 2048 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED) ==
	      (int64_t)start);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, touch, (void *)(THREAD_SLOTS_SERVICE + 1 + i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (uint64_t i = 0; i < 2048; i++)
		CHECK(*(uint32_t *)(start + i * PAGE_SIZE) == THREADS);
}

/* ---- marks: none is lost between one who sets and one who takes ---- */

#define WRITES 3000000u
static uint64_t marked; /* up to here every write has its mark */

static void *write_and_mark(void *word)
{
	for (uint64_t n = 1; n <= WRITES; n++) {
		__atomic_store_n((uint64_t *)word, n, __ATOMIC_RELAXED);
		marks_set((uint64_t)word, 8);
		__atomic_store_n(&marked, n, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void marks_race(void)
{
	uint64_t *word = (uint64_t *)APP_BASE, copy = 0, seen = 0, bitmap[1];
	pthread_t writer;
	pthread_create(&writer, NULL, write_and_mark, word);
	while (seen < WRITES) {
		seen = __atomic_load_n(&marked, __ATOMIC_ACQUIRE);
		if (marks_take(APP_BASE >> PAGE_SHIFT, 8, bitmap))
			copy = __atomic_load_n(word, __ATOMIC_RELAXED);
		CHECK(copy >= seen);
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	static uint8_t map[1 << 16];
	int ends[2], status;
	CHECK(pipe(ends) == 0);
	pid_t work = fork(); /* this process stays fresh, for those that import */
	if (work == 0) {
		enclave_begin();
		for (int i = 0; i < OPERATIONS; i++) {
			one_operation();
			if (i % 64 == 0)
				compare();
		}
		limits();
		touched_together();
		marks_race();
		changes_are_told();
		long size = export_all(map, sizeof(map));
		CHECK(size > 0 && mm_export_max() >= (size_t)size);
		mm_export_all();
		CHECK(mm_export(map, (size_t)size - 1, live, anew) == -ENOSPC);
		CHECK(mm_export(map, sizeof(map), live, anew) == size && write(ends[1], map, (size_t)size) == size);
		exit(0);
	}
	CHECK(waitpid(work, &status, 0) == work && WIFEXITED(status));
	if (WEXITSTATUS(status))
		return WEXITSTATUS(status);
	long size = read(ends[0], map, sizeof(map));
	import_in_child(map, (size_t)size);
	return 0;
}
