/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames between the two hosts of a migration. The other host is as little
 * trusted as the network: a type has a largest size, lengths are looked at
 * before anything is read, and nothing in a frame is believed by an enclave.
 * Sockets are non-blocking; whoever waits says until when and what else wakes it.
 *
 *   control connection                          one connection per stream
 *   s > d  HELLO                                ATTACH
 *   d > s  WELCOME
 *   s > d  MANIFEST        d > s  ANSWER
 *   both   HANDSHAKE, EVIDENCE                  RECORD ...
 *   d > s  ROUND_DONE (each round)              ROUND_END (each round)
 *   s > d  LAST ..., ROUND_END   a round of few pages, instead of on the streams
 *   s > d  SLOTS           before rounds, and in the stop if there are more
 *   s > d  PARKING, CARRIED, CONTROL ...
 *   s > d  LAST ...        if the last pages are few; else HURRY, and they go on the streams, and ROUND_DONE as before
 *   s > d  FINAL           d > s  READY
 *   s > d  COMMIT          d > s  RESUMED or REFUSED, then REPORT
 *   s > d  BYE, with the signals that came too late to be handed out
 *   pages that were deferred: on the streams as before; on the urgent connection d > s WANT, s > d RECORD; then
 *   d > s  ARRIVED and REPORT, or BYE if the program has ended; s > d  BYE
 *   s > d  SIGNALS         that came meanwhile
 *   connections lost meanwhile: all ATTACH again, s > d SERVE, then d > s SERVE, or once more what was said at the end
 *   any time before COMMIT: either side FAILED
 */
#ifndef MIGRATE_WIRE_H
#define MIGRATE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "abi/migrate.h"
#include "host/bytes.h"

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_ATTACH,
	FRAME_WELCOME,
	FRAME_MANIFEST,
	FRAME_ANSWER,
	FRAME_HANDSHAKE,
	FRAME_EVIDENCE,
	FRAME_RECORD,
	FRAME_ROUND_END,
	FRAME_ROUND_DONE,
	FRAME_SLOTS,
	FRAME_PARKING,
	FRAME_CARRIED,
	FRAME_CONTROL,
	FRAME_FINAL,
	FRAME_READY,
	FRAME_COMMIT,
	FRAME_RESUMED,
	FRAME_REFUSED,
	FRAME_REPORT,
	FRAME_BYE,
	FRAME_FAILED,
	FRAME_WANT,
	FRAME_SERVE,
	FRAME_ARRIVED,
	FRAME_SIGNALS,
	FRAME_HURRY,
	FRAME_LAST,
	FRAME_ROOM,
	FRAME_TYPE_COUNT
};

#define FRAME_MAGIC 0x3146474fu /* "OGF1" */
struct frame_header {
	uint32_t magic;
	uint16_t type;
	uint16_t reserved;
	uint32_t size; /* of what follows */
} __attribute__((packed));

#define SESSION_ID_SIZE 16
#define MIGRATE_NAME_MAX 64
#define WIRE_VERSION 7

struct frame_hello {
	uint32_t version; /* WIRE_VERSION */
	uint32_t streams;
	uint8_t session[SESSION_ID_SIZE];
	uint8_t mrenclave[32];
	char name[MIGRATE_NAME_MAX];
	uint64_t pages; /* in use now */
} __attribute__((packed));

struct frame_welcome {
	uint64_t calendar_us; /* CLOCK_REALTIME */
} __attribute__((packed));

struct frame_attach {
	uint8_t session[SESSION_ID_SIZE];
	uint32_t stream; /* or MIGRATE_URGENT, or MIGRATE_CONTROL: the control connection, again */
	uint32_t epoch;	 /* of pages that were deferred: counts attempts to make all connections again */
} __attribute__((packed));

struct frame_round {
	uint32_t round;
} __attribute__((packed));

/* Before LAST's record. */
struct frame_last {
	uint32_t stream;
} __attribute__((packed));

/* A page that a thread waits for. */
struct frame_want {
	uint64_t page;
} __attribute__((packed));

struct frame_serve {
	uint32_t epoch;
} __attribute__((packed));

struct frame_failed {
	int32_t code; /* -errno; 0: nothing failed, it was only asked whether the program could come */
	char message[256]; /* printable, NUL terminated */
} __attribute__((packed));

/* So much may come with CARRIED. */
struct frame_room {
	uint64_t size;
} __attribute__((packed));

struct frame_parking {
	uint64_t for_us; /* that the program has been asked to stop */
} __attribute__((packed));

/* Before RESUMED's record. */
struct frame_resumed {
	uint64_t downtime_us; /* from what PARKING says to running, on the destination's clock */
} __attribute__((packed));

/* BYE of a destination whose program has ended while pages were still to come. (A source's holds signals.) */
struct frame_end {
	uint64_t died; /* it did not end by itself: its enclave is lost */
} __attribute__((packed));

/* Moments on CLOCK_MONOTONIC, in microseconds. */
uint64_t now_us(void);
/* CLOCK_REALTIME's: what this host calls the time of day. */
uint64_t calendar_us(void);
#define WIRE_FOREVER UINT64_MAX

struct wait {
	uint64_t until_us; /* WIRE_FOREVER: no end */
	int wake_fd;	   /* readable: give up with -ECANCELED. -1: none */
};

/* Largest payload of a type; 0 for a type that is none. */
size_t frame_size_max(unsigned type);
static inline struct frame_header frame_header_of(enum frame_type type, size_t size)
{
	return (struct frame_header){FRAME_MAGIC, (uint16_t)type, 0, (uint32_t)size};
}
/* Is it one this version could have sent? */
bool frame_header_ok(const struct frame_header *h);
/* Text of the other host, to be shown: terminated, without anything a terminal would obey. */
void wire_text(char *text, size_t size);
/* Sends a whole frame whose payload is in two parts (either may be empty). -ETIMEDOUT, -ECANCELED, -EPIPE ...
 */
int wire_send(int fd, enum frame_type type, const void *first, size_t first_size, const void *second,
	      size_t second_size, struct wait wait);
/* Sends bytes that already hold a frame. */
int wire_send_raw(int fd, const void *data, size_t size, struct wait wait);

/* One direction of a connection, with room for one frame. */
struct wire {
	int fd;
	uint8_t *data; /* payload of the last frame, size bytes and a NUL */
	size_t size, capacity;
	uint16_t type;
	uint8_t *spare; /* wire_room()'s, or what it has taken the place of; NULL: none */
	size_t spare_capacity;
};
void wire_init(struct wire *w, int fd);
/* Frees the buffer, closes the socket. */
void wire_close(struct wire *w);
/* A frame that comes later may be so large: the memory for it is found now. */
void wire_room(struct wire *w, size_t size);
/* The last frame's payload, which is the caller's from now on. .error if memory is short. */
struct bytes wire_take(struct wire *w);
/* The next frame. -EPROTO if it is not one, -ECONNRESET if the connection ends. */
int wire_recv(struct wire *w, struct wait wait);
/* The next frame's header, then its payload into a place of the caller's. */
int wire_recv_header(int fd, struct frame_header *header, struct wait wait);
/* Bytes given to the kernel that the peer has not acknowledged. fd -1: none. */
uint64_t wire_unsent(int fd);
/* The shortest time there and back over the network that the kernel has seen on this connection; 0 if none, or fd -1. */
uint64_t wire_round_trip_us(int fd);
int wire_recv_raw(int fd, void *data, size_t size, struct wait wait);

#endif
