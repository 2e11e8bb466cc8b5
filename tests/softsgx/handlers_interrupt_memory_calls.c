/* SPDX-License-Identifier: Apache-2.0
 *
 * A handler that enters an enclave may have interrupted the very calls that keep
 * account of where enclaves are mapped.
 */
#include "tests/softsgx/harness.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

static struct test_enclave t;
static volatile int handled;

static void handler(int signal)
{
	struct sgx_enclave_run run;
	struct test_args args = {0};

	/* ERESUME, which is never short: of a frame that faults again */
	CHECK_EQ(test_resume(&t, 1, &run), 0);
	CHECK_EQ(run.exception_vector, 6);
	test_call(&t, 0, OP_NULL, &args);
	handled++;
}

int main(void)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
	void *plain = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sgx_enclave_run run;
	struct test_args args = {0};

	test_build(&t, NULL);
	CHECK_EQ(test_enter(&t, 1, OP_UD2, &args, &run), 0);
	CHECK_EQ(run.exception_vector, 6);
	CHECK_EQ(softsgx_sigaction(SIGALRM, &action, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
	while (handled < 2000) {
		CHECK_EQ(softsgx_mprotect(plain, 0x2000, PROT_READ), 0);
		CHECK_EQ(softsgx_munmap((char *)plain + 0x1000, 0x1000), 0);
		CHECK((long)softsgx_mmap((char *)plain + 0x1000, 0x1000, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) > 0);
	}
	CHECK_EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
	test_destroy(&t);
	return 0;
}
