/* SPDX-License-Identifier: Apache-2.0
 *
 * markers SEED PORT: keeps 64-byte markers that follow from SEED in its heap, on
 * its stack, in its globals and in its thread-local data, and a thread that
 * writes some of them again and again. Commands: check ("ok N" markers), quit.
 * markers --find SEED FILE: fails if any 16-byte piece of any of them is in FILE.
 * markers --write SEED FILE: a file in which --find must find something.
 *
 * The markers are made from SEED when the program runs: no file holds them.
 */
#define _GNU_SOURCE
#include "control.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MARKER_SIZE 64
#define PIECE_SIZE 16
#define HEAP_MARKERS 2000
#define HEAP_STRIDE 9000 /* on pages of their own, at all offsets */
#define GLOBAL_MARKERS 8
#define STACK_MARKERS 8
#define MARKER_COUNT (HEAP_MARKERS + GLOBAL_MARKERS + STACK_MARKERS)

static uint64_t seed;

static void make(unsigned index, unsigned char *out)
{
	uint64_t x = seed ^ (index * 0x9e3779b97f4a7c15u);

	for (unsigned i = 0; i < MARKER_SIZE / 8; i++) {
		x += 0x9e3779b97f4a7c15u;
		uint64_t z = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		memcpy(out + i * 8, &z, 8);
	}
}

static unsigned char *heap;
static unsigned char global[GLOBAL_MARKERS][MARKER_SIZE];
static unsigned char (*on_stack)[MARKER_SIZE];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned char *place(unsigned index)
{
	if (index < HEAP_MARKERS)
		return heap + (size_t)index * HEAP_STRIDE;
	index -= HEAP_MARKERS;
	return index < GLOBAL_MARKERS ? global[index] : on_stack[index - GLOBAL_MARKERS];
}

static void check(char *reply, size_t size)
{
	unsigned char expected[MARKER_SIZE];
	unsigned wrong = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < MARKER_COUNT; i++) {
		make(i, expected);
		wrong += memcmp(place(i), expected, MARKER_SIZE) != 0;
	}
	pthread_mutex_unlock(&lock);
	if (wrong)
		snprintf(reply, size, "wrong: %u of %u markers changed", wrong, MARKER_COUNT);
	else
		snprintf(reply, size, "ok %u", MARKER_COUNT);
}

static void handle(const char *command, char *reply, size_t size)
{
	if (!strcmp(command, "check"))
		check(reply, size);
	else if (!strcmp(command, "quit"))
		exit(0);
	else
		snprintf(reply, size, "unknown command");
}

static int plant(int port)
{
	unsigned char stack[STACK_MARKERS][MARKER_SIZE];
	struct timespec pause = {0, 1000000};

	heap = malloc((size_t)HEAP_MARKERS * HEAP_STRIDE);
	if (!heap)
		return 1;
	on_stack = stack;
	for (unsigned i = 0; i < MARKER_COUNT; i++)
		make(i, place(i));
	control_start(port, handle);
	say("ready");
	for (unsigned i = 0;; i = (i + 7) % MARKER_COUNT) {
		pthread_mutex_lock(&lock);
		make(i, place(i));
		pthread_mutex_unlock(&lock);
		nanosleep(&pause, NULL);
	}
}

static int find(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	unsigned found = 0;

	if (fd < 0 || fstat(fd, &st) || st.st_size == 0) {
		fprintf(stderr, "markers: %s: nothing to search\n", path);
		return 1;
	}
	unsigned char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (file == MAP_FAILED)
		return 1;
	/* One pass over the file: a small table says which two bytes can begin a piece. */
	static unsigned short head[65536];
	static unsigned short next[MARKER_COUNT * MARKER_SIZE / PIECE_SIZE + 1];
	static unsigned char pieces[MARKER_COUNT * MARKER_SIZE / PIECE_SIZE + 1][PIECE_SIZE];
	unsigned count = 1;
	for (unsigned i = 0; i < MARKER_COUNT; i++) {
		unsigned char marker[MARKER_SIZE];
		make(i, marker);
		for (unsigned k = 0; k < MARKER_SIZE; k += PIECE_SIZE, count++) {
			memcpy(pieces[count], marker + k, PIECE_SIZE);
			unsigned key = marker[k] | marker[k + 1] << 8;
			next[count] = head[key];
			head[key] = (unsigned short)count;
		}
	}
	for (off_t i = 0; i + PIECE_SIZE <= st.st_size; i++)
		for (unsigned p = head[file[i] | file[i + 1] << 8]; p; p = next[p])
			if (!memcmp(file + i, pieces[p], PIECE_SIZE) && found++ < 5)
				printf("a piece of marker %u is at byte %lld\n",
				       (p - 1) / (MARKER_SIZE / PIECE_SIZE), (long long)i);
	printf("%u pieces found in %lld bytes\n", found, (long long)st.st_size);
	return found ? 1 : 0;
}

static int write_one(const char *path)
{
	unsigned char marker[MARKER_SIZE];
	FILE *f = fopen(path, "w");

	make(MARKER_COUNT / 2, marker);
	return f && fwrite("at an odd place", 15, 1, f) == 1 && fwrite(marker, MARKER_SIZE, 1, f) == 1 && !fclose(f) ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--find")) {
		seed = strtoull(argv[2], NULL, 0);
		return find(argv[3]);
	}
	if (argc == 4 && !strcmp(argv[1], "--write")) {
		seed = strtoull(argv[2], NULL, 0);
		return write_one(argv[3]);
	}
	if (argc != 3) {
		fprintf(stderr, "usage: markers SEED PORT | markers --find|--write SEED FILE\n");
		return 2;
	}
	seed = strtoull(argv[1], NULL, 0);
	return plant(atoi(argv[2]));
}
