/* SPDX-License-Identifier: Apache-2.0
 *
 * AVX and AVX-512 registers of an enclave survive exits and are not shown to
 * handlers; a changed FS base comes back.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define KICKS 300

static struct test_enclave t;
static struct test_args args;
static unsigned long kicks;
static int leaked;

static void handler(int signal, siginfo_t *info, void *u_context)
{
	const ucontext_t *context = u_context;
	const uint8_t *state = (const uint8_t *)context->uc_mcontext.fpregs;
	const uint64_t secret = 0x123456789abc;
	uint32_t size;

	memcpy(&size, state + 464 + 16, sizeof(size));
	for (uint32_t i = 0; i + 8 <= size; i += 8)
		if (!memcmp(state + i, &secret, 8))
			leaked = 1;
	kicks++;
}

static void *worker(void *op)
{
	test_call(&t, 1, (enum test_op)(long)op, &args);
	return NULL;
}

static void run_with(uint64_t xfrm, uint32_t frame_pages, enum test_op op)
{
	struct test_options options = {.xfrm = xfrm, .frame_pages = frame_pages};
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	pthread_t thread;

	test_build(&t, &options);
	CHECK_EQ(softsgx_sigaction(SIGUSR1, &action, NULL), 0);
	memset(&args, 0, sizeof(args));
	args.rbx = t.base + AT_DATA + 0x1230;
	kicks = 0;
	CHECK_EQ(pthread_create(&thread, NULL, worker, (void *)(long)op), 0);
	while (kicks < KICKS) {
		uint64_t before = __atomic_load_n(&args.rax, __ATOMIC_RELAXED);

		while (__atomic_load_n(&args.rax, __ATOMIC_RELAXED) == before && kicks < KICKS)
			usleep(1);
		pthread_kill(thread, SIGUSR1);
	}
	args.flag = 1;
	pthread_join(thread, NULL);
	if (op == OP_WRFSBASE)
		CHECK_EQ(args.rax, t.base + AT_DATA + 0x1230);
	CHECK_EQ(args.rbx, 0);
	CHECK(!leaked);
	test_destroy(&t);
}

int main(void)
{
	run_with(SGX_XFRM_LEGACY, 1, OP_WRFSBASE);
	if (!__builtin_cpu_supports("avx2")) {
		printf("no AVX2\n");
		return 77;
	}
	run_with(SGX_XFRM_AVX, 1, OP_YMM);
	if (!__builtin_cpu_supports("avx512f")) {
		printf("no AVX-512\n");
		return 77;
	}
	run_with(SGX_XFRM_AVX512, 1, OP_ZMM);
	return 0;
}
