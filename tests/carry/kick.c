/* SPDX-License-Identifier: Apache-2.0
 *
 * No kick is lost: a thread that reads from an empty pipe over and over is
 * kicked at random moments, and each kick must end a call within a moment, with
 * or without data arriving at the same time. Data must never be lost to a kick.
 */
#include "host/ocall.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define KICKS 20000
#define STALL_US 2000000

static struct program program;
static int data[2];
static atomic_uint interrupted, bytes_read, running = 1;

static void *reader(void *unused)
{
	char c;
	while (running) {
		long r = CALL(&program, SYS_read, data[0], &c, 1);
		if (r == 1) {
			bytes_read++;
		} else {
			CHECK(r == -EINTR && program.thread.area->interrupted == 1);
			interrupted++;
		}
	}
	return NULL;
}

static void kick(pthread_t thread)
{
	program.thread.kicked = 1;
	CHECK(pthread_kill(thread, KICK_SIGNAL) == 0);
}

static void wait_above(atomic_uint *counter, unsigned value)
{
	for (uint64_t end = now_us() + STALL_US; *counter <= value;)
		CHECK(now_us() < end); /* a lost kick */
}

int main(void)
{
	pthread_t thread;
	unsigned written = 0;
	program_open(&program);
	CHECK(kick_signal_install(sigaction) == 0);
	CHECK(CALL(&program, SYS_pipe2, data, 0) == 0);
	CHECK(pthread_create(&thread, NULL, reader, NULL) == 0);
	/* The thread's own descriptors of the pipe: the area belongs to the reader from here on. */
	struct program writer = program;
	writer.thread.area = aligned_alloc(4096, sizeof(struct call_area));
	for (unsigned i = 0; i < KICKS; i++) {
		unsigned before = interrupted;
		if (i % 3 == 0) {
			CHECK(CALL(&writer, SYS_write, data[1], "x", 1) == 1);
			written++;
		}
		kick(thread);
		wait_above(&interrupted, before);
		for (unsigned spin = i * 7919 % 4096; spin; spin--)
			__asm__ volatile("");
	}
	while (bytes_read < written)
		sleep_us(100);
	running = 0;
	kick(thread);
	pthread_join(thread, NULL);
	CHECK(bytes_read == written);
	printf("%u kicks, %u calls cut short, %u bytes\n", KICKS, interrupted, bytes_read);
	free(writer.thread.area);
	program_close(&program);
	return 0;
}
