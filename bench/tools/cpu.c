/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu SOURCE_PID DESTINATION_PARENT_PID OUT
 *
 * Who uses the processors while a program moves: looks every 20 ms at how long each thread of the source, and of
 * the process that DESTINATION_PARENT starts for the move, has run. Threads that the source had from the start,
 * and those that the destination still has at the end, are the program's; all others, and the destination's first
 * thread, are the migration's. On SIGTERM writes {"migration_us", "program_us"}. What a thread does in its last
 * 20 ms is missed.
 */
#include <dirent.h>
#include <err.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 4096
#define LOOK_US 20000

struct thread {
	int process, id;
	bool is_first_look, is_there;
	uint64_t first_ns, last_ns;
};

static struct thread threads[THREADS_MAX];
static unsigned thread_count;
static volatile sig_atomic_t ended;

static void on_term(int unused)
{
	(void)unused;
	ended = 1;
}

static void look_at(int process, bool is_first_look)
{
	char path[128];
	uint64_t ns;

	snprintf(path, sizeof(path), "/proc/%d/task", process);
	DIR *tasks = opendir(path);
	for (struct dirent *task; tasks && (task = readdir(tasks));) {
		int id = atoi(task->d_name);
		unsigned i = 0;
		if (id == 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", process, id);
		FILE *f = fopen(path, "r");
		if (!f)
			continue;
		if (fscanf(f, "%lu", &ns) == 1) {
			while (i < thread_count && threads[i].id != id)
				i++;
			if (i == thread_count && thread_count < THREADS_MAX)
				/* one that began later has run for nobody before */
				threads[thread_count++] = (struct thread){.process = process, .id = id,
									  .is_first_look = is_first_look,
									  .first_ns = is_first_look ? ns : 0};
			if (i < thread_count) {
				threads[i].last_ns = ns;
				threads[i].is_there = true;
			}
		}
		fclose(f);
	}
	if (tasks)
		closedir(tasks);
}

/* The newest child: a receiver has one for each program that came. */
static int newest_child(int parent)
{
	char path[64];
	int child, newest = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
	FILE *f = fopen(path, "r");
	while (f && fscanf(f, "%d", &child) == 1)
		newest = child;
	if (f)
		fclose(f);
	return newest;
}

int main(int argc, char **argv)
{
	uint64_t migration_ns = 0, program_ns = 0;
	int destination = 0;

	if (argc != 4) {
		fprintf(stderr, "usage: cpu SOURCE_PID DESTINATION_PARENT_PID OUT\n");
		return 2;
	}
	int source = atoi(argv[1]), parent = atoi(argv[2]), old = newest_child(parent);
	signal(SIGTERM, on_term);
	for (bool is_first = true; !ended; is_first = false) {
		for (unsigned i = 0; i < thread_count; i++)
			threads[i].is_there = false;
		look_at(source, is_first);
		destination = newest_child(parent);
		if (destination && destination != old)
			look_at(destination, false);
		usleep(LOOK_US);
	}
	for (unsigned i = 0; i < thread_count; i++) {
		struct thread *t = &threads[i];
		bool is_program = t->process == source ? t->is_first_look : t->is_there && t->id != t->process;
		*(is_program ? &program_ns : &migration_ns) += t->last_ns - t->first_ns;
	}
	FILE *out = fopen(argv[3], "w");
	if (!out)
		err(1, "%s", argv[3]);
	fprintf(out, "{\"migration_us\":%lu,\"program_us\":%lu}\n", migration_ns / 1000, program_ns / 1000);
	return fclose(out) != 0;
}
