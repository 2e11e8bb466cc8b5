/* SPDX-License-Identifier: Apache-2.0
 *
 * Other threads may be anywhere when a thread forks: the child waits for none of
 * them, they are not there.
 */
#include "tests/softsgx/harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_enclave t;
static volatile int ended;

static void on_signal(int signal)
{
}

static void change(void *plain)
{
	struct sigaction action = {.sa_handler = on_signal};

	CHECK_EQ(softsgx_sigaction(SIGUSR1, &action, NULL), 0);
	CHECK_EQ(softsgx_mprotect(plain, 0x1000, PROT_READ), 0);
}

static void *changes(void *unused)
{
	void *plain = mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	while (!ended)
		change(plain);
	return NULL;
}

int main(void)
{
	void *plain = mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct test_args args = {0};
	pthread_t thread;
	int status;

	test_build(&t, NULL);
	CHECK_EQ(pthread_create(&thread, NULL, changes, NULL), 0);
	for (int i = 0; i < 500; i++) {
		pid_t child = fork();

		if (!child) {
			change(plain);
			test_call(&t, 0, OP_NULL, &args);
			_exit(0);
		}
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK_EQ(status, 0);
	}
	ended = 1;
	pthread_join(thread, NULL);
	test_destroy(&t);
	return 0;
}
