/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/tcp_repair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/net/sockopts.h"

#define QUEUE_SIZE_MAX (1u << 30)
/* What the kernel is given at once: it allocates a queue's pieces as they come. */
#define QUEUE_PIECE 65536u

/* linux/tcp.h clashes with netinet/tcp.h */
#define REPAIR_OPTION_MSS 2
#define REPAIR_OPTION_WINDOW 3
#define REPAIR_OPTION_SACK 4
#define REPAIR_OPTION_TIMESTAMP 8

static int tcp_set(int fd, int option, const void *value, socklen_t size)
{
	return setsockopt(fd, IPPROTO_TCP, option, value, size) < 0 ? -errno : 0;
}

static int tcp_set_int(int fd, int option, int value)
{
	return tcp_set(fd, option, &value, sizeof(value));
}

static int tcp_get(int fd, int option, void *value, socklen_t size)
{
	return getsockopt(fd, IPPROTO_TCP, option, value, &size) < 0 ? -errno : 0;
}

static int queue_select(int fd, int queue)
{
	return tcp_set_int(fd, TCP_REPAIR_QUEUE, queue);
}

int tcp_repair_allowed(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
	close(fd);
	return r;
}

int tcp_freeze(int fd)
{
	return tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
}

int tcp_thaw(int fd)
{
	return tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF);
}

void tcp_vanish(int fd)
{
	close(fd); /* a socket in repair is closed without FIN or RST */
}

/* The peer has closed its end. */
static bool fin_received(uint8_t state)
{
	return state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

/* We have. */
static bool fin_queued(uint8_t state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

static bool fin_sent(uint8_t state)
{
	return fin_queued(state) || state == TCP_FIN_WAIT2;
}

/* All data of a queue, without taking it out. */
static int queue_dump(int fd, int queue, uint32_t size, struct bytes *out)
{
	bytes_put_u32(out, size);
	uint8_t *data = bytes_extend(out, size);
	if (!data)
		return out->error;
	if (size == 0)
		return 0;
	int r = queue_select(fd, queue);
	if (r)
		return r;
	ssize_t got = recv(fd, data, size, MSG_PEEK | MSG_DONTWAIT);
	return got < 0 ? -errno : (size_t)got == size ? 0 : -EAGAIN;
}

static int queue_seq(int fd, int queue, uint32_t *seq)
{
	int r = queue_select(fd, queue);
	return r ? r : tcp_get(fd, TCP_QUEUE_SEQ, seq, sizeof(*seq));
}

static int put_name(int fd, int (*name)(int, struct sockaddr *, socklen_t *), struct bytes *out)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);
	if (name(fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	bytes_put_block(out, &address, size);
	return out->error;
}

int tcp_dump(int fd, struct bytes *out, struct tcp_mark *mark)
{
	struct tcp_info info = {0};
	struct tcp_repair_window window = {0};
	uint32_t mss = 0, timestamp = 0, send_seq, receive_seq;
	int unacknowledged = 0, unsent = 0, unread = 0;

	int r = put_name(fd, getsockname, out);
	if (!r)
		r = put_name(fd, getpeername, out);
	if (!r)
		r = tcp_get(fd, TCP_INFO, &info, sizeof(info));
	if (!r)
		r = tcp_get(fd, TCP_MAXSEG, &mss, sizeof(mss));
	if (!r)
		r = tcp_get(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
	if (!r)
		r = tcp_get(fd, TCP_TIMESTAMP, &timestamp, sizeof(timestamp));
	if (!r)
		r = queue_seq(fd, TCP_SEND_QUEUE, &send_seq);
	if (!r)
		r = queue_seq(fd, TCP_RECV_QUEUE, &receive_seq);
	if (r)
		return r;
	if (ioctl(fd, SIOCOUTQ, &unacknowledged) < 0 || ioctl(fd, SIOCOUTQNSD, &unsent) < 0 ||
	    ioctl(fd, SIOCINQ, &unread) < 0)
		return -errno;
	*mark = (struct tcp_mark){receive_seq, unacknowledged};

	/* A FIN takes a sequence number and counts as queued, but is no data. */
	uint8_t state = info.tcpi_state;
	uint32_t send_size = (uint32_t)unacknowledged, unsent_size = (uint32_t)unsent;
	if (fin_queued(state)) {
		send_size -= send_size ? 1 : 0;
		unsent_size -= unsent_size ? 1 : 0;
	}
	if (fin_sent(state))
		send_seq--;
	if (fin_received(state)) {
		receive_seq--;
		window.rcv_wup--;
		window.rcv_wnd++;
	}

	bytes_put_u8(out, state);
	bytes_put_u8(out, info.tcpi_options);
	bytes_put_u8(out, info.tcpi_snd_wscale);
	bytes_put_u8(out, info.tcpi_rcv_wscale);
	bytes_put_u32(out, mss);
	bytes_put_u32(out, timestamp);
	bytes_put_u32(out, window.snd_wl1);
	bytes_put_u32(out, window.snd_wnd);
	bytes_put_u32(out, window.max_window);
	bytes_put_u32(out, window.rcv_wnd);
	bytes_put_u32(out, window.rcv_wup);
	bytes_put_u32(out, send_seq);
	bytes_put_u32(out, receive_seq);
	bytes_put_u32(out, unsent_size);
	r = queue_dump(fd, TCP_SEND_QUEUE, send_size, out);
	if (!r)
		r = queue_dump(fd, TCP_RECV_QUEUE, (uint32_t)unread, out);
	queue_select(fd, TCP_NO_QUEUE);
	return r;
}

bool tcp_changed(int fd, const struct tcp_mark *mark)
{
	int unacknowledged = -1;
	uint32_t receive_seq = 0;
	int r = queue_seq(fd, TCP_RECV_QUEUE, &receive_seq);
	queue_select(fd, TCP_NO_QUEUE);
	return r || ioctl(fd, SIOCOUTQ, &unacknowledged) < 0 || receive_seq != mark->receive_seq ||
	       unacknowledged != mark->unacknowledged;
}

static socklen_t get_name(struct reader *in, struct sockaddr_storage *out)
{
	size_t size;
	const uint8_t *p = reader_block(in, &size);
	memset(out, 0, sizeof(*out));
	if (!p || size > sizeof(*out)) {
		in->error = -EBADMSG;
		return 0;
	}
	memcpy(out, p, size);
	return (socklen_t)size;
}

static int queue_fill(int fd, int queue, const uint8_t *data, size_t size)
{
	int r = size ? queue_select(fd, queue) : 0;
	while (!r && size) {
		ssize_t put = send(fd, data, size < QUEUE_PIECE ? size : QUEUE_PIECE, 0);
		if (put <= 0)
			return put < 0 ? -errno : -EIO;
		data += put;
		size -= (size_t)put;
	}
	return r;
}

static int set_negotiated(int fd, uint32_t mss, uint8_t options, uint8_t send_scale, uint8_t receive_scale)
{
	struct tcp_repair_opt o[4];
	int count = 0;
	o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_MSS, mss};
	if (options & TCPI_OPT_WSCALE)
		o[count++] =
		    (struct tcp_repair_opt){REPAIR_OPTION_WINDOW, send_scale | (uint32_t)receive_scale << 16};
	if (options & TCPI_OPT_SACK)
		o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_SACK, 0};
	if (options & TCPI_OPT_TIMESTAMPS)
		o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_TIMESTAMP, 0};
	return tcp_set(fd, TCP_REPAIR_OPTIONS, o, (socklen_t)((size_t)count * sizeof(o[0])));
}

