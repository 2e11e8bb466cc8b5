/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: host/thread.c, host/border.c, with a runtime of its own. Kicks and
 * wake-ups at any moment lose nothing; parks and unparks that cross do not leave
 * a thread behind; a fault is repaired inside; everything ends when told to.
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "host/fdtable.h"
#include "tests/host/guest/load.h"

#define A THREAD_SLOTS_SERVICE
#define B (A + 1)
#define C (A + 2)
#define D (A + 3)

static void kicked_while_waiting(struct enclave *e)
{
	uint64_t before, rounds = 0;
	double start = now_s();

	guest_mode(e, A, GUEST_WAIT, 0);
	guest_enter(e, 1 << A);
	before = guest_count(e, A).interrupted;
	for (; now_s() - start < 1; rounds++) {
		enclave_kick_all(e);
		UNTIL(guest_count(e, A).interrupted > before);
		before = guest_count(e, A).interrupted;
	}
	printf("%llu kicks answered while waiting\n", (unsigned long long)rounds);
	guest_leave(e, 1 << A);
}

/* Two threads wake each other in turns while kicks rain: one lost token or wake and they stand still. */
static void wakes_cross_kicks(struct enclave *e)
{
	double start = now_s();
	uint64_t last = 0, now;

	guest_mode(e, A, GUEST_PING, B);
	guest_mode(e, B, GUEST_PING, A);
	guest_enter(e, 1 << A | 1 << B);
	while (now_s() - start < 2) {
		for (int i = 0; i < 100; i++) {
			enclave_kick_all(e);
			usleep(i);
		}
		UNTIL((now = guest_count(e, A).count) > last);
		last = now;
	}
	printf("%llu turns under kicks\n", (unsigned long long)last);
	guest_leave(e, 1 << A | 1 << B);
}

static bool all_parked(struct enclave *e)
{
	for (unsigned slot = A; slot <= D; slot++)
		if (!guest_count(e, slot).parked)
			return false;
	return true;
}

static void parks_cross_unparks(struct enclave *e)
{
	double start = now_s();
	int pipe_fd[2], fd;
	uint64_t rounds;

	if (pipe(pipe_fd))
		test_failed("no pipe");
	fd = fdtable_add(enclave_fds(e), pipe_fd[0], FILE_PIPE, false);
	guest_mode(e, A, GUEST_WAIT, 0);
	guest_mode(e, B, GUEST_PING, B);
	guest_mode(e, C, GUEST_READ, fd);
	guest_mode(e, D, GUEST_WAIT, 0);
	guest_enter(e, 1 << A | 1 << B | 1 << C | 1 << D);
	for (rounds = 0; now_s() - start < 2; rounds++) {
		uint64_t before = guest_count(e, B).count;

		guest_stop(e, 1);
		enclave_kick_all(e);
		UNTIL(all_parked(e));
		/* unparked at once, most threads not having reached the host's wait yet */
		guest_stop(e, 0);
		enclave_unpark_all(e);
		UNTIL(guest_count(e, B).count > before);
		UNTIL(!enclave_any_parked(e));
	}
	guest_stop(e, 1);
	enclave_kick_all(e);
	UNTIL(enclave_any_parked(e));
	guest_stop(e, 0);
	enclave_unpark_all(e);
	UNTIL(!enclave_any_parked(e));
	printf("%llu stops\n", (unsigned long long)rounds);
	guest_leave(e, 1 << A | 1 << B | 1 << C | 1 << D);
	close(pipe_fd[1]);
}

static void faults_are_repaired(struct enclave *e)
{
	uint64_t before = guest_count(e, A).count;

	guest_mode(e, A, GUEST_FAULT, 0);
	guest_enter(e, 1 << A);
	UNTIL(guest_count(e, A).count > before);
	guest_mode(e, A, GUEST_CREATE, B);
	guest_mode(e, B, GUEST_FAULT, 0);
	before = guest_count(e, B).count;
	guest_enter(e, 1 << A);
	UNTIL(guest_count(e, B).count > before);
	/* A may be on its way back still: told to stop, it would park */
	guest_leave(e, 1 << A | 1 << B);
}

static void standby_returns_when_all_wait(struct enclave *e)
{
	uint8_t slots[GUEST_SLOTS / 8] = {0, 0x0f};

	guest_stop(e, 1);
	if (enclave_standby(e, slots, GUEST_SLOTS) || !all_parked(e))
		test_failed("standby: not all wait");
	slots[1] = 0x10;
	if (enclave_standby(e, slots, GUEST_SLOTS))
		test_failed("standby of one more slot");
	enclave_abandon(e);
}

static void destroyed_with_threads_inside(void)
{
	struct enclave *e = guest_load();
	double start;
	int status;

	guest_mode(e, A, GUEST_SPIN, 0);
	guest_mode(e, B, GUEST_WAIT, 0);
	guest_enter(e, 1 << A | 1 << B);
	UNTIL(guest_count(e, A).count && guest_count(e, B).count);
	guest_mode(e, C, GUEST_EXIT, 33);
	guest_enter(e, 1 << C);
	if (enclave_wait(e, &status) != ENCLAVE_EXITED || status != 33)
		test_failed("the program's end: status %d", status);
	start = now_s();
	enclave_destroy(e);
	if (now_s() - start > 2)
		test_failed("destroying took %.1f s", now_s() - start);
}

int main(void)
{
	struct enclave *e = guest_load();

	setlinebuf(stdout);
	kicked_while_waiting(e);
	wakes_cross_kicks(e);
	parks_cross_unparks(e);
	faults_are_repaired(e);
	standby_returns_when_all_wait(e);
	enclave_destroy(e);
	destroyed_with_threads_inside();
	return 0;
}
