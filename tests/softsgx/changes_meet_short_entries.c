/* SPDX-License-Identifier: Apache-2.0
 *
 * A permission change between any two instructions of a short entry: nobody
 * enters by what was true before.
 */
#include "tests/softsgx/traced.h"

#include <pthread.h>
#include <sys/mman.h>

static struct test_enclave t;
/* Between the processes: the next change is wanted, is done. */
static struct {
	volatile int wanted, done;
} *shared;

static void *changes(void *unused)
{
	struct sgx_enclave_restrict_permissions p;

	for (int i = 1;; i++) {
		while (shared->wanted < i)
			usleep(100);
		p = (struct sgx_enclave_restrict_permissions){AT_SSA(2, 0), 4096, SGX_SECINFO_R, 0, 0};
		CHECK_EQ(softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &p), 0);
		shared->done = i;
	}
	return NULL;
}

/* Enters where an SSA frame has just become read-only, as often as its tracer stops it on the way. */
static void entries(void)
{
	uint64_t secinfo = test_secinfo(&t, SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W);
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, changes, NULL), 0);
	for (;;) {
		struct test_args args = {0};
		struct sgx_enclave_run run;

		test_leaf(&t, SGX_EMODPE, secinfo, t.base + AT_SSA(2, 0), 0);
		test_call(&t, 2, OP_NULL, &args);
		raise(SIGSTOP);
		CHECK_EQ(test_enter(&t, 2, OP_NULL, &args, &run), 0);
		CHECK_EQ(run.function, SGX_EENTER);
		CHECK_EQ(run.exception_vector, 14);
	}
}

static uint64_t changed(void)
{
	struct softsgx_stats stats;

	CHECK_EQ(softsgx_stats(t.fd, &stats), 0);
	return stats.shootdowns;
}

int main(void)
{
	const int reserved_fields = 27 * 4; /* instructions that look at them: nothing has begun */
	int steps = reserved_fields;
	uint64_t before;
	pid_t child;

	if (test_bases_are_told()) {
		printf("this kernel has to be told of FS and GS: no entry is short\n");
		return 77;
	}
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_build(&t, NULL);
	child = traced_begin(entries);
	for (;; steps++) {
		traced_run(child, 0);
		traced_to_entry(child);
		for (int i = 0; i < steps; i++)
			traced_step(child);
		if (traced_rip(child) - t.base < t.size)
			break;
		/* It waits for him who is inside, or nearly: only until it does. */
		while (shared->done < shared->wanted)
			usleep(100);
		before = changed();
		shared->wanted++;
		while (changed() == before)
			usleep(100);
	}
	CHECK(steps > reserved_fields + 20);
	traced_end(child);
	test_destroy(&t);
	return 0;
}
