/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: enclave/clock.c. The host's thread that writes the time page can lose its processor in the middle: the
 * clocks then wait or stand still. They do not jump, neither then nor on a machine whose clock is behind, or whose
 * calendar is another.
 */
#include <stdio.h>
#include <x86intrin.h>
#include "abi/call.h"
#include "enclave/clock.h"
#include "enclave/mm.h"
#include "enclave/wire.h"

#define S 1000000000ull

/* what clock.c uses of the rest of the runtime, here without a meaning */
bool mm_app_range(uint64_t address, uint64_t size)
{
	return true;
}

void marks_set(uint64_t address, uint64_t size)
{
}

static struct time_page page;

static void set(uint64_t mono_ns, uint64_t real_ns)
{
	page.tsc = __rdtsc();
	page.mono_ns = mono_ns;
	page.real_ns = real_ns;
	page.tsc_hz = 2 * S;
}

static int is_near(const char *what, uint64_t is, uint64_t wanted)
{
	if (is >= wanted - S / 1000 && is < wanted + S)
		return 0;
	printf("%s: %llu ns, not %llu\n", what, (unsigned long long)is, (unsigned long long)wanted);
	return 1;
}

int main(void)
{
	uint8_t carried[8 + 8 * CPU_CLOCKS];
	struct writer w = {.base = carried, .capacity = sizeof(carried)};
	int wrong = 0;

	set(100 * S, 1000 * S);
	if (clock_init((uint64_t)&page))
		return 1;
	/* it came from a machine whose clock said 40 s: it is behind this one's from now on */
	put_u64(&w, 40 * S);
	for (int i = 0; i < CPU_CLOCKS; i++)
		put_u64(&w, 1ull << 62);
	struct reader r = {.base = carried, .size = sizeof(carried)};
	/* the hand-over takes 10 s here, in which the calendar is set forwards by an hour: none of the program's time */
	set(90 * S, 900 * S);
	clock_arrives();
	set(95 * S, 905 * S);
	clock_arrives();
	set(100 * S, 4600 * S);
	clock_import(&r);
	clock_go();
	wrong += is_near("after the move", clock_mono_ns(), 50 * S);
	set(110 * S, 1010 * S);
	wrong += is_near("later", clock_mono_ns(), 60 * S);
	page.seq = 1;
	wrong += is_near("in the middle of an update", clock_mono_ns(), 60 * S);
	wrong += is_near("the calendar in the middle of an update", clock_real_ns(), 1010 * S);
	page.seq = 2;
	set(10 * S, 1020 * S);
	wrong += is_near("from a clock before the enclave's beginning", clock_mono_ns(), 60 * S);
	page.seq = 4;
	set(120 * S, 1020 * S);
	wrong += is_near("after all that", clock_mono_ns(), 70 * S);
	/* forwards by half of what there is at most, again and again: once around */
	uint64_t last = clock_mono_ns(), used = clock_cpu_ns(CPU_ALL);
	for (int i = 1; i <= 8; i++) {
		page.seq += 2;
		set(120 * S + i * (1ull << 62), 1020 * S);
		page.cpu_ns[CPU_ALL] = i * (1ull << 62);
		uint64_t now = clock_mono_ns(), used_now = clock_cpu_ns(CPU_ALL);
		if (now < last || used_now < used) {
			printf("backwards, at step %d\n", i);
			wrong++;
		}
		last = now;
		used = used_now;
	}
	return wrong != 0;
}
