/* SPDX-License-Identifier: Apache-2.0
 *
 * When RESTRICT_PERMISSIONS or MODIFY_TYPES returns, no thread of the enclave
 * uses what was allowed before, and every one that was inside has taken an
 * asynchronous exit.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS 3
#define GPR_RIP (4096 - sizeof(struct sgx_gprsgx) + offsetof(struct sgx_gprsgx, rip))

static struct test_enclave t;
static struct test_args args[THREADS];
static struct sgx_enclave_run runs[THREADS];

/* Counts in memory of its own, the last one in the page that is taken away. */
static void *spinner(void *argument)
{
	long i = (long)argument;
	struct test_args *where = i == THREADS - 1 ? (void *)(t.base + AT_FREE) : &args[i];

	CHECK_EQ(test_enter(&t, (int)i + 1, OP_SPIN, where, &runs[i]), 0);
	return NULL;
}

static uint64_t counter(void)
{
	uint64_t value;

	test_get(&t, AT_FREE, &value, sizeof(value));
	return value;
}

static uint64_t exit_rip(int i)
{
	uint64_t rip;

	test_get(&t, AT_SSA(i + 1, 0) + GPR_RIP, &rip, sizeof(rip));
	return rip;
}

static void run_with(int trim)
{
	struct sgx_enclave_restrict_permissions only_read = {AT_FREE, 4096, SGX_SECINFO_R, 0, 0};
	struct sgx_enclave_modify_types gone = {AT_FREE + 0x1000, 4096, SGX_PT_TRIM, 0, 0};
	struct test_args accept = {.rcx = 2, .rdx = 0x20b};
	pthread_t threads[THREADS];
	uint64_t was;

	memset(args, 0, sizeof(args));
	test_build(&t, NULL);
	accept.rbx = t.base + AT_FREE;
	test_call(&t, 0, OP_ACCEPT_RANGE, &accept);
	CHECK_EQ(accept.rax, 0);
	for (long i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, spinner, (void *)i), 0);
	for (int i = 0; i < THREADS - 1; i++)
		while (!__atomic_load_n(&args[i].rax, __ATOMIC_RELAXED))
			usleep(100);
	while (!counter())
		usleep(100);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(exit_rip(i), 0);

	if (trim)
		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, &gone), 0);
	else
		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &only_read), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(exit_rip(i) - t.base - AT_CODE < 0x10000);
	was = counter();
	if (trim) {
		while (counter() == was) /* another page: that thread goes on */
			usleep(100);
	} else {
		usleep(20000);
		CHECK_EQ(counter(), was);
	}

	for (int i = 0; i < THREADS - 1; i++)
		args[i].flag = 1;
	if (trim)
		test_put(&t, AT_FREE + offsetof(struct test_args, flag), &(uint64_t){1}, 8);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS - 1; i++) {
		CHECK_EQ(runs[i].function, SGX_EEXIT);
		CHECK_EQ(args[i].rbx, 0); /* no register was lost */
	}
	if (trim) {
		CHECK_EQ(runs[THREADS - 1].function, SGX_EEXIT);
	} else {
		CHECK_EQ(runs[THREADS - 1].function, SGX_ERESUME);
		CHECK_EQ(runs[THREADS - 1].exception_error_code, 0x8007);
	}
	test_destroy(&t);
}

int main(void)
{
	const struct rlimit none = {0, 0};

	run_with(0);
	run_with(1);
	/* Also where no more signals may be queued. */
	CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &none), 0);
	run_with(0);
	return 0;
}
