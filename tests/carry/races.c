/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that open, copy, use and close the same few numbers at once: no host
 * descriptor is lost, closed twice or reached through a number that is another
 * file's by then.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define THREADS 4
#define ROUNDS 20000

static struct program program;

static int lowest_host_fd(void)
{
	int fd = dup(2);
	close(fd);
	return fd;
}

static void *worker(void *seed_argument)
{
	struct program p = program;
	unsigned seed = (unsigned)(unsigned long)seed_argument;
	p.thread.area = aligned_alloc(4096, sizeof(struct call_area));
	CHECK(p.thread.area);
	for (unsigned i = 0; i < ROUNDS; i++) {
		int fd = 3 + rand_r(&seed) % 8, to = 3 + rand_r(&seed) % 8, pipe[2];
		char c[2];
		struct stat st;
		switch (rand_r(&seed) % 7) {
		case 0:
			CALL(&p, SYS_open, "/dev/zero", O_RDONLY);
			break;
		case 1:
			CALL(&p, SYS_dup2, fd, to);
			break;
		case 2:
			CALL(&p, SYS_close, fd);
			break;
		case 3:
			CALL(&p, SYS_pipe2, pipe, O_NONBLOCK);
			break;
		case 4:
			/* Whatever it is, it is one of ours: zeros, or an empty pipe. */
			memset(c, 0, sizeof(c));
			if (CALL(&p, SYS_read, fd, c, 2) > 0)
				CHECK(c[0] == 0 && c[1] == 0);
			break;
		case 5:
			if (CALL(&p, SYS_fstat, fd, &st) == 0)
				CHECK(S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode));
			break;
		default:
			CALL(&p, SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
			CALL(&p, SYS_fcntl, fd, F_DUPFD, to);
			CALL(&p, SYS_close_range, 12, 100, 0);
		}
	}
	free(p.thread.area);
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];
	program_open(&program);
	int before = lowest_host_fd();
	for (unsigned long i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, worker, (void *)(i + 1)) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	CHECK(CALL(&program, SYS_close_range, 3, ~0u, 0) == 0);
	CHECK(lowest_host_fd() == before);
	CHECK(CALL(&program, SYS_open, "/dev/zero", O_RDONLY) == 3);
	program_close(&program);
	return 0;
}
