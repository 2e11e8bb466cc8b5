/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static control_handler handle;
static int listener;

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static void serve(int fd)
{
	char command[256], reply[2048];
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(command) - 1 && (n = read(fd, command + used, sizeof(command) - 1 - used)) > 0) {
		used += (size_t)n;
		command[used] = 0;
		char *end = strchr(command, '\n');
		if (!end)
			continue;
		*end = 0;
		reply[0] = 0;
		handle(command, reply, sizeof(reply) - 1);
		strcat(reply, "\n");
		if (write(fd, reply, strlen(reply)) < 0)
			perror("control: write");
		break;
	}
	close(fd);
}

static void *serve_all(void *unused)
{
	(void)unused;
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		if (fd >= 0)
			serve(fd);
	}
	return NULL;
}

void control_start(int port, control_handler handler)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	pthread_t thread;
	int one = 1;

	handle = handler;
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 16) ||
	    pthread_create(&thread, NULL, serve_all, NULL)) {
		perror("control");
		exit(1);
	}
}