/* in stands behind the socket's options (sockopts.h), which come first in its record. */
static int restore_connection(int fd, struct reader *in, struct tcp_restored *out)
{
	socklen_t local_size = get_name(in, &out->local), peer_size = get_name(in, &out->peer);
	out->state = reader_u8(in);
	uint8_t options = reader_u8(in), send_scale = reader_u8(in), receive_scale = reader_u8(in);
	uint32_t mss = reader_u32(in), timestamp = reader_u32(in);
	struct tcp_repair_window window;
	window.snd_wl1 = reader_u32(in);
	window.snd_wnd = reader_u32(in);
	window.max_window = reader_u32(in);
	window.rcv_wnd = reader_u32(in);
	window.rcv_wup = reader_u32(in);
	uint32_t send_seq = reader_u32(in), receive_seq = reader_u32(in), unsent_size = reader_u32(in);
	size_t send_size, unread_size;
	const uint8_t *send_data = reader_block(in, &send_size), *unread = reader_block(in, &unread_size);
	if (in->error)
		return in->error;
	if (unsent_size > send_size)
		return -EBADMSG;
	size_t sent_size = send_size - unsent_size;
	out->fin_seq = receive_seq;
	out->ack_seq = send_seq - (uint32_t)send_size;
	out->fin_window = (uint16_t)(window.snd_wnd >> (options & TCPI_OPT_WSCALE ? send_scale & 15 : 0));

	int r = queue_select(fd, TCP_SEND_QUEUE);
	if (!r)
		r = tcp_set_int(fd, TCP_QUEUE_SEQ, (int)(send_seq - (uint32_t)send_size));
	if (!r)
		r = queue_select(fd, TCP_RECV_QUEUE);
	if (!r)
		r = tcp_set_int(fd, TCP_QUEUE_SEQ, (int)(receive_seq - (uint32_t)unread_size));
	if (!r && (bind(fd, (struct sockaddr *)&out->local, local_size) < 0 ||
		   connect(fd, (struct sockaddr *)&out->peer, peer_size) < 0))
		r = -errno;
	if (!r)
		r = set_negotiated(fd, mss, options, send_scale, receive_scale);
	if (!r)
		r = tcp_set_int(fd, TCP_TIMESTAMP, (int)timestamp);
	if (!r)
		r = queue_fill(fd, TCP_RECV_QUEUE, unread, unread_size);
	if (!r)
		r = queue_fill(fd, TCP_SEND_QUEUE, send_data, sent_size);
	if (!r)
		r = tcp_set(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
	if (!r)
		r = queue_select(fd, TCP_NO_QUEUE);
	if (!r && unsent_size) {
		out->unsent = malloc(unsent_size);
		if (!out->unsent)
			return -ENOMEM;
		memcpy(out->unsent, send_data + sent_size, unsent_size);
		out->unsent_size = unsent_size;
	}
	return r;
}

int tcp_restore(struct reader *in, struct tcp_restored *out)
{
	int r = tcp_set_int(out->fd, TCP_REPAIR, TCP_REPAIR_ON);
	return r ? r : restore_connection(out->fd, in, out);
}

static uint32_t sum16(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static bool ipv4_of(const struct sockaddr_storage *s, uint32_t *address, uint16_t *port)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)s;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)s;
	if (s->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return false;
	if (s->ss_family == AF_INET6)
		memcpy(address, &six->sin6_addr.s6_addr[12], sizeof(*address));
	else
		*address = four->sin_addr.s_addr;
	*port = s->ss_family == AF_INET6 ? six->sin6_port : four->sin_port;
	return true;
}

