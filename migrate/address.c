/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/address.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE (4 << 20)

/* Splits host and port in place; brackets around an IPv6 address go. */
static int split(char *text, char **host, char **port)
{
	if (strncmp(text, "tcp:", 4) != 0)
		return -EINVAL;
	char *colon = strrchr(text + 4, ':');
	if (!colon || !colon[1])
		return -EINVAL;
	*colon = '\0';
	*port = colon + 1;
	/* getaddrinfo() takes any number and cuts it */
	if (strspn(*port, "0123456789") != strlen(*port) || strtoul(*port, NULL, 10) > UINT16_MAX)
		return -EINVAL;
	*host = text + 4;
	size_t size = strlen(*host);
	if (size >= 2 && (*host)[0] == '[' && (*host)[size - 1] == ']') {
		(*host)[size - 1] = '\0';
		(*host)++;
	} else if (strchr(*host, ':')) {
		return -EINVAL;
	}
	return 0;
}

/* Into copy, of the size of an address's text. */
static int parts(const char *text, char *copy, char **host, char **port, struct failure *why)
{
	if (strlen(text) >= sizeof(((struct address *)0)->text))
		return fail(why, -EINVAL, "address too long");
	strcpy(copy, text);
	if (split(copy, host, port))
		return fail(why, -EINVAL, "\"%s\" is not an address, which is tcp:HOST:PORT or tcp:[IPV6]:PORT",
			    text);
	return 0;
}

int address_check(const char *text, struct failure *why)
{
	char copy[sizeof(((struct address *)0)->text)], *host, *port;
	return parts(text, copy, &host, &port, why);
}

int address_parse(const char *text, struct address *out, struct failure *why)
{
	char copy[sizeof(out->text)], *host, *port;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
	memset(out, 0, sizeof(*out));
	int rc = parts(text, copy, &host, &port, why);
	if (rc)
		return rc;
	strcpy(out->text, text);
	rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (rc)
		return fail(why, -EINVAL, "%s: %s", text, gai_strerror(rc));
	memcpy(&out->at, found->ai_addr, found->ai_addrlen);
	out->size = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

int address_listen(const struct address *a, int *out, struct failure *why)
{
	int one = 1, fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(why, -errno, "%s: %s", a->text, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&a->at, a->size) < 0 || listen(fd, 64) < 0) {
		int rc = fail(why, -errno, "%s: cannot listen: %s", a->text, strerror(errno));
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

int address_connect(const struct address *a, int timeout_ms, int wake_fd, int *out, struct failure *why)
{
	int error = 0, fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(error);
	if (fd < 0)
		return fail(why, -errno, "%s: %s", a->text, strerror(errno));
	if (connect(fd, (const struct sockaddr *)&a->at, a->size) < 0 && errno != EINPROGRESS)
		error = errno;
	if (!error) {
		struct pollfd polled[2] = {{.fd = fd, .events = POLLOUT}, {.fd = wake_fd, .events = POLLIN}};
		int n = poll(polled, 2, timeout_ms);
		if (n == 0)
			error = ETIMEDOUT;
		else if (n > 0 && polled[1].revents)
			error = ECANCELED;
		else if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			error = errno;
	}
	if (error) {
		close(fd);
		return fail(why, -error, "%s: cannot connect: %s", a->text, strerror(error));
	}
	*out = fd;
	return 0;
}

void address_tune(int fd, unsigned silence_ms)
{
	int one = 1, idle = 2, buffer = BUFFER_SIZE;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	/* Who may not do this leaves sizes to the kernel, which has them grow with what is underway: what others may ask for
	 * (rmem_max, wmem_max) is often less than a long way needs, and would be kept. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
}
