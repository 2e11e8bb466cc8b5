/* SPDX-License-Identifier: Apache-2.0
 *
 * Permission changes of two enclaves at the same time: each still waits for the
 * threads inside its own.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <unistd.h>

#define ROUNDS 3000

static struct test_enclave mine, other;
static struct test_args spin;
static volatile int ended;

static void restrict_data(struct test_enclave *t)
{
	struct sgx_enclave_restrict_permissions p = {AT_DATA + 0x3000, 4096, SGX_SECINFO_R, 0, 0};

	CHECK_EQ(softsgx_ioctl(t->fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &p), 0);
}

static void *spinner(void *unused)
{
	test_call(&mine, 1, OP_SPIN, &spin);
	return NULL;
}

static void *changes(void *unused)
{
	while (!ended)
		restrict_data(&other);
	return NULL;
}

/* Asynchronous exits so far. */
static uint64_t seen(void)
{
	struct softsgx_stats stats;

	CHECK_EQ(softsgx_stats(mine.fd, &stats), 0);
	return stats.aex;
}

int main(void)
{
	pthread_t threads[2];

	test_build(&mine, NULL);
	test_build(&other, NULL);
	CHECK_EQ(pthread_create(&threads[0], NULL, spinner, NULL), 0);
	while (!__atomic_load_n(&spin.rax, __ATOMIC_RELAXED))
		usleep(100);
	CHECK_EQ(pthread_create(&threads[1], NULL, changes, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t count = __atomic_load_n(&spin.rax, __ATOMIC_RELAXED), before;

		/* inside again */
		while (__atomic_load_n(&spin.rax, __ATOMIC_RELAXED) == count)
			usleep(10);
		before = seen();
		restrict_data(&mine);
		CHECK(seen() > before);
	}
	ended = 1;
	spin.flag = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(spin.rbx, 0);
	test_destroy(&mine);
	test_destroy(&other);
	return 0;
}