int tcp_raw_open(void)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	return fd < 0 ? -errno : fd;
}

/* The peer's FIN was acknowledged long ago and will not come again: tell our own kernel in the peer's name.
 */
static int repeat_peer_fin(const struct tcp_restored *t, int raw)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} __attribute__((packed)) packet = {0};
	uint32_t source, destination;
	uint16_t source_port, destination_port;
	if (!ipv4_of(&t->peer, &source, &source_port) || !ipv4_of(&t->local, &destination, &destination_port))
		return -EAFNOSUPPORT;
	packet.ip = (struct iphdr){.ihl = 5,
				   .version = 4,
				   .tot_len = htons(sizeof(packet)),
				   .ttl = 64,
				   .protocol = IPPROTO_TCP,
				   .saddr = source,
				   .daddr = destination};
	packet.tcp.source = source_port;
	packet.tcp.dest = destination_port;
	packet.tcp.seq = htonl(t->fin_seq);
	packet.tcp.ack_seq = htonl(t->ack_seq);
	packet.tcp.doff = sizeof(packet.tcp) / 4;
	packet.tcp.fin = 1;
	packet.tcp.ack = 1;
	packet.tcp.window = htons(t->fin_window);
	uint32_t sum = sum16(&packet.tcp, sizeof(packet.tcp)) + sum16(&source, 4) + sum16(&destination, 4) +
		       IPPROTO_TCP + sizeof(packet.tcp);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	packet.tcp.check = htons((uint16_t)~sum);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = destination};
	return sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

int tcp_release(struct tcp_restored *t, int raw)
{
	int r = tcp_set_int(t->fd, TCP_REPAIR, TCP_REPAIR_OFF);
	if (r)
		return r;
	if (t->reuse_address)
		setsockopt(t->fd, SOL_SOCKET, SO_REUSEADDR, &t->reuse_address, sizeof(t->reuse_address));
	if (t->unsent_size) {
		/* The queue's limit was restored first, so it takes what it held before. */
		ssize_t put = send(t->fd, t->unsent, t->unsent_size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put != (ssize_t)t->unsent_size)
			r = put < 0 ? -errno : -ENOBUFS;
		free(t->unsent);
		t->unsent = NULL;
		t->unsent_size = 0;
	}
	if (fin_sent(t->state))
		shutdown(t->fd, SHUT_WR);
	if (fin_received(t->state)) {
		int error = repeat_peer_fin(t, raw);
		r = r ? r : error;
	}
	return r;
}

void tcp_restored_drop(struct tcp_restored *t)
{
	if (t->fd >= 0)
		close(t->fd);
	free(t->unsent);
	*t = (struct tcp_restored){.fd = -1};
}
