/* SPDX-License-Identifier: Apache-2.0
 *
 * oracle IMAGE STOPS INTERVAL_MS [ARGUMENT...]
 *
 * Are the marks right? Runs a program in a DEBUG enclave on softsgx and stops it
 * again and again as a move would. At each stop the kernel says which pages were
 * written since the last (softsgx_oracle_*: write protection behind the enclave's
 * back, which shares nothing with the marks), the enclave says which pages a final
 * round would send. A page that was written, may be needed and would not be sent
 * is lost: exit 1. Prints what it saw; over-marking is reported, not an error.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "host/enclave.h"
#include "host/enclave_private.h"
#include "softsgx/softsgx.h"

#define PAGE_OF(address) ((address) >> PAGE_SHIFT)

struct area {
	uint64_t first, count;
	uint8_t *written;
	uint8_t *sent; /* two bitmaps: would be sent, need not travel */
	size_t size;
};

static struct {
	unsigned stops;
	uint64_t written, sent, unwritten_sent, lost, waited_us_max;
} totals;

static void die(const char *what, int rc)
{
	fprintf(stderr, "oracle: %s: %s\n", what, strerror(-rc));
	exit(rc == -ENOSYS ? 77 : 2);
}

static void sleep_us(unsigned us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&t, NULL);
}

static uint64_t ask(struct enclave *e, struct service_call *call, const char *what)
{
	int rc = enclave_service(e, call);
	if (rc == 0)
		rc = call->result;
	if (rc < 0)
		die(what, rc);
	return call->ret[0];
}

static bool bit(const uint8_t *map, uint64_t i)
{
	return map[i / 8] >> i % 8 & 1;
}

/* A page that came to exist counts as written. Nothing is lost while it is still what a fresh page is. */
static bool is_zero(uint64_t page)
{
	const uint64_t *word = (const uint64_t *)(page << PAGE_SHIFT);
	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		if (word[i])
			return false;
	return true;
}

static void area_init(struct area *a, uint64_t start, uint64_t end)
{
	a->first = PAGE_OF(start);
	a->count = PAGE_OF(end) - a->first;
	a->size = (a->count + 63) / 64 * 8;
	a->written = calloc(1, a->size);
	a->sent = calloc(2, a->size);
	if (!a->written || !a->sent)
		die("memory", -ENOMEM);
}

static void area_check(struct enclave *e, struct area *a, bool judge)
{
	memset(a->written, 0, a->size);
	int rc = softsgx_oracle_collect(e->device.fd, (void *)(a->first << PAGE_SHIFT), a->count << PAGE_SHIFT, a->written);
	if (rc < 0)
		die("softsgx_oracle_collect", rc);
	struct service_call dirty = {.op = SERVICE_INSPECT_DIRTY, .arg = {a->first, a->count},
				     .out = (uint64_t)a->sent, .out_size = 2 * a->size};
	ask(e, &dirty, "SERVICE_INSPECT_DIRTY");
	for (uint64_t i = 0; judge && i < a->count; i++) {
		bool written = bit(a->written, i), sent = bit(a->sent, i);
		totals.written += written;
		totals.sent += sent;
		totals.unwritten_sent += sent && !written;
		if (!written || sent || bit(a->sent + a->size, i) || is_zero(a->first + i))
			continue;
		if (totals.lost++ < 10)
			fprintf(stderr, "oracle: stop %u: page %#llx was written and is not marked\n", totals.stops,
				(unsigned long long)(a->first + i) << PAGE_SHIFT);
	}
}

static void stop_and_look(struct enclave *e, struct area *area, unsigned areas, bool judge)
{
	struct service_call stop = {.op = SERVICE_INSPECT_STOP}, pending = {.op = SERVICE_INSPECT_PENDING};
	struct service_call go = {.op = SERVICE_INSPECT_GO};
	uint64_t waited_us = 0;

	ask(e, &stop, "SERVICE_INSPECT_STOP");
	enclave_kick_all(e);
	while (ask(e, &pending, "SERVICE_INSPECT_PENDING")) {
		if (waited_us > 10000000)
			die("threads do not park", -ETIMEDOUT);
		sleep_us(50);
		waited_us += 50;
	}
	if (waited_us > totals.waited_us_max)
		totals.waited_us_max = waited_us;
	for (unsigned i = 0; i < areas; i++)
		area_check(e, &area[i], judge);
	ask(e, &go, "SERVICE_INSPECT_GO");
	enclave_unpark_all(e);
	totals.stops += judge;
}

int main(int argc, char **argv)
{
	struct area area[IMAGE_RANGES_MAX + 1];
	struct enclave *e;
	struct failure why;

	if (argc < 4) {
		fprintf(stderr, "usage: oracle IMAGE STOPS INTERVAL_MS [ARGUMENT...]\n");
		return 2;
	}
	unsigned stops = (unsigned)atoi(argv[2]), interval_us = (unsigned)atoi(argv[3]) * 1000;
	if (enclave_load(argv[1], &e, &why)) {
		fprintf(stderr, "oracle: %s\n", why.message);
		return 2;
	}
	if (!enclave_is_software(e)) {
		printf("real SGX: nothing can look behind an enclave's back\n");
		return 77;
	}
	const struct image_config *config = enclave_config(e);
	unsigned areas = config->range_count;
	for (unsigned i = 0; i < areas; i++)
		area_init(&area[i], config->range[i].start, config->range[i].end);
	area_init(&area[areas++], config->heap_base, config->heap_base + config->heap_size);
	for (unsigned i = 0; i < areas; i++) {
		int rc = softsgx_oracle_start(e->device.fd, (void *)(area[i].first << PAGE_SHIFT), area[i].count << PAGE_SHIFT);
		if (rc < 0)
			die("softsgx_oracle_start", rc);
	}
	extern char **environ;
	char *program[64] = {argv[1]};
	int count = 1;
	for (int i = 4; i < argc && count < 63; i++)
		program[count++] = argv[i];
	if (enclave_start(e, count, program, environ, 0, &why)) {
		fprintf(stderr, "oracle: %s\n", why.message);
		return 2;
	}
	sleep_us(interval_us);
	/* The first look arms what came to exist before anybody looked. */
	for (unsigned i = 0; i <= stops && !e->ended; i++) {
		stop_and_look(e, area, areas, i > 0);
		sleep_us(interval_us);
	}
	printf("%u stops, %llu pages written, %llu would be sent (%llu of them not written), %llu lost, parked within %llu us\n",
	       totals.stops, (unsigned long long)totals.written, (unsigned long long)totals.sent,
	       (unsigned long long)totals.unwritten_sent, (unsigned long long)totals.lost,
	       (unsigned long long)totals.waited_us_max);
	fflush(stdout);
	if (totals.stops == 0) {
		fprintf(stderr, "oracle: the program ended before the first stop\n");
		_exit(2);
	}
	_exit(totals.lost ? 1 : 0);
}
