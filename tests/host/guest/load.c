/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/host/guest/load.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "host/enclave_private.h"

#define GUEST_IMAGE "build/tests/host/guest/guest.image"

double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void test_failed(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

struct enclave *guest_load(void)
{
	struct enclave *e;
	struct failure why;

	if (enclave_load(GUEST_IMAGE, &e, &why))
		test_failed("%s", why.message);
	return e;
}

static struct service_call serve(struct enclave *e, struct service_call call)
{
	int rc = enclave_service(e, &call);

	if (rc || call.result)
		test_failed("service call %u: %d, %d", call.op, rc, call.result);
	return call;
}

void guest_mode(struct enclave *e, unsigned slot, enum guest_mode mode, uint64_t argument)
{
	serve(e, (struct service_call){.op = GUEST_MODE, .arg = {slot, mode, argument}});
}

void guest_stop(struct enclave *e, int stop)
{
	serve(e, (struct service_call){.op = GUEST_STOP, .arg = {stop}});
}

struct guest_count guest_count(struct enclave *e, unsigned slot)
{
	struct service_call call = serve(e, (struct service_call){.op = GUEST_COUNT, .arg = {slot}});

	return (struct guest_count){call.ret[0], call.ret[1], call.ret[2]};
}

void guest_enter(struct enclave *e, uint64_t slots)
{
	for (unsigned i = 0; i < GUEST_SLOTS; i++)
		if (slots >> i & 1 && thread_start(e, i))
			test_failed("no thread for slot %u", i);
}

static bool slot_runs(struct enclave *e, unsigned slot)
{
	bool runs;

	pthread_mutex_lock(&e->lock);
	runs = e->slot[slot].state == SLOT_RUNNING;
	pthread_mutex_unlock(&e->lock);
	return runs;
}

void guest_leave(struct enclave *e, uint64_t slots)
{
	for (unsigned i = 0; i < GUEST_SLOTS; i++) {
		if (!(slots >> i & 1))
			continue;
		guest_mode(e, i, GUEST_DONE, 0);
		enclave_kick(e, i);
		UNTIL(!slot_runs(e, i));
	}
}
