/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames from a hostile or broken other host: no length is believed, nothing
 * waits for ever.
 */
#include "migrate/wire.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "migrate/address.h"
#include "migrate/parcel.h"
#include "tests/check.h"

static int ends[2];
static struct wire w;

static struct wait soon(void)
{
	return (struct wait){now_us() + 100 * 1000, -1};
}

static void begin(void)
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	wire_init(&w, ends[1]);
}

static void end(void)
{
	close(ends[0]);
	wire_close(&w);
}

static void frames_arrive_as_sent(void)
{
	uint8_t half[100];
	memset(half, 7, sizeof(half));
	begin();
	CHECK(wire_send(ends[0], FRAME_READY, half, 100, half, 50, soon()) == 0);
	CHECK(wire_send(ends[0], FRAME_MANIFEST, NULL, 0, NULL, 0, soon()) == 0);
	CHECK(wire_recv(&w, soon()) == 0);
	CHECK(w.type == FRAME_READY && w.size == 150 && w.data[149] == 7 && w.data[150] == 0);
	CHECK(wire_recv(&w, soon()) == 0 && w.type == FRAME_MANIFEST && w.size == 0);
	CHECK(wire_recv(&w, soon()) == -ETIMEDOUT);
	end();
}

/* ... as before those that wait, however large they are; and nothing before it is told. */
static void frames_of_a_parcel_arrive_in_order(void)
{
	static uint8_t large[PARCEL_SIZE];
	struct parcel p;
	memset(large, 7, sizeof(large));
	begin();
	CHECK(parcel_init(&p) == 0 && p.fd == -1);
	parcel_begin(&p, ends[0]);
	CHECK(parcel_put(&p, FRAME_READY, large, 100, large, 50, soon()) == 0);
	CHECK(parcel_put(&p, FRAME_MANIFEST, NULL, 0, NULL, 0, soon()) == 0);
	CHECK(wire_recv(&w, soon()) == -ETIMEDOUT);
	CHECK(parcel_put(&p, FRAME_CARRIED, large, sizeof(large), NULL, 0, soon()) == 0);
	CHECK(parcel_put(&p, FRAME_FINAL, NULL, 0, large, 9, soon()) == -EMSGSIZE);
	CHECK(parcel_put(&p, FRAME_CONTROL, large, 3, NULL, 0, soon()) == 0);
	CHECK(wire_recv(&w, soon()) == 0 && w.type == FRAME_READY && w.size == 150 && w.data[149] == 7);
	CHECK(wire_recv(&w, soon()) == 0 && w.type == FRAME_MANIFEST && w.size == 0);
	CHECK(wire_recv(&w, soon()) == 0 && w.type == FRAME_CARRIED && w.size == sizeof(large));
	CHECK(wire_recv(&w, soon()) == -ETIMEDOUT);
	CHECK(parcel_end(&p, soon()) == 0 && p.fd == -1);
	CHECK(wire_recv(&w, soon()) == 0 && w.type == FRAME_CONTROL && w.size == 3);
	parcel_begin(&p, ends[0]);
	CHECK(parcel_put(&p, FRAME_READY, large, 1, NULL, 0, soon()) == 0);
	wire_close(&w);
	CHECK(parcel_end(&p, soon()) == -EPIPE && p.fd == -1);
	parcel_free(&p);
	end();
}

static void expect(struct frame_header h, size_t size, int rc)
{
	begin();
	CHECK(write(ends[0], &h, size) == (ssize_t)size);
	shutdown(ends[0], SHUT_WR);
	CHECK(wire_recv(&w, soon()) == rc);
	end();
}

static void malformed_frames_are_refused(void)
{
	struct frame_header good = {FRAME_MAGIC, FRAME_READY, 0, 10}, bad = good;
	for (size_t size = 0; size < sizeof(good); size++)
		expect(good, size, -ECONNRESET);
	expect(good, sizeof(good), -ECONNRESET); /* payload missing */
	bad.magic++;
	expect(bad, sizeof(bad), -EPROTO);
	bad = good;
	bad.reserved = 4;
	expect(bad, sizeof(bad), -EPROTO);
	bad = good;
	for (unsigned type = FRAME_TYPE_COUNT; type < 70000; type += 77) {
		bad.type = (uint16_t)(type < 65536 ? type : 0);
		expect(bad, sizeof(bad), -EPROTO);
	}
	for (unsigned type = 1; type < FRAME_TYPE_COUNT; type++) {
		bad =
		    (struct frame_header){FRAME_MAGIC, (uint16_t)type, 0, (uint32_t)frame_size_max(type) + 1};
		expect(bad, sizeof(bad), -EPROTO);
		bad.size = UINT32_MAX;
		expect(bad, sizeof(bad), -EPROTO);
	}
}

