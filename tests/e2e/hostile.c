/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked over the command: what the host of a destination can do to an enclave's
 * memory once the program runs there and pages are still to come. HOSTILE says
 * what, for HOSTILE_S seconds:
 *   remap   stretches of the heap are mapped anew, again and again
 *   take    every page of the heap that is there is trimmed and removed, as far as the kernel lets it; for longer, up to
 *           ten times, if none was there yet
 * "hostile: page trimmed" or "page removed" on standard error where that was possible, "hostile: N tries" at
 * the end.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "host/enclave_private.h"

#define STRETCH 64u

void __real_enclave_unpark_all(struct enclave *e);
void __wrap_enclave_unpark_all(struct enclave *e);

static uint64_t seed = 88172645463325252u;

static uint64_t random_below(uint64_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % limit;
}

static void *hostile_main(void *context)
{
	struct enclave *e = context;
	const struct image_config *config = enclave_config(e);
	const char *seconds = getenv("HOSTILE_S");
	bool take = strcmp(getenv("HOSTILE"), "take") == 0;
	time_t lasts = seconds ? atoi(seconds) : 2, until = time(NULL) + lasts, latest = until + 9 * lasts;
	uint64_t first = config->heap_base / PAGE_SIZE, count = config->heap_size / PAGE_SIZE;
	unsigned long tries = 0, trimmed = 0;
	while (time(NULL) < (take && !trimmed ? latest : until)) {
		uint64_t page = first + random_below(count - STRETCH);
		tries++;
		if (!take) {
			e->device.op.mmap((void *)(page * PAGE_SIZE), STRETCH * PAGE_SIZE,
					  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, e->device.fd, 0);
			continue;
		}
		for (uint64_t i = page; i < page + STRETCH; i++) {
			/* At once: the program may end any moment. */
			if (enclave_trim(e, i, 1) == 0) {
				trimmed++;
				fprintf(stderr, "hostile: page trimmed\n");
			}
			if (enclave_remove(e, i, 1) == 0)
				fprintf(stderr, "hostile: page removed\n");
		}
	}
	fprintf(stderr, "hostile: %lu tries\n", tries);
	return NULL;
}

void __wrap_enclave_unpark_all(struct enclave *e)
{
	static pthread_t thread;
	if (getenv("HOSTILE") && !thread)
		pthread_create(&thread, NULL, hostile_main, e);
	__real_enclave_unpark_all(e);
}
