/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads of the page streams, from one side to the other, with an enclave
 * made up that numbers its records: everything arrives, in order per stream,
 * rounds do not mix, and whatever fails ends all threads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "migrate/inflow.h"
#include "migrate/outflow.h"
#include "migrate/trusted.h"
#include "tests/check.h"

#define STREAMS 3u
#define NEVER UINT32_MAX

/* ---- the enclave: a stream's record is its number, repeated; sizes vary ---- */
static struct {
	uint32_t left, made; /* the producer's */
	uint32_t taken;	     /* the installer's */
} lane[STREAMS];
static uint32_t send_fails_at = NEVER, receive_fails_at = NEVER;

int trusted(struct enclave *e, enum migrate_op op, uint64_t stream, struct trusted_call *c)
{
	uint32_t number;
	if (op == MIGRATE_RECEIVE) {
		CHECK(c->in_size >= sizeof(number));
		memcpy(&number, c->in, sizeof(number));
		if (number == receive_fails_at)
			return -EBADMSG;
		CHECK(number == lane[stream].taken++);
		CHECK(((const uint8_t *)c->in)[c->in_size - 1] == (uint8_t)number);
		c->ret[1] = 1;
		return 0;
	}
	c->ret[0] = 0;
	if (lane[stream].left == 0)
		return 0;
	lane[stream].left--;
	number = lane[stream].made++;
	if (number == send_fails_at)
		return -EIO;
	c->out_size = 8 + number * 7919 % 200000;
	memset(c->out, (int)(uint8_t)number, c->out_size);
	memcpy(c->out, &number, sizeof(number));
	c->ret[0] = c->out_size;
	c->ret[1] = 1;
	return 0;
}

/* ---- both sides in one process ---- */
static struct outflow out;
static struct inflow in;
static int out_wake, in_wake, control[2];
static atomic_bool cancelled;

static atomic_uint_fast64_t pages_taken;

static int record(void *context, unsigned stream, const void *data, size_t size)
{
	struct trusted_call c = {.in = data, .in_size = size};
	int rc = trusted(NULL, MIGRATE_RECEIVE, stream, &c);
	atomic_fetch_add(&pages_taken, rc ? 0 : c.ret[1]);
	return rc;
}

static void round_done(void *context, uint32_t round)
{
	CHECK(write(control[0], &round, sizeof(round)) == sizeof(round));
}

static void begin(void)
{
	int from[STREAMS], to[STREAMS];
	memset(lane, 0, sizeof(lane));
	atomic_store(&pages_taken, 0);
	send_fails_at = receive_fails_at = NEVER;
	atomic_store(&cancelled, false);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, control) == 0);
	out_wake = eventfd(0, 0);
	in_wake = eventfd(0, 0);
	for (unsigned i = 0; i < STREAMS; i++) {
		int ends[2];
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
		from[i] = ends[0];
		to[i] = ends[1];
	}
	CHECK(outflow_open(&out, NULL, from, STREAMS, out_wake) == 0);
	CHECK(inflow_open(&in, to, STREAMS, in_wake, (struct inflow_ops){record, round_done}, NULL) == 0);
}

static void end(void)
{
	outflow_close(&out);
	inflow_close(&in);
	close(control[0]);
	close(control[1]);
	close(out_wake);
	close(in_wake);
}

static void round_send(uint32_t records)
{
	for (unsigned i = 0; i < STREAMS; i++)
		lane[i].left = records * (i + 1); /* streams are not alike */
	outflow_round(&out);
}

static void rounds_arrive_whole(void)
{
	begin();
	for (uint32_t round = 1; round <= 6; round++) {
		uint32_t said = 0;
		round_send(round * 7 % 13);
		CHECK(outflow_produced(&out, 5000, &cancelled) == 0);
		CHECK(inflow_wait(&in, round, now_us() + 5000000) == 0);
		CHECK(read(control[1], &said, sizeof(said)) == sizeof(said) && said == round);
		for (unsigned i = 0; i < STREAMS; i++)
			CHECK(lane[i].taken == lane[i].made);
	}
	CHECK(atomic_load(&out.pages) == atomic_load(&pages_taken));
	end();
}

static int here(int fd, uint64_t stall_us, struct wait most)
{
	static uint8_t room[RECORD_SIZE_MAX];
	struct parcel parcel;
	CHECK(parcel_init(&parcel) == 0);
	parcel_begin(&parcel, fd);
	int rc = outflow_here(&out, room, &parcel, stall_us, most), sent = parcel_end(&parcel, most);
	parcel_free(&parcel);
	return rc ? rc : sent;
}

