/* SPDX-License-Identifier: Apache-2.0
 *
 * Many threads enter, fault, accept, give pages back and are signalled at once,
 * while permissions and types change under them.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 6
#define PAGES 32
#define PENDING_RW 0x20bull

static struct test_enclave t;
static volatile int stop, wrong;
static pthread_t threads[WORKERS];
static unsigned long signals, rounds[WORKERS];

#define EXPECT(what)                                                                                         \
	do {                                                                                                 \
		if (!(what) && !wrong)                                                                       \
			wrong = __LINE__;                                                                    \
	} while (0)

static void on_signal(int signal)
{
	__atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

static void accept_pages(long i, uint64_t offset, uint64_t count, uint64_t flags)
{
	struct test_args args = {.rbx = t.base + offset, .rcx = count, .rdx = flags};

	test_call(&t, (int)i, OP_ACCEPT_RANGE, &args);
	EXPECT(args.rax == 0);
}

/* The life of a block of pages, over and over. */
static void *pages_worker(void *argument)
{
	long i = (long)argument;
	uint64_t offset = AT_FREE + (uint64_t)i * PAGES * 4096;

	while (!stop && !wrong) {
		struct sgx_enclave_modify_types modify = {offset, PAGES * 4096, SGX_PT_TRIM, 0, 0};
		struct sgx_enclave_remove_pages gone = {offset, PAGES * 4096, 0};
		int error;

		accept_pages(i, offset, PAGES, PENDING_RW);
		for (uint64_t page = 0; page < PAGES; page += 5) {
			struct test_args args = {.rbx = t.base + offset + page * 4096};

			test_call(&t, (int)i, OP_READ, &args);
			EXPECT(args.rax == 0);
			args.rax = page + 1;
			test_call(&t, (int)i, OP_WRITE, &args);
			args.rax = 0;
			test_call(&t, (int)i, OP_READ, &args);
			EXPECT(args.rax == page + 1);
		}
		while ((error = softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_MODIFY_TYPES, &modify)) == -16)
			usleep(10); /* EBUSY: another thread's ioctl */
		EXPECT(error == 0);
		accept_pages(i, offset, PAGES, SGX_SECINFO_TRIM | SGX_SECINFO_MODIFIED);
		while ((error = softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_REMOVE_PAGES, &gone)) == -16)
			usleep(10);
		EXPECT(error == 0);
		rounds[i]++;
	}
	return NULL;
}

/* Faults and exception entries, registers checked by the enclave. */
static void *fault_worker(void *argument)
{
	long i = (long)argument;

	while (!stop && !wrong) {
		struct test_args args = {0}, view = {0};
		struct sgx_enclave_run run;
		struct sgx_gprsgx gpr;

		EXPECT(!test_enter(&t, (int)i, OP_UD2, &args, &run));
		EXPECT(run.function == SGX_ERESUME && run.exception_vector == 6);
		view.rbx = (uint64_t)&gpr;
		view.rcx = 2;
		test_call(&t, (int)i, OP_SSA, &view);
		EXPECT(gpr.exitinfo == 0x80000306u);
		EXPECT(!test_resume(&t, (int)i, &run));
		EXPECT(run.function == SGX_EEXIT);
		/* one short round of the register check */
		args.flag = 1;
		test_call(&t, (int)i, OP_SPIN, &args);
		EXPECT(!args.rbx);
		rounds[i]++;
	}
	return NULL;
}

static int all_went_round(void)
{
	int all = signals > 1000;

	for (int i = 0; i < WORKERS; i++)
		all &= __atomic_load_n(&rounds[i], __ATOMIC_RELAXED) > 3;
	return all;
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct timespec start, now;

	test_build(&t, NULL);
	CHECK_EQ(softsgx_sigaction(SIGUSR1, &action, NULL), 0);
	for (long i = 0; i < WORKERS; i++)
		pthread_create(&threads[i], NULL, i < 4 ? pages_worker : fault_worker, (void *)i);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (int i = 0; i < WORKERS; i++)
			pthread_kill(threads[i], SIGUSR1);
		usleep(200);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec < 3 || !all_went_round()) && !wrong);
	stop = 1;
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	if (wrong)
		fprintf(stderr, "%s:%d\n", __FILE__, wrong);
	test_destroy(&t);
	return wrong != 0;
}
