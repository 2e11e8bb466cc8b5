/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that hands a program over comes first only while it does, and
 * nobody inherits that.
 */
#include "migrate/urgent.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/check.h"

static void *policy_of_a_new_thread(void *policy)
{
	*(int *)policy = sched_getscheduler(0);
	return NULL;
}

static int made_meanwhile(void)
{
	pthread_t thread;
	int policy = -1;
	CHECK(pthread_create(&thread, NULL, policy_of_a_new_thread, &policy) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return policy;
}

static void all_is_as_before(int policy)
{
	CHECK(sched_setscheduler(0, policy, &(struct sched_param){0}) == 0);
	struct urgency u = thread_urgent_begin();
	if (!u.on) {
		fprintf(stderr, "skipped: SCHED_FIFO needs CAP_SYS_NICE\n");
		exit(77);
	}
	CHECK((sched_getscheduler(0) & ~SCHED_RESET_ON_FORK) == SCHED_FIFO);
	CHECK(made_meanwhile() == SCHED_OTHER);
	thread_urgent_end(u);
	CHECK(sched_getscheduler(0) == policy);
	CHECK(made_meanwhile() == policy);
}

int main(void)
{
	thread_urgent_end((struct urgency){0}); /* never begun: nothing to take back */
	all_is_as_before(SCHED_OTHER);
	all_is_as_before(SCHED_BATCH);
	return 0;
}
