/* SPDX-License-Identifier: Apache-2.0
 *
 * echo ADDRESS PORT: sends back what it gets, one thread for each connection.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void *echo(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char buffer[16384];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t done = 0, w; done < n; done += w)
			if ((w = write(fd, buffer + done, (size_t)(n - done))) <= 0)
				goto out;
out:
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (argc != 3 || !inet_pton(AF_INET, argv[1], &address.sin_addr))
		return 2;
	address.sin_port = htons((unsigned short)atoi(argv[2]));
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 64)) {
		perror("echo");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		pthread_t thread;
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		if (pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd))
			close(fd);
		else
			pthread_detach(thread);
	}
}
