/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net/tcp_repair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/net/checksum.h"
#include "host/net/sockopts.h"

/* What the kernel is given at once: it allocates a queue's pieces as they come. */
#define QUEUE_PIECE 65536u
#define SEGMENT_SET_MAX 32767 /* the kernel takes no larger one by TCP_MAXSEG */
#define QUEUE_MAX (256u << 20) /* a larger one is not helped */

/* Milliseconds. Until the source's socket is gone it may still acknowledge or repeat something, with timestamps later
 * than the dumped one. Had ours not overtaken them, the peer would drop what we send as old (PAWS): at least what it takes
 * from dump to restore. But what the peer echoes of the source's time looks as much later, and this kernel takes the
 * first echo for the way to the peer: with a second more it would repeat nothing for three, and pace what it sends.
 * Even: the lowest bit has a meaning to the kernel. */
#define TIMESTAMP_LEAD 100u

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

/* Repair mode does not keep the kernel from sending: timers, and packets that leave the device, make it go on with
 * the queue. The peer would acknowledge what the destination believes was never sent, and the connection would
 * stand still for good. A window of nothing keeps it back. While the send queue is selected the kernel takes for
 * sent what it did not send, so what is unsent is asked only when the window is shut, and before that.
 * window: as it is, but for that. */
static int stop_sending(int fd, struct tcp_repair_window *window, struct tcp_mark *mark)
{
	if (!window->snd_wnd && mark->send_window) {
		window->snd_wnd = mark->send_window;
		return 0;
	}
	mark->send_window = window->snd_wnd;
	struct tcp_repair_window shut = *window;
	shut.snd_wnd = 0;
	int r = tcp_set(fd, TCP_REPAIR_WINDOW, &shut, sizeof(shut));
	return r ? r : ioctl(fd, SIOCOUTQNSD, &mark->unsent) < 0 ? -errno : 0;
}

int tcp_thaw(int fd, const struct tcp_mark *mark)
{
	struct tcp_repair_window window;
	int r = mark->send_window ? tcp_get(fd, TCP_REPAIR_WINDOW, &window, sizeof(window)) : 0;
	if (!r && mark->send_window && !window.snd_wnd) {
		window.snd_wnd = mark->send_window;
		r = tcp_set(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
	}
	/* This probes the window, and the answer sets the queue in motion. */
	int error = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF);
	return r ? r : error;
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

/* All data of a queue, without taking it out. -ESTALE: it has become shorter since. */
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
	if (got < 0 && errno != EAGAIN)
		return -errno;
	return got == (ssize_t)size ? 0 : -ESTALE;
}

static int queue_seq(int fd, int queue, uint32_t *seq)
{
	int r = queue_select(fd, queue);
	return r ? r : tcp_get(fd, TCP_QUEUE_SEQ, seq, sizeof(*seq));
}

static int put_peer(int fd, struct bytes *out)
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);
	if (getpeername(fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	bytes_put_block(out, &address, size);
	return out->error;
}

/* Out-of-band data is no part of the stream until the program asks for it inline: then there would be more to
 * read. */
static int refuse_urgent(int fd, int unread)
{
	int is_inline = 0, on = 1, all = unread;
	int r = getsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &is_inline, &(socklen_t){sizeof(is_inline)});
	if (r < 0 || is_inline)
		return r < 0 ? -errno : 0;
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	r = ioctl(fd, SIOCINQ, &all) < 0 ? -errno : 0;
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &is_inline, sizeof(is_inline));
	return !r && all != unread ? -ENOTSUP : r;
}

