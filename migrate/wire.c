/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/wire.h"
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "host/carry.h"
#include "host/warm.h"

static const size_t size_max[FRAME_TYPE_COUNT] = {
    [FRAME_HELLO] = sizeof(struct frame_hello),
    [FRAME_ATTACH] = sizeof(struct frame_attach),
    [FRAME_WELCOME] = sizeof(struct frame_welcome),
    [FRAME_MANIFEST] = CARRY_SIZE_MAX,
    [FRAME_ANSWER] = CARRY_SIZE_MAX,
    [FRAME_HANDSHAKE] = sizeof(struct handshake_hello),
    [FRAME_EVIDENCE] = sizeof(struct evidence) + EVIDENCE_BODY_MAX,
    [FRAME_RECORD] = RECORD_SIZE_MAX,
    [FRAME_ROUND_END] = sizeof(struct frame_round),
    [FRAME_ROUND_DONE] = sizeof(struct frame_round),
    [FRAME_SLOTS] = THREAD_SLOTS_MAX / 8,
    [FRAME_PARKING] = sizeof(struct frame_parking),
    [FRAME_CARRIED] = CARRY_SIZE_MAX,
    [FRAME_CONTROL] = RECORD_SIZE_MAX,
    [FRAME_FINAL] = sizeof(struct frame_round),
    [FRAME_READY] = 1024,
    [FRAME_COMMIT] = 1024,
    [FRAME_RESUMED] = 1024,
    [FRAME_REFUSED] = 1024,
    [FRAME_REPORT] = 65536,
    [FRAME_BYE] = sizeof(uint64_t),
    [FRAME_FAILED] = sizeof(struct frame_failed),
    [FRAME_WANT] = sizeof(struct frame_want),
    [FRAME_SERVE] = sizeof(struct frame_serve),
    [FRAME_ARRIVED] = 1024,
    [FRAME_SIGNALS] = sizeof(uint64_t),
    [FRAME_HURRY] = 1,
    [FRAME_LAST] = sizeof(struct frame_last) + RECORD_SIZE_MAX,
    [FRAME_ROOM] = sizeof(struct frame_room),
};

static uint64_t clock_us(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

uint64_t calendar_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

size_t frame_size_max(unsigned type)
{
	return type < FRAME_TYPE_COUNT ? size_max[type] : 0;
}

bool frame_header_ok(const struct frame_header *h)
{
	return h->magic == FRAME_MAGIC && h->reserved == 0 && frame_size_max(h->type) != 0 &&
	       h->size <= frame_size_max(h->type);
}

void wire_text(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static int wait_for(int fd, short events, struct wait wait)
{
	struct pollfd polled[2] = {{.fd = fd, .events = events}, {.fd = wait.wake_fd, .events = POLLIN}};
	int timeout_ms = -1;
	if (wait.until_us != WIRE_FOREVER) {
		uint64_t now = now_us();
		if (now >= wait.until_us)
			return -ETIMEDOUT;
		uint64_t left_ms = (wait.until_us - now + 999) / 1000;
		timeout_ms = left_ms > 60000 ? 60000 : (int)left_ms;
	}
	int n = poll(polled, 2, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return polled[1].revents ? -ECANCELED : 0;
}

static int send_parts(int fd, struct iovec *part, int count, struct wait wait)
{
	while (count) {
		struct msghdr message = {.msg_iov = part, .msg_iovlen = (size_t)count};
		ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0) {
			int rc = wait_for(fd, POLLOUT, wait);
			if (rc)
				return rc;
			continue;
		}
		for (size_t left = (size_t)n; count;) {
			if (left < part->iov_len) {
				part->iov_base = (char *)part->iov_base + left;
				part->iov_len -= left;
				break;
			}
			left -= part->iov_len;
			part++;
			count--;
		}
	}
	return 0;
}

int wire_send(int fd, enum frame_type type, const void *first, size_t first_size, const void *second,
	      size_t second_size, struct wait wait)
{
	if (first_size + second_size > frame_size_max(type))
		return -EMSGSIZE;
	struct frame_header header = frame_header_of(type, first_size + second_size);
	struct iovec part[3] = {
	    {&header, sizeof(header)}, {(void *)first, first_size}, {(void *)second, second_size}};
	return send_parts(fd, part, 3, wait);
}

int wire_send_raw(int fd, const void *data, size_t size, struct wait wait)
{
	struct iovec part = {(void *)data, size};
	return send_parts(fd, &part, 1, wait);
}

void wire_init(struct wire *w, int fd)
{
	memset(w, 0, sizeof(*w));
	w->fd = fd;
}

void wire_close(struct wire *w)
{
	free(w->data);
	free(w->spare);
	if (w->fd >= 0)
		close(w->fd);
	wire_init(w, -1);
}

void wire_room(struct wire *w, size_t size)
{
	if (size + 1 <= w->capacity || size + 1 <= w->spare_capacity)
		return;
	free(w->spare);
	w->spare = warm_memory(size + 1);
	w->spare_capacity = w->spare ? size + 1 : 0;
}

static void exchange(struct wire *w)
{
	uint8_t *data = w->data;
	size_t capacity = w->capacity;
	w->data = w->spare;
	w->capacity = w->spare_capacity;
	w->spare = data;
	w->spare_capacity = capacity;
}

struct bytes wire_take(struct wire *w)
{
	struct bytes b = {0};
	if (!w->spare) { /* what the next frames need has been touched, and stays */
		bytes_put(&b, w->data, w->size);
		return b;
	}
	b = (struct bytes){.data = w->data, .size = w->size, .capacity = w->capacity};
	w->data = NULL;
	w->size = w->capacity = 0;
	exchange(w);
	return b;
}

uint64_t wire_unsent(int fd)
{
	int bytes = 0;
	return fd >= 0 && ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t wire_round_trip_us(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 || info.tcpi_min_rtt == UINT32_MAX)
		return 0;
	return info.tcpi_min_rtt;
}

int wire_recv_raw(int fd, void *data, size_t size, struct wait wait)
{
	for (char *p = data; size;) {
		ssize_t n = recv(fd, p, size, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n > 0) {
			p += n;
			size -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		int rc = wait_for(fd, POLLIN, wait);
		if (rc)
			return rc;
	}
	return 0;
}

int wire_recv_header(int fd, struct frame_header *header, struct wait wait)
{
	int rc = wire_recv_raw(fd, header, sizeof(*header), wait);
	if (rc)
		return rc;
	return frame_header_ok(header) ? 0 : -EPROTO;
}

int wire_recv(struct wire *w, struct wait wait)
{
	struct frame_header header;
	int rc = wire_recv_header(w->fd, &header, wait);
	if (rc)
		return rc;
	if (header.size + 1 > w->capacity && header.size + 1 <= w->spare_capacity)
		exchange(w);
	if (header.size + 1 > w->capacity) {
		uint8_t *data = realloc(w->data, header.size + 1);
		if (!data)
			return -ENOMEM;
		w->data = data;
		w->capacity = header.size + 1;
	}
	rc = wire_recv_raw(w->fd, w->data, header.size, wait);
	if (rc)
		return rc;
	w->data[header.size] = '\0';
	w->size = header.size;
	w->type = header.type;
	return 0;
}
