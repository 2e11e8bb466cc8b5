/* SPDX-License-Identifier: Apache-2.0
 *
 * park IMAGE STOPS INTERVAL_MS [ARGUMENT...]
 *
 * What parking costs by itself: runs a program in a DEBUG enclave, and asks its threads to park and to go on,
 * as a move does, with nothing else to do. Prints {"stops", "park_us", "park_us_max"}: from the request until all
 * threads have parked, median and longest. The program is ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "host/enclave.h"
#include "host/enclave_private.h"

#define STOPS_MAX 10000

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t ask(struct enclave *e, uint64_t op)
{
	struct service_call call = {.op = op};
	int rc = enclave_service(e, &call);

	if (rc == 0)
		rc = (int)call.result;
	if (rc < 0) {
		fprintf(stderr, "park: %s\n", strerror(-rc));
		exit(1);
	}
	return call.ret[0];
}

static uint64_t stop_once(struct enclave *e)
{
	uint64_t begin = now_us();

	ask(e, SERVICE_INSPECT_STOP);
	enclave_kick_all(e);
	while (ask(e, SERVICE_INSPECT_PENDING))
		if (now_us() - begin > 10000000) {
			fprintf(stderr, "park: threads do not stop\n");
			exit(1);
		}
	uint64_t took = now_us() - begin;
	ask(e, SERVICE_INSPECT_GO);
	enclave_unpark_all(e);
	return took;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	extern char **environ;
	static uint64_t took[STOPS_MAX];
	struct enclave *e;
	struct failure why;
	char *program[64] = {argc > 1 ? argv[1] : NULL};
	int count = 1, stops = argc > 3 ? atoi(argv[2]) : 0;

	if (stops < 1 || stops > STOPS_MAX || argc > 60) {
		fprintf(stderr, "usage: park IMAGE STOPS INTERVAL_MS [ARGUMENT...]\n");
		return 2;
	}
	for (int i = 4; i < argc; i++)
		program[count++] = argv[i];
	if (enclave_load(argv[1], &e, &why) || enclave_start(e, count, program, environ, 0, &why)) {
		fprintf(stderr, "park: %s\n", why.message);
		return 1;
	}
	usleep(500000);
	for (int i = 0; i < stops; i++) {
		usleep((unsigned)atoi(argv[3]) * 1000);
		took[i] = stop_once(e);
	}
	qsort(took, (size_t)stops, sizeof(*took), compare);
	printf("{\"stops\":%d,\"park_us\":%lu,\"park_us_max\":%lu}\n", stops, took[stops / 2], took[stops - 1]);
	fflush(stdout);
	_exit(0);
}