int tcp_dump(int fd, struct bytes *out, struct tcp_mark *mark)
{
	struct tcp_info info = {0};
	struct tcp_repair_window window = {0};
	struct sockopts_buffers buffers;
	uint32_t mss = 0, timestamp = 0, send_seq, receive_seq, unread_memory;
	int unacknowledged = 0, unread = 0;

	int r = put_peer(fd, out);
	/* First: what a late packet changes of the rest, tcp_changed() sees by it. */
	if (!r)
		r = queue_seq(fd, TCP_RECV_QUEUE, &receive_seq);
	if (!r)
		r = sockopts_buffers(fd, &buffers, &unread_memory);
	if (!r)
		r = tcp_get(fd, TCP_INFO, &info, sizeof(info));
	if (!r)
		r = tcp_get(fd, TCP_MAXSEG, &mss, sizeof(mss));
	if (!r)
		r = tcp_get(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
	if (!r)
		r = tcp_get(fd, TCP_TIMESTAMP, &timestamp, sizeof(timestamp));
	if (!r && ioctl(fd, SIOCOUTQ, &unacknowledged) < 0)
		r = -errno;
	if (!r && unacknowledged)
		r = stop_sending(fd, &window, mark);
	if (!r && unread_memory)
		r = ioctl(fd, SIOCINQ, &unread) < 0 ? -errno : refuse_urgent(fd, unread);
	if (!r)
		r = queue_seq(fd, TCP_SEND_QUEUE, &send_seq);
	if (r)
		return r;
	mark->receive_seq = receive_seq;
	mark->unacknowledged = unacknowledged;

	/* A FIN takes a sequence number and counts as queued, but is no data. */
	uint8_t state = info.tcpi_state;
	uint32_t send_size = (uint32_t)unacknowledged, unsent_size = unacknowledged ? (uint32_t)mark->unsent : 0;
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

	bytes_put_u32(out, buffers.receive);
	bytes_put_u32(out, buffers.send);
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
	return r;
}

bool tcp_changed(int fd, const struct tcp_mark *mark)
{
	struct tcp_repair_window window = {0};
	int unacknowledged = -1;
	uint32_t receive_seq = 0;
	int r = queue_seq(fd, TCP_RECV_QUEUE, &receive_seq);
	if (!r && mark->unacknowledged)
		r = tcp_get(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
	return r || ioctl(fd, SIOCOUTQ, &unacknowledged) < 0 || receive_seq != mark->receive_seq ||
	       unacknowledged != mark->unacknowledged || window.snd_wnd;
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
		ssize_t put = send(fd, data, size < QUEUE_PIECE ? size : QUEUE_PIECE, MSG_DONTWAIT);
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
	/* Of a connection without scaling, too: connecting has set what this host would have offered. */
	uint32_t scales = options & TCPI_OPT_WSCALE ? send_scale | (uint32_t)receive_scale << 16 : 0;
	o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_MSS, mss};
	o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_WINDOW, scales};
	if (options & TCPI_OPT_SACK)
		o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_SACK, 0};
	if (options & TCPI_OPT_TIMESTAMPS)
		o[count++] = (struct tcp_repair_opt){REPAIR_OPTION_TIMESTAMP, 0};
	return tcp_set(fd, TCP_REPAIR_OPTIONS, o, (socklen_t)((size_t)count * sizeof(o[0])));
}

int tcp_prepare(int fd, const struct sockaddr_storage *local, socklen_t size)
{
	int r = tcp_set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);
	return !r && bind(fd, (const struct sockaddr *)local, size) < 0 ? -errno : r;
}

int tcp_restore(struct reader *in, uint64_t options_set, struct tcp_restored *out)
{
	struct sockaddr_storage peer;
	socklen_t peer_size = get_name(in, &peer);
	struct sockopts_buffers buffers = {.receive = reader_u32(in)}, own;
	buffers.send = reader_u32(in);
	out->state = reader_u8(in);
	uint8_t options = reader_u8(in), send_scale = reader_u8(in), receive_scale = reader_u8(in);
	uint32_t mss = reader_u32(in), timestamp = reader_u32(in), own_unread;
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
	out->unacknowledged = send_size != 0;
	out->receive_seq = receive_seq;
	out->told_seq = window.rcv_wup;
	out->ack_seq = send_seq - (uint32_t)send_size;
	out->peer_window = (uint16_t)(window.snd_wnd >> (options & TCPI_OPT_WSCALE ? send_scale & 15 : 0));

	/* The peer's window is full: nothing can be sent before it says so. The kernel has never been told of a window
	 * here and expects one of 0 to stay: an acknowledgement of all with a window of 0 would then change nothing,
	 * and what it has free already would be believed free once more. */
	if (send_size && sent_size >= window.snd_wnd)
		window.snd_wnd = 0;

	int fd = out->fd, r = sockopts_buffers(fd, &own, &own_unread);
	/* Most connections have what a new one has here: enough for what the peer may send and for what is
	 * queued. */
	if (!r && (sockopts_buffers_are_set(options_set) || send_size || buffers.receive > own.receive)) {
		/* The kernel counts a queue by the memory it takes, not by its bytes, and the same bytes take more or
		 * less of it depending on how they were written: a queue that just fitted may not. It has room in
		 * plenty until all is in. */
		out->buffers = buffers;
		out->options = options_set;
		if (send_size <= QUEUE_MAX)
			buffers.send += 4 * (uint32_t)send_size;
		sockopts_restore_buffers(fd, buffers, options_set);
	}
	if (!r)
		r = queue_select(fd, TCP_SEND_QUEUE);
	if (!r)
		r = tcp_set_int(fd, TCP_QUEUE_SEQ, (int)(send_seq - (uint32_t)send_size));
	if (!r)
		r = queue_select(fd, TCP_RECV_QUEUE);
	if (!r)
		r = tcp_set_int(fd, TCP_QUEUE_SEQ, (int)(receive_seq - (uint32_t)unread_size));
	/* Connecting fixes the size of segments, and what is negotiated below comes too late for that: without this, they
	 * would be as small as with a peer who says nothing, 536. */
	tcp_set_int(fd, TCP_MAXSEG, mss < SEGMENT_SET_MAX ? (int)mss : SEGMENT_SET_MAX);
	if (!r && connect(fd, (struct sockaddr *)&peer, peer_size) < 0)
		r = -errno;
	if (!r)
		r = set_negotiated(fd, mss, options, send_scale, receive_scale);
	if (!r)
		r = tcp_set_int(fd, TCP_TIMESTAMP, (int)(timestamp + TIMESTAMP_LEAD));
	if (!r)
		r = queue_fill(fd, TCP_RECV_QUEUE, unread, unread_size);
	if (!r)
		r = queue_fill(fd, TCP_SEND_QUEUE, send_data, sent_size);
	if (!r)
		r = tcp_set(fd, TCP_REPAIR_WINDOW, &window, sizeof(window));
	out->unsent = send_data + sent_size;
	out->unsent_size = unsent_size;
	return r;
}

