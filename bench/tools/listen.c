/* SPDX-License-Identifier: Apache-2.0
 *
 * listen PORT LOG
 *
 * The client of a workload: notes every beat as it arrives, a line each
 *   beat ARRIVAL_US SEQUENCE PROGRAM_US OPERATIONS GAP_US
 * (ARRIVAL_US: the wall clock here; PROGRAM_US: the program's own clock). Lines from standard input, "check" and
 * "quit", are passed on to where the last beat came from; an answer is a line "checked WRONG TEXT". "new" begins the
 * log anew, "end" ends this process.
 */
#include <arpa/inet.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "bench/workloads/beat.h"

#define BUFFER (8 << 20) /* of the socket: no beat is lost because this process had to wait */

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void note(FILE *log, struct beat *b)
{
	if (b->kind == BEAT_WORK) {
		fprintf(log, "beat %llu %llu %llu %llu %llu\n", (unsigned long long)now_us(),
			(unsigned long long)b->sequence, (unsigned long long)b->program_ns / 1000,
			(unsigned long long)b->operations, (unsigned long long)b->gap_ns / 1000);
		return;
	}
	b->text[sizeof(b->text) - 1] = 0;
	fprintf(log, "checked %llu %s\n", (unsigned long long)b->wrong, b->text);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET}, there = {0};
	int size = BUFFER, fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct beat b;
	char line[64];

	if (argc != 3) {
		fprintf(stderr, "usage: listen PORT LOG\n");
		return 2;
	}
	FILE *log = fopen(argv[2], "w");
	setvbuf(stdin, NULL, _IONBF, 0); /* poll() must see what is still to be read */
	here.sin_port = htons((uint16_t)atoi(argv[1]));
	if (!log)
		err(1, "%s", argv[2]);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)))
		err(1, "socket");
	if (bind(fd, (struct sockaddr *)&here, sizeof(here)))
		err(1, "port %s", argv[1]);
	struct pollfd wait[2] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	for (;;) {
		/* what is written a little late is complete when somebody looks */
		int ready = poll(wait, 2, 20);
		if (ready == 0)
			fflush(log);
		if (wait[0].revents) {
			socklen_t length = sizeof(there);
			if (recvfrom(fd, &b, sizeof(b), 0, (struct sockaddr *)&there, &length) == sizeof(b) &&
			    b.magic == BEAT_MAGIC)
				note(log, &b);
		}
		if (ready <= 0 || !wait[1].revents)
			continue;
		if (!fgets(line, sizeof(line), stdin) || !strcmp(line, "end\n"))
			break;
		if (!strcmp(line, "new\n")) {
			if (!freopen(argv[2], "w", log))
				err(1, "%s", argv[2]);
		} else {
			sendto(fd, line, 1, 0, (struct sockaddr *)&there, sizeof(there));
		}
	}
	fclose(log);
	return 0;
}
