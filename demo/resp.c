/* SPDX-License-Identifier: Apache-2.0 */
#include "demo/resp.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_SIZE 65536

void resp_clear(struct resp_buffer *b)
{
	b->start = b->end = 0;
}

void resp_reserve(struct resp_buffer *b, size_t size)
{
	if (b->start == b->end)
		resp_clear(b);
	if (b->capacity - b->end >= size)
		return;
	if (b->start) {
		memmove(b->data, b->data + b->start, resp_used(b));
		b->end -= b->start;
		b->start = 0;
	}
	while (b->capacity - b->end < size)
		b->capacity = b->capacity ? b->capacity * 2 : RECEIVE_SIZE;
	b->data = realloc(b->data, b->capacity);
	if (!b->data)
		errx(1, "out of memory");
}

static void append(struct resp_buffer *b, const void *data, size_t size)
{
	resp_reserve(b, size);
	memcpy(b->data + b->end, data, size);
	b->end += size;
}

static void append_header(struct resp_buffer *b, char type, size_t number)
{
	char line[32];

	append(b, line, (size_t)snprintf(line, sizeof(line), "%c%zu\r\n", type, number));
}

void resp_command(struct resp_buffer *out, unsigned argc, const struct resp_arg *argv)
{
	append_header(out, '*', argc);
	for (unsigned i = 0; i < argc; i++) {
		append_header(out, '$', argv[i].size);
		append(out, argv[i].data, argv[i].size);
		append(out, "\r\n", 2);
	}
}

int resp_next(struct resp_buffer *in, struct resp_reply *out)
{
	char *line = in->data + in->start;
	size_t used = resp_used(in);
	char *end = used ? memchr(line, '\n', used) : NULL;

	if (!end)
		return 0;
	if (end - line < 2 || end[-1] != '\r')
		return -EBADMSG;
	*out = (struct resp_reply){.type = *line, .text = line + 1, .size = (size_t)(end - line - 2)};
	size_t taken = (size_t)(end - line) + 1;

	switch (out->type) {
	case '+':
	case '-':
		break;
	case ':':
	case '*':
		out->integer = strtoll(line + 1, NULL, 10);
		break;
	case '$':
		out->integer = strtoll(line + 1, NULL, 10);
		out->is_nil = out->integer < 0;
		if (out->is_nil)
			break;
		if (used - taken < (size_t)out->integer + 2)
			return 0;
		out->text = end + 1;
		out->size = (size_t)out->integer;
		taken += out->size + 2;
		break;
	default:
		return -EBADMSG;
	}
	in->start += taken;
	return 1;
}

long resp_send(struct resp_buffer *out, int fd)
{
	ssize_t n = send(fd, out->data + out->start, resp_used(out), MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	out->start += (size_t)n;
	return n;
}

long resp_receive(struct resp_buffer *in, int fd)
{
	resp_reserve(in, RECEIVE_SIZE);
	ssize_t n = recv(fd, in->data + in->end, in->capacity - in->end, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	in->end += (size_t)n;
	return n;
}

int resp_connect(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	int one = 1;

	if (getaddrinfo(host, port, &hints, &list))
		return -EHOSTUNREACH;
	int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = fd < 0 ? -errno : 0;
	if (!rc && connect(fd, list->ai_addr, list->ai_addrlen))
		rc = -errno;
	freeaddrinfo(list);
	if (!rc && (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) || fcntl(fd, F_SETFL, O_NONBLOCK)))
		rc = -errno;
	if (!rc)
		return fd;
	if (fd >= 0)
		close(fd);
	return rc;
}
