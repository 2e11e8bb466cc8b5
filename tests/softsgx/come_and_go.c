/* SPDX-License-Identifier: Apache-2.0
 *
 * Enclaves and threads by the thousand, one after another and several at once:
 * nothing is left behind, neither descriptors nor mappings nor records.
 */
#include "tests/softsgx/harness.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static unsigned int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int count = 0;
	int c;

	while ((c = getc(maps)) != EOF)
		count += c == '\n';
	fclose(maps);
	return count;
}

static struct test_enclave t;

static void *enter_once(void *argument)
{
	struct test_args args = {0};

	test_call(&t, (int)(long)argument, OP_NULL, &args);
	return NULL;
}

static void life(void)
{
	struct test_args args = {0};

	test_build(&t, NULL);
	test_call(&t, 0, OP_NULL, &args);
	softsgx_munmap((void *)t.base, t.size);
	softsgx_close(t.fd);
}

int main(void)
{
	struct test_enclave many[20];
	unsigned int fds, maps;
	struct test_args args;
	int opened[300];
	int count = 0;

	life();
	fds = descriptors();
	maps = mappings();
	for (int i = 0; i < 30; i++)
		life();
	CHECK_EQ(descriptors(), fds);
	CHECK(mappings() < maps + 210); /* the harness's own reservations */

	/* Several at once do not touch one another. */
	for (int i = 0; i < 20; i++) {
		test_build(&many[i], NULL);
		args = (struct test_args){.rbx = many[i].base + AT_DATA, .rax = (uint64_t)i + 1};
		test_call(&many[i], 0, OP_WRITE, &args);
	}
	for (int i = 0; i < 20; i++) {
		args = (struct test_args){.rbx = many[i].base + AT_DATA};
		test_call(&many[i], 0, OP_READ, &args);
		CHECK_EQ(args.rax, i + 1);
		test_destroy(&many[i]);
	}

	test_build(&t, NULL);
	maps = mappings();
	for (long round = 0; round < 100; round++) {
		pthread_t threads[4];

		for (long i = 0; i < 4; i++)
			CHECK_EQ(pthread_create(&threads[i], NULL, enter_once, (void *)i), 0);
		for (long i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
	CHECK(mappings() < maps + 30);
	test_destroy(&t);

	/* More than there can be is an error, not a crash. */
	while (count < 300 && (opened[count] = softsgx_open(SGX_DEVICE_ENCLAVE)) >= 0)
		count++;
	CHECK(count == 300 || opened[count] == -EMFILE);
	while (count)
		softsgx_close(opened[--count]);
	life();
	return 0;
}
