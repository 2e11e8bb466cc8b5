/* SPDX-License-Identifier: Apache-2.0
 *
 * The test runtime (guest.h) loaded and spoken to.
 * Anything unexpected ends the test.
 */
#ifndef TESTS_HOST_GUEST_LOAD_H
#define TESTS_HOST_GUEST_LOAD_H

#include "abi/layout.h"
#include "host/enclave.h"
#include "tests/host/guest/guest.h"

struct guest_count {
	uint64_t count, interrupted, parked;
};

struct enclave *guest_load(void);
void guest_mode(struct enclave *e, unsigned slot, enum guest_mode mode, uint64_t argument);
void guest_stop(struct enclave *e, int stop);
struct guest_count guest_count(struct enclave *e, unsigned slot);
/* Host threads enter the slots of a mask (bit i = slot i) and do as their mode says. */
void guest_enter(struct enclave *e, uint64_t slots);
/* They end; returns when they have. */
void guest_leave(struct enclave *e, uint64_t slots);

double now_s(void);
_Noreturn void test_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Waits until condition holds; fails the test after ten seconds. */
#define UNTIL(condition)                                                                                     \
	do {                                                                                                 \
		double until_start = now_s();                                                                \
		while (!(condition)) {                                                                       \
			if (now_s() - until_start > 10)                                                      \
				test_failed("not within ten seconds: %s", #condition);                       \
			sched_yield();                                                                       \
		}                                                                                            \
	} while (0)

#endif
