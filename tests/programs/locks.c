/* SPDX-License-Identifier: Apache-2.0
 *
 * locks PORT FILE: holds a record lock and a lock of the whole file, both for writing. Commands: check, quit.
 * locks try FILE: whether another process could have one of them; status 0 if so.
 */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int ranged, whole;

static int lock_range(int fd)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};

	return fcntl(fd, F_SETLK, &range);
}

static void handle(const char *command, char *reply, size_t size)
{
	if (!strcmp(command, "quit"))
		exit(0);
	if (lock_range(ranged))
		snprintf(reply, size, "the record lock is another's: %s", strerror(errno));
	else if (!flock(ranged, LOCK_EX | LOCK_NB))
		snprintf(reply, size, "the file's lock was nobody's");
	else if (flock(whole, LOCK_EX | LOCK_NB))
		snprintf(reply, size, "the file's lock is another's: %s", strerror(errno));
	else
		snprintf(reply, size, "ok 1");
}

int main(int argc, char **argv)
{
	if (argc != 3 || (ranged = open(argv[2], O_RDWR)) < 0 || (whole = open(argv[2], O_RDWR)) < 0)
		return 2;
	if (!strcmp(argv[1], "try"))
		return lock_range(ranged) && flock(whole, LOCK_EX | LOCK_NB);
	if (lock_range(ranged) || flock(whole, LOCK_EX | LOCK_NB))
		return 3;
	control_start(atoi(argv[1]), handle);
	say("ready");
	for (;;)
		pause();
}
