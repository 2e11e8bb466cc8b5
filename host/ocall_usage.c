/* SPDX-License-Identifier: Apache-2.0
 *
 * Processor time: that of the program's threads, not of those that load it or
 * move it.
 */
#include "host/ocall_request.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define TICKS_PER_S 100

static struct timeval timeval_of(uint64_t ns)
{
	return (struct timeval){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S / 1000)};
}

long call_usage(struct request *r)
{
	long result = request_direct(r->nr, r->arg[0], r->arg[1], 0, 0, 0, 0);
	uint64_t ns[2];
	if (result < 0 || !r->thread->cpu_ns)
		return result;
	r->thread->cpu_ns(r->thread->enclave, ns);
	if (r->nr == SYS_getrusage && (int)r->arg[0] == RUSAGE_SELF) {
		struct rusage *usage = (struct rusage *)r->arg[1];
		usage->ru_utime = timeval_of(ns[0]);
		usage->ru_stime = timeval_of(ns[1] - ns[0]);
	} else if (r->nr == SYS_times && r->arg[0]) {
		struct tms *times = (struct tms *)r->arg[0];
		times->tms_utime = (clock_t)(ns[0] / (NS_PER_S / TICKS_PER_S));
		times->tms_stime = (clock_t)((ns[1] - ns[0]) / (NS_PER_S / TICKS_PER_S));
	} else if (r->nr == SYS_clock_gettime && (int)r->arg[0] == CLOCK_PROCESS_CPUTIME_ID) {
		*(struct timespec *)r->arg[1] =
		    (struct timespec){(time_t)(ns[1] / NS_PER_S), (long)(ns[1] % NS_PER_S)};
	}
	return result;
}