/* A size that is allowed but never filled costs no more memory than allowed, and ends with the deadline. */
static void promised_bytes_are_not_waited_for(void)
{
	struct frame_header h = {FRAME_MAGIC, FRAME_CARRIED, 0, (uint32_t)frame_size_max(FRAME_CARRIED)};
	begin();
	CHECK(write(ends[0], &h, sizeof(h)) == sizeof(h));
	CHECK(wire_recv(&w, soon()) == -ETIMEDOUT);
	end();
}

static void oversized_sends_are_our_own_mistake(void)
{
	static uint8_t data[2048];
	begin();
	CHECK(wire_send(ends[0], FRAME_READY, data, 1024, data, 1, soon()) == -EMSGSIZE);
	CHECK(wire_send(ends[0], FRAME_TYPE_COUNT, data, 1, NULL, 0, soon()) == -EMSGSIZE);
	end();
}

static void a_full_socket_is_not_waited_for(void)
{
	static uint8_t data[RECORD_SIZE_MAX];
	int rc = 0;
	begin();
	for (int i = 0; i < 100 && rc == 0; i++)
		rc = wire_send(ends[0], FRAME_RECORD, data, sizeof(data), NULL, 0, soon());
	CHECK(rc == -ETIMEDOUT);
	end();
}

static void waiting_can_be_ended(void)
{
	uint64_t one = 1;
	struct wait wait = {WIRE_FOREVER, eventfd(0, 0)};
	begin();
	CHECK(write(wait.wake_fd, &one, sizeof(one)) == sizeof(one));
	CHECK(wire_recv(&w, wait) == -ECANCELED);
	close(wait.wake_fd);
	end();
}

static void shown_text_is_tame(void)
{
	char text[16] = "a\033[2J\nb\377c";
	wire_text(text, sizeof(text));
	CHECK(!strcmp(text, "a?[2J?b?c"));
	memset(text, 'x', sizeof(text));
	wire_text(text, sizeof(text));
	CHECK(strlen(text) == sizeof(text) - 1);
}

static void addresses_are_parsed(void)
{
	static const char *const bad[] = {
	    "",		  "tcp:",    "127.0.0.1:80",	   "tcp:127.0.0.1", "tcp:127.0.0.1:",
	    "tcp:::1:80", "udp:1:2", "tcp:127.0.0.1:http", "tcp:[::1]",	    "tcp:1.2.3.4:99999"};
	struct address a;
	struct failure why;
	CHECK(address_parse("tcp:127.0.0.1:80", &a, &why) == 0 && a.at.ss_family == AF_INET);
	CHECK(address_parse("tcp:[::1]:80", &a, &why) == 0 && a.at.ss_family == AF_INET6);
	CHECK(address_parse("tcp::80", &a, &why) == 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(address_parse(bad[i], &a, &why) == -EINVAL && address_check(bad[i], &why) == -EINVAL &&
		      why.message[0]);
	CHECK(address_check("tcp:no.such.host.:80", &why) == 0);
}

/* However much was expected, less or more may come; what has been taken stays when other frames follow. */
static void frames_can_be_taken(void)
{
	static const size_t expected[] = {0, 100, 50000}, sizes[] = {0, 60, 49999, 50000, 70000};
	static uint8_t data[70000];
	memset(data, 7, sizeof(data));
	for (size_t i = 0; i < 15; i++) {
		size_t room = expected[i / 5], size = sizes[i % 5];
		begin();
		CHECK(wire_send(ends[0], FRAME_READY, data, 200, NULL, 0, soon()) == 0 &&
		      wire_recv(&w, soon()) == 0);
		if (room)
			wire_room(&w, room);
		CHECK(wire_send(ends[0], FRAME_CARRIED, data, size, NULL, 0, soon()) == 0 &&
		      wire_recv(&w, soon()) == 0);
		struct bytes taken = wire_take(&w);
		CHECK(wire_send(ends[0], FRAME_READY, "and", 3, NULL, 0, soon()) == 0 &&
		      wire_recv(&w, soon()) == 0);
		CHECK(w.size == 3 && memcmp(w.data, "and", 4) == 0);
		CHECK(!taken.error && taken.size == size && memcmp(taken.data, data, size) == 0);
		bytes_free(&taken);
		end();
	}
}

int main(void)
{
	frames_arrive_as_sent();
	frames_can_be_taken();
	frames_of_a_parcel_arrive_in_order();
	malformed_frames_are_refused();
	promised_bytes_are_not_waited_for();
	oversized_sends_are_our_own_mistake();
	a_full_socket_is_not_waited_for();
	waiting_can_be_ended();
	shown_text_is_tame();
	addresses_are_parsed();
	puts("wire: lengths are bounded, waits end");
	return 0;
}
