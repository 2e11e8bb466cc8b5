/* SPDX-License-Identifier: Apache-2.0
 *
 * While a program stands still, the one thread that brings it back should not
 * wait behind anything else on its host, least of all behind the program's own
 * threads as they wake. That needs CAP_SYS_NICE; without it only its sleeps change.
 */
#ifndef MIGRATE_URGENT_H
#define MIGRATE_URGENT_H

#include <sys/prctl.h>
#include <sys/resource.h>

/* The calling thread only (in Linux a thread has a nice value of its own), and threads it makes meanwhile.
 * Returns what thread_urgent_end() wants. */
static inline int thread_urgent_begin(void)
{
	int usual = getpriority(PRIO_PROCESS, 0);
	prctl(PR_SET_TIMERSLACK, 1); /* short sleeps are as short as they say */
	return setpriority(PRIO_PROCESS, 0, -15) ? 20 : usual;
}

static inline void thread_urgent_end(int usual)
{
	prctl(PR_SET_TIMERSLACK, 0); /* the usual one */
	if (usual < 20 && setpriority(PRIO_PROCESS, 0, usual))
		return; /* back to less is always allowed */
}

#endif
