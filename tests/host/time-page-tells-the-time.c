/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: host/timepage.c and host/vdso.c. A reader that follows the page's rules
 * gets CLOCK_MONOTONIC within a small error, from the first moment on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>
#include "host/timepage.h"
#include "host/vdso.h"

#define ERROR_NS_MAX 200000

static uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static uint64_t page_ns(const struct time_page *page)
{
	for (;;) {
		uint32_t seq = __atomic_load_n(&page->seq, __ATOMIC_ACQUIRE);
		struct time_page copy = *(const volatile struct time_page *)page;

		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (seq & 1 || __atomic_load_n(&page->seq, __ATOMIC_RELAXED) != seq)
			continue;
		return copy.mono_ns + (unsigned __int128)(__rdtsc() - copy.tsc) * 1000000000u / copy.tsc_hz;
	}
}

int main(void)
{
	struct timepage *t;
	int64_t worst = 0;

	if (!vdso_symbol("__vdso_clock_gettime") || vdso_symbol("__vdso_no_such_thing")) {
		printf("the vDSO's symbols are not found\n");
		return 1;
	}
	if (timepage_create(&t) || timepage_start(t) || timepage_start(t))
		return 1;
	for (int i = 0; i < 300; i++) {
		uint64_t before = mono_ns(), read = page_ns(timepage_page(t)), after = mono_ns();
		int64_t error = read < before  ? (int64_t)(before - read)
				: read > after ? (int64_t)(read - after)
					       : 0;

		if (error > worst)
			worst = error;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	timepage_destroy(t);
	printf("worst error %lld ns\n", (long long)worst);
	return worst > ERROR_NS_MAX;
}
