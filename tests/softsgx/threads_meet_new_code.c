/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that come to an ENCLU nobody has executed before, all at the same
 * moment, all execute it.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#define THREADS 2
#define MEETINGS 40 /* in a page */
#define PAGES 400

static struct test_enclave t;
static uint32_t arrived; /* in this page so far, in all threads */
static pthread_barrier_t page_begins, page_ends;

static size_t put(uint8_t *code, size_t n, const void *bytes, size_t size)
{
	memcpy(code + n, bytes, size);
	return n + size;
}

/* MEETINGS times: waits for the other threads, then EACCEPT of a page that has nothing to accept. */
static void write_code(uint8_t *code)
{
	uint64_t secinfo_at = t.base + AT_DATA, page = t.base + AT_CODE, arrived_at = (uint64_t)&arrived;
	size_t n = 0;

	n = put(code, n, "\x53\x51\x56\x48\xbe", 5); /* push rbx, rcx, rsi; mov rsi */
	n = put(code, n, &arrived_at, 8);
	n = put(code, n, "\x48\xbb", 2); /* mov rbx */
	n = put(code, n, &secinfo_at, 8);
	n = put(code, n, "\x48\xb9", 2); /* mov rcx */
	n = put(code, n, &page, 8);
	for (uint32_t i = 1; i <= MEETINGS; i++) {
		uint32_t all = i * THREADS;

		n = put(code, n, "\xf0\xff\x06\xf3\x90\x81\x3e", 7); /* lock inc [rsi]; 1: pause; cmp [rsi] */
		n = put(code, n, &all, 4);
		n = put(code, n, "\x72\xf6\xb8\x05\0\0\0\x0f\x01\xd7", 10); /* jb 1b; mov eax, 5; enclu */
	}
	n = put(code, n, "\x5e\x59\x5b\xc3", 4); /* pop rsi, rcx, rbx; ret */
	CHECK(n <= 4096);
}

static void *run_pages(void *argument)
{
	for (uint64_t page = 0; page < PAGES; page++) {
		struct test_args args = {.rbx = t.base + AT_FREE + page * 4096};

		pthread_barrier_wait(&page_begins);
		test_call(&t, (int)(long)argument, OP_FETCH, &args);
		pthread_barrier_wait(&page_ends);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	uint8_t code[4096] = {0};

	test_build(&t, NULL);
	write_code(code);
	test_put(&t, AT_DATA + 0x1000, code, sizeof(code));
	CHECK_EQ(test_map(&t, AT_FREE, PAGES * 4096, PROT_READ | PROT_EXEC), 0);
	pthread_barrier_init(&page_begins, NULL, THREADS + 1);
	pthread_barrier_init(&page_ends, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, run_pages, (void *)(i + 1)));
	for (uint64_t page = 0; page < PAGES; page++) {
		uint64_t from = page ? AT_FREE + (page - 1) * 4096 : AT_DATA + 0x1000;

		test_accept_copy(&t, AT_FREE + page * 4096, from, SGX_SECINFO_R | SGX_SECINFO_X);
		test_secinfo(&t, SGX_SECINFO_REG | SGX_SECINFO_PENDING | SGX_SECINFO_R | SGX_SECINFO_W);
		arrived = 0;
		pthread_barrier_wait(&page_begins);
		pthread_barrier_wait(&page_ends);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	test_destroy(&t);
	return 0;
}