/* A packet without data, for our own kernel. */
static int speak_for_peer(const struct tcp_restored *t, uint32_t seq, bool fin, struct inject *i)
{
	struct sockaddr_storage peer = {0}, local = {0};
	socklen_t peer_size = sizeof(peer), local_size = sizeof(local);
	struct in6_addr from, to;
	if (getpeername(t->fd, (struct sockaddr *)&peer, &peer_size) < 0 ||
	    getsockname(t->fd, (struct sockaddr *)&local, &local_size) < 0)
		return -errno;
	if (!ip_of(&peer, &from) || !ip_of(&local, &to))
		return -EAFNOSUPPORT;
	struct tcphdr tcp = {.source = ip_port(&peer),
			     .dest = ip_port(&local),
			     .seq = htonl(seq),
			     .ack_seq = htonl(t->ack_seq),
			     .doff = sizeof(tcp) / 4,
			     .fin = fin,
			     .ack = 1,
			     .window = htons(t->peer_window)};
	tcp.check = checksum_with_pseudo(&from, &to, IPPROTO_TCP, &tcp, sizeof(tcp));
	return inject(i, &from, &to, IPPROTO_TCP, &tcp, sizeof(tcp));
}

/* It was acknowledged long ago and will not come again. */
static int repeat_peer_fin(const struct tcp_restored *t, struct inject *i)
{
	return speak_for_peer(t, t->receive_seq, true, i);
}

/* The source's kernel put off an acknowledgement, and took that with it: the peer would wait until it repeats what it
 * sent, 200 ms, and with Nagle's algorithm send nothing more until then. What is from before the window is
 * answered with an acknowledgement of all there is. */
static int acknowledge(const struct tcp_restored *t, struct inject *i)
{
	return speak_for_peer(t, t->told_seq - 1, false, i);
}

/* The queue takes all of it, however little this kernel or the program lets it run ahead of the network
 * (TCP_NOTSENT_LOWAT): it has been written. */
static ssize_t send_unsent(const struct tcp_restored *t)
{
	int ahead = 0;
	int r = tcp_get(t->fd, TCP_NOTSENT_LOWAT, &ahead, sizeof(ahead));
	if (!r)
		r = tcp_set_int(t->fd, TCP_NOTSENT_LOWAT, -1);
	ssize_t put = send(t->fd, t->unsent, t->unsent_size, MSG_DONTWAIT | MSG_NOSIGNAL);
	int error = put < 0 ? -errno : 0;
	if (!r)
		tcp_set_int(t->fd, TCP_NOTSENT_LOWAT, ahead);
	return error ? error : put;
}

int tcp_release(struct tcp_restored *t, bool tracked, struct inject *inject)
{
	/* With a window probe, to which the peer's kernel must answer, only where there is something to
	 * learn, or a firewall to be told. */
	bool probe = t->unacknowledged || tracked;
	int r = tcp_set_int(t->fd, TCP_REPAIR, probe ? TCP_REPAIR_OFF : TCP_REPAIR_OFF_NO_WP);
	if (r)
		return r;
	if (t->reuse_address)
		setsockopt(t->fd, SOL_SOCKET, SO_REUSEADDR, &t->reuse_address, sizeof(t->reuse_address));
	if (t->unsent_size) {
		ssize_t put = send_unsent(t);
		if (put != (ssize_t)t->unsent_size) {
			r = put < 0 ? (int)put : -ENOBUFS;
			/* The program takes these bytes for sent: better no connection than one with a gap. */
			connect(t->fd, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr));
		}
		t->unsent_size = 0;
	}
	if (t->unacknowledged)
		sockopts_restore_buffers(t->fd, t->buffers, t->options);
	if (r)
		return r;
	if (fin_sent(t->state))
		shutdown(t->fd, SHUT_WR);
	if (fin_received(t->state)) /* is acknowledged, too */
		return repeat_peer_fin(t, inject);
	return t->told_seq != t->receive_seq ? acknowledge(t, inject) : 0;
}

void tcp_restored_drop(struct tcp_restored *t)
{
	if (t->fd >= 0)
		close(t->fd);
	*t = (struct tcp_restored){.fd = -1};
}
