/* SPDX-License-Identifier: Apache-2.0
 *
 * One TCP connection as bytes, by TCP_REPAIR (needs CAP_NET_ADMIN). Nothing here
 * is seen on the wire except by tcp_release(): the peer's kernel notices no
 * more than a window probe.
 *
 *   source: tcp_freeze, tcp_dump, tcp_changed?, then tcp_vanish or tcp_thaw
 *   destination: tcp_prepare (any time before), tcp_restore, then tcp_release
 *
 * Not carried: segments received out of order (the peer keeps them until they
 * are acknowledged), congestion window and round-trip estimate.
 */
#ifndef HOST_NET_TCP_REPAIR_H
#define HOST_NET_TCP_REPAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "host/bytes.h"
#include "host/net/inject.h"
#include "host/net/sockopts.h"

/* Whether this process may: 0, -EPERM. */
int tcp_repair_allowed(void);

/* What must still be as dumped when the dump is sent; and the window that was taken away, 0: none. */
struct tcp_mark {
	uint32_t receive_seq;
	int unacknowledged, unsent;
	uint32_t send_window;
};

/* A connection in any state in which it has a peer. */
int tcp_freeze(int fd);
/* fd is frozen. Appends its record; from here on nothing new is sent. mark: zero the first time.
 * -ENOTSUP: it has out-of-band data the program has not read. */
int tcp_dump(int fd, struct bytes *out, struct tcp_mark *mark);
/* A packet slipped in since the dump: dump again. */
bool tcp_changed(int fd, const struct tcp_mark *mark);
/* As if nothing had been. */
int tcp_thaw(int fd, const struct tcp_mark *mark);
/* Closes the frozen connection without a word to the peer. */
void tcp_vanish(int fd);

/* Makes fd, a fresh socket with its options set, one that tcp_restore() takes: bound to the address, which
 * need not be here yet. */
int tcp_prepare(int fd, const struct sockaddr_storage *local, socklen_t size);

/* A connection that is restored and still silent. */
struct tcp_restored {
	int fd;
	uint8_t state;	     /* TCP_ESTABLISHED, TCP_CLOSE_WAIT ... as it was */
	bool unacknowledged; /* something is on its way to the peer */
	int reuse_address;
	const uint8_t *unsent; /* written by the program, not yet sent: in the record */
	size_t unsent_size;
	uint64_t options; /* and sizes that tcp_release() gives to buffers it had room made in */
	struct sockopts_buffers buffers;
	/* What the peer sends next, its FIN if it had sent one; up to where it was told that what it sent had come; what a
	 * packet of its would say of ours. */
	uint32_t receive_seq, told_seq, ack_seq;
	uint16_t peer_window;
};

/* Gives out->fd, which tcp_prepare() has made, the record's connection. options: the bits of sockopts.h. What in reads
 * must stay until tcp_release(). */
int tcp_restore(struct reader *in, uint64_t options, struct tcp_restored *out);
/* Speaks: sends what was unsent, asks the peer to acknowledge what was not, acknowledges what the source had not, repeats a
 * FIN of either side: the peer's to our own kernel. tracked: also if there is nothing to say, for a firewall lets in
 * what belongs to a connection that it has seen (conntrack.h). */
int tcp_release(struct tcp_restored *t, bool tracked, struct inject *inject);
/* Closes, silently if not yet released. */
void tcp_restored_drop(struct tcp_restored *t);

#endif
