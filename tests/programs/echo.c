/* SPDX-License-Identifier: Apache-2.0
 *
 * echo ADDRESS PORT: sends back what it gets, one thread for each connection.
 * At the address :: it listens for IPv4 and IPv6.
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
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	int one = 1;

	if (argc != 3)
		return 2;
	four.sin_port = six.sin6_port = htons((unsigned short)atoi(argv[2]));
	int is_four = inet_pton(AF_INET, argv[1], &four.sin_addr);
	if (!is_four && !inet_pton(AF_INET6, argv[1], &six.sin6_addr))
		return 2;
	int listener = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six,
		 is_four ? sizeof(four) : sizeof(six)) ||
	    listen(listener, 64)) {
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
