/* SPDX-License-Identifier: Apache-2.0
 *
 * While a program stands still, the one thread that brings it back should not
 * wait behind anything else on its host, least of all behind the program's own
 * threads as they wake: a better nice value alone lets those finish their turn.
 * That needs CAP_SYS_NICE; without it only its sleeps change.
 */
#ifndef MIGRATE_URGENT_H
#define MIGRATE_URGENT_H

#include <sched.h>
#include <stdbool.h>
#include <sys/prctl.h>

struct urgency {
	bool on;
	int policy;
	struct sched_param param;
};

/* The calling thread only; threads it makes meanwhile are ordinary ones. */
static inline struct urgency thread_urgent_begin(void)
{
	struct urgency u = {.policy = sched_getscheduler(0)};
	prctl(PR_SET_TIMERSLACK, 1); /* short sleeps are as short as they say */
	u.on = u.policy >= 0 && sched_getparam(0, &u.param) == 0 &&
	       sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){1}) == 0;
	return u;
}

/* u as begin gave it, or all zeros. The nice value has been kept all the while. */
static inline void thread_urgent_end(struct urgency u)
{
	prctl(PR_SET_TIMERSLACK, 0); /* the usual one */
	/* Whoever was let in by RLIMIT_RTPRIO alone may not take the flag back. */
	if (u.on && sched_setscheduler(0, u.policy, &u.param))
		sched_setscheduler(0, u.policy | SCHED_RESET_ON_FORK, &u.param);
}

#endif