/* ... over another connection, named by their streams, which then go on as before. */
static void few_go_in_the_calling_thread(void)
{
	struct wait wait = {now_us() + 5000000, -1};
	struct wire there;
	int ends[2];
	begin();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	for (unsigned i = 0; i < STREAMS; i++)
		lane[i].left = i; /* the first has none */
	CHECK(here(ends[0], 5000000, wait) == 0);
	wire_init(&there, ends[1]);
	for (unsigned i = 1; i < STREAMS; i++)
		for (unsigned k = 0; k < i; k++) {
			struct frame_last last;
			CHECK(wire_recv(&there, wait) == 0 && there.type == FRAME_LAST);
			CHECK(there.size > sizeof(last));
			memcpy(&last, there.data, sizeof(last));
			CHECK(last.stream == i);
			CHECK(record(NULL, i, there.data + sizeof(last), there.size - sizeof(last)) == 0);
		}
	CHECK(atomic_load(&out.pages) == 3 && atomic_load(&pages_taken) == 3);
	lane[1].left = 1;
	send_fails_at = lane[1].made;
	CHECK(here(ends[0], 5000000, wait) == -EIO);
	send_fails_at = NEVER;
	lane[1].made--;
	round_send(3);
	CHECK(inflow_wait(&in, 1, now_us() + 5000000) == 0);
	CHECK(atomic_load(&pages_taken) == 3 + 18);
	/* the threads rest again, at once */
	lane[2].left = 1;
	CHECK(here(ends[0], 5000000, wait) == 0);
	CHECK(wire_recv(&there, wait) == 0 && there.type == FRAME_LAST);
	CHECK(record(NULL, 2, there.data + sizeof(struct frame_last), there.size - sizeof(struct frame_last)) == 0);
	round_send(1);
	CHECK(inflow_wait(&in, 2, now_us() + 5000000) == 0);
	wire_close(&there);
	close(ends[0]);
	end();
}

static void *slow_reader_main(void *context)
{
	struct wire *there = context;
	struct wait wait = {now_us() + 20000000, -1};
	while (wire_recv(there, wait) == 0)
		usleep(50000);
	return NULL;
}

/* All of it takes longer than anybody would wait for a word, but bytes move all the time. */
static void slow_links_are_not_silent(void)
{
	struct wait most = {now_us() + 20000000, -1};
	struct wire there;
	pthread_t reader;
	int ends[2], size = 4096;
	begin();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) == 0);
	wire_init(&there, ends[1]);
	CHECK(pthread_create(&reader, NULL, slow_reader_main, &there) == 0);
	lane[0].left = 30;
	CHECK(here(ends[0], 1000000, most) == 0);
	shutdown(ends[0], SHUT_RDWR);
	pthread_join(reader, NULL);
	wire_close(&there);
	/* nobody reads, and then there is no time left at all */
	close(ends[0]);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	lane[0].left = 30;
	CHECK(here(ends[0], 100000, most) == -ETIMEDOUT);
	most.until_us = now_us() + 100000;
	CHECK(here(ends[0], 10000000, most) == -ETIMEDOUT);
	close(ends[0]);
	close(ends[1]);
	end();
}

/* The thread that waits is woken, and nothing hangs on the way out. */
static void a_refusing_enclave_ends_it(void)
{
	bool refused = false;
	uint64_t woken;
	begin();
	receive_fails_at = 5;
	round_send(20);
	CHECK(read(in_wake, &woken, sizeof(woken)) == sizeof(woken));
	CHECK(inflow_wait(&in, 1, now_us() + 5000000) == -EBADMSG);
	CHECK(inflow_error(&in, &refused) == -EBADMSG && refused);
	end();
	begin();
	send_fails_at = 5;
	round_send(20);
	CHECK(outflow_produced(&out, 5000, &cancelled) == -EIO);
	CHECK(read(out_wake, &woken, sizeof(woken)) == sizeof(woken));
	end();
}

static void a_lost_link_ends_it(void)
{
	bool refused = true;
	uint64_t woken;
	begin();
	round_send(1000);
	shutdown(out.stream[1].lane.fd, SHUT_RDWR);
	CHECK(read(out_wake, &woken, sizeof(woken)) == sizeof(woken));
	CHECK(outflow_error(&out) != 0);
	CHECK(read(in_wake, &woken, sizeof(woken)) == sizeof(woken));
	CHECK(inflow_error(&in, &refused) != 0 && !refused);
	end();
}

static void a_silent_link_is_given_up(void)
{
	begin();
	receive_fails_at = 0; /* nobody reads any further */
	round_send(1000);
	int rc = outflow_produced(&out, 200, &cancelled);
	CHECK(rc == -ETIMEDOUT || rc == -EPIPE || rc == -ECONNRESET);
	end();
}

static void cancelling_does_not_wait_for_the_round(void)
{
	begin();
	atomic_store(&out.bandwidth, 1000000);
	round_send(1000);
	atomic_store(&cancelled, true);
	CHECK(outflow_produced(&out, 5000, &cancelled) == -ECANCELED);
	end();
}

int main(void)
{
	rounds_arrive_whole();
	few_go_in_the_calling_thread();
	slow_links_are_not_silent();
	a_refusing_enclave_ends_it();
	a_lost_link_ends_it();
	a_silent_link_is_given_up();
	cancelling_does_not_wait_for_the_round();
	puts("streams: whole rounds or an error");
	return 0;
}
