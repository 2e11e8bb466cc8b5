/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/lane.h"
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void priority_set(struct lane_thread *t, int nice)
{
	int tid = atomic_load(&t->tid);
	if (tid && geteuid() == 0)
		setpriority(PRIO_PROCESS, (id_t)tid, nice);
}

static void *lane_thread_main(void *argument)
{
	struct lane_thread *t = argument;
	atomic_store(&t->tid, gettid());
	/* Whichever comes later, this or lane_priority(), sees the other. */
	priority_set(t, atomic_load(&t->lane->priority));
	return t->run(t->context);
}

int lane_open(struct lane *l, size_t slot_size, void *(*first)(void *), void *(*second)(void *),
	      void *context)
{
	int rc = ring_init(&l->ring, slot_size);
	if (rc)
		return rc;
	l->ring_made = true;
	l->thread[0].run = first;
	l->thread[1].run = second;
	while (l->threads < 2 && rc == 0) {
		struct lane_thread *t = &l->thread[l->threads];
		t->context = context;
		t->lane = l;
		rc = -pthread_create(&t->thread, NULL, lane_thread_main, t);
		if (rc == 0)
			l->threads++;
	}
	return rc;
}

void lane_close(struct lane *l)
{
	shutdown(l->fd, SHUT_RDWR);
	if (l->ring_made)
		ring_close(&l->ring);
	while (l->threads > 0)
		pthread_join(l->thread[--l->threads].thread, NULL);
	if (l->ring_made)
		ring_destroy(&l->ring);
	close(l->fd);
}

void lane_priority(struct lane *l, enum lane_priority priority)
{
	atomic_store(&l->priority, priority);
	for (unsigned i = 0; i < l->threads; i++)
		priority_set(&l->thread[i], priority);
}
