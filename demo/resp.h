/* SPDX-License-Identifier: Apache-2.0
 *
 * The Redis protocol as the load client needs it: commands appended to a
 * buffer, replies taken from one element by element. An array is given as its
 * header ('*', integer = count) and then as its items, so nothing nests here.
 */
#ifndef DEMO_RESP_H
#define DEMO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes [start, end) of data are in use. All zero is an empty buffer. */
struct resp_buffer {
	char *data;
	size_t start, end, capacity;
};

/* At least size free bytes at data + end. Ends the program when memory is out: it is a test client. */
void resp_reserve(struct resp_buffer *b, size_t size);
void resp_clear(struct resp_buffer *b);
static inline size_t resp_used(const struct resp_buffer *b)
{
	return b->end - b->start;
}

struct resp_arg {
	const void *data;
	size_t size;
};
void resp_command(struct resp_buffer *out, unsigned argc, const struct resp_arg *argv);

/* type: '+' '-' ':' '$' '*'. A missing value is '$' with is_nil. text points into the buffer and
 * is good until the buffer is touched again. */
struct resp_reply {
	char type;
	bool is_nil;
	long long integer;
	const char *text;
	size_t size;
};
/* 1: one element taken; 0: not all of it is there yet; -EBADMSG: not RESP. */
int resp_next(struct resp_buffer *in, struct resp_reply *out);

/* One write or read of what the socket takes without blocking: bytes, 0 when it would block, -errno;
 * a closed connection is -ECONNRESET. */
long resp_send(struct resp_buffer *out, int fd);
long resp_receive(struct resp_buffer *in, int fd);

/* Connects over TCP, non-blocking afterwards: descriptor or -errno. */
int resp_connect(const char *host, const char *port);

#endif
