/* SPDX-License-Identifier: Apache-2.0
 *
 * obstacles DIRECTORY: has open what cannot move: a named pipe, a netlink socket, a lock; and waits.
 * obstacles names: has nothing open, has looked for a host's name, and waits.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[300];
	int lock;

	if (argc != 2)
		return 2;
	if (!strcmp(argv[1], "names")) {
		close(open("/etc/hosts", O_RDONLY));
		puts("ready");
		fflush(stdout);
		pause();
	}
	snprintf(path, sizeof(path), "%s/fifo", argv[1]);
	if (open(path, O_RDWR | O_NONBLOCK) < 0 || socket(AF_NETLINK, SOCK_RAW, 0) < 0)
		perror("obstacles");
	snprintf(path, sizeof(path), "%s/locked", argv[1]);
	lock = open(path, O_RDWR | O_CREAT, 0600);
	if (lock < 0 || flock(lock, LOCK_EX))
		perror("obstacles");
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
