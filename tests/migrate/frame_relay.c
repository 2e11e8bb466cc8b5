/* SPDX-License-Identifier: Apache-2.0
 *
 * frame_relay [OPTION] PORT HOST HOST-PORT: carries migrations' connections, knows frames, and does something
 * once:
 *   --cut TYPE      the next frame of that type is lost, and all connections with it
 *   --cut-after TYPE  it still arrives
 *   --swallow TYPE  it is lost, connections stay
 *   --repeat TYPE   it comes twice
 *   --spoil TYPE    one bit of its last byte is changed
 *   --hold TYPE     it comes after the next frame of its connection
 *   --forge KIND    a record of that kind of run (enum run_kind), for the program's first 64 pages, comes before
 *                   it is its turn; it is in the place of a record
 *   --delay TYPE    it comes a second late
 *   --failed CODE   with --swallow: FAILED of that code is in its place
 *   --early TYPE    a frame of that type, of zeros, comes before the source has proved anything
 *   --later 1       not before SIGUSR2
 *   --behind TYPE   not before a frame of that type has passed
 *   --down MS       after a cut nobody gets through for that long
 * SIGUSR1 cuts all connections. Types are numbers of enum frame_type. Says "listening", and "damaged" once it
 * has acted.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "migrate/wire.h"

#define CONNECTIONS_MAX 256

static struct {
	unsigned type;
	bool cut, after, repeat, spoil, hold, forge, delay;
	uint32_t kind; /* of the forged */
	unsigned down_ms, behind, early;
	int failed; /* code */
} damage;
static atomic_bool damaged, too_early;
static atomic_uint_fast64_t closed_until_us;
static struct sockaddr_in target;
static int sockets[2 * CONNECTIONS_MAX];
static atomic_uint socket_count;

struct way {
	int from, to;
};

static void cut_all(void)
{
	atomic_store(&closed_until_us, now_us() + damage.down_ms * 1000ull);
	for (unsigned i = 0; i < socket_count; i++)
		shutdown(sockets[i], SHUT_RDWR);
}

static void on_signal(int number)
{
	if (number == SIGUSR1)
		cut_all();
	else
		atomic_store(&too_early, false);
}

/* True if the frame is to be forwarded. */
static bool look_at(unsigned type)
{
	if (type == damage.behind)
		atomic_store(&too_early, false);
	if (type != damage.type || too_early || atomic_exchange(&damaged, true))
		return true;
	puts("damaged");
	fflush(stdout);
	if (damage.cut && !damage.after)
		cut_all();
	if (damage.delay)
		sleep(1);
	return damage.after || damage.delay;
}

static int forge(int to)
{
	struct {
		struct record_header header;
		struct record_run run;
		uint8_t tag[RECORD_TAG_SIZE];
	} __attribute__((packed)) r = {.header = {.magic = RECORD_MAGIC,
						  .version = RECORD_VERSION,
						  .type = RECORD_PAGES,
						  .counter = 1,
						  .run_count = 1},
				       .run = {APP_BASE >> PAGE_SHIFT, RECORD_BLOCK_PAGES, damage.kind}};
	return wire_send(to, FRAME_RECORD, &r, sizeof(r), NULL, 0, (struct wait){WIRE_FOREVER, -1});
}

/* What takes the place of the frame that was damaged; held is sent behind the next. */
static int send_damaged(int to, struct wire *w, struct wire *held)
{
	struct wait forever = {WIRE_FOREVER, -1};
	if (damage.forge)
		return forge(to);
	if (damage.early) {
		static const uint8_t zero[64];
		size_t size = frame_size_max((uint16_t)damage.early);
		return wire_send(to, (enum frame_type)damage.early, zero,
				 size < sizeof(zero) ? size : sizeof(zero), NULL, 0, forever);
	}
	if (damage.failed) {
		struct frame_failed said = {.code = damage.failed, .message = "made up"};
		return wire_send(to, FRAME_FAILED, &said, sizeof(said), NULL, 0, forever);
	}
	if (damage.hold) {
		*held = *w;
		*w = (struct wire){.fd = held->fd};
		return 0;
	}
	if (damage.spoil && w->size)
		w->data[w->size - 1] ^= 1;
	int rc =
	    damage.repeat || damage.spoil ? wire_send(to, w->type, w->data, w->size, NULL, 0, forever) : 0;
	return rc == 0 && damage.repeat ? wire_send(to, w->type, w->data, w->size, NULL, 0, forever) : rc;
}

static void *way_main(void *context)
{
	struct way way = *(struct way *)context;
	struct wait forever = {WIRE_FOREVER, -1};
	struct wire w, held = {.data = NULL};
	free(context);
	wire_init(&w, way.from);
	while (wire_recv(&w, forever) == 0) {
		bool before = damaged;
		bool forward = look_at(w.type);
		if (forward ? wire_send(way.to, w.type, w.data, w.size, NULL, 0, forever)
			    : send_damaged(way.to, &w, &held))
			break;
		if (forward && held.data) {
			wire_send(way.to, held.type, held.data, held.size, NULL, 0, forever);
			free(held.data);
			held.data = NULL;
		}
		if (!before && damaged && damage.after && w.type == damage.type) {
			usleep(20000); /* let it arrive */
			cut_all();
		}
	}
	shutdown(way.from, SHUT_RDWR);
	shutdown(way.to, SHUT_RDWR);
	return NULL;
}

static void way_start(int from, int to)
{
	struct way *way = malloc(sizeof(*way));
	pthread_t thread;
	int one = 1;
	setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*way = (struct way){from, to};
	if (pthread_create(&thread, NULL, way_main, way))
		exit(1);
	pthread_detach(thread);
}

static void serve(int listener)
{
	int client = accept(listener, NULL, NULL);
	int server = socket(AF_INET, SOCK_STREAM, 0);
	if (client < 0 || server < 0 || socket_count + 2 > 2 * CONNECTIONS_MAX)
		exit(1);
	if (now_us() < closed_until_us || connect(server, (struct sockaddr *)&target, sizeof(target))) {
		close(client);
		close(server);
		return;
	}
	sockets[socket_count] = client;
	sockets[socket_count + 1] = server;
	socket_count += 2;
	way_start(client, server);
	way_start(server, client);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	for (; argc > 4; argc -= 2, argv += 2) {
		if (!strcmp(argv[1], "--down")) {
			damage.down_ms = (unsigned)atoi(argv[2]);
			continue;
		}
		if (!strcmp(argv[1], "--later") || !strcmp(argv[1], "--behind")) {
			damage.behind = !strcmp(argv[1], "--behind") ? (unsigned)atoi(argv[2]) : 0;
			atomic_store(&too_early, true);
			continue;
		}
		if (!strcmp(argv[1], "--failed")) {
			damage.failed = atoi(argv[2]);
			continue;
		}
		damage.type = (unsigned)atoi(argv[2]);
		if (!strcmp(argv[1], "--early")) {
			damage.early = damage.type;
			damage.type = FRAME_HANDSHAKE;
		}
		damage.repeat = !strcmp(argv[1], "--repeat");
		damage.spoil = !strcmp(argv[1], "--spoil");
		damage.hold = !strcmp(argv[1], "--hold");
		damage.delay = !strcmp(argv[1], "--delay");
		damage.forge = !strcmp(argv[1], "--forge");
		if (damage.forge) {
			damage.kind = damage.type;
			damage.type = FRAME_RECORD;
		}
		damage.cut = !strncmp(argv[1], "--cut", 5);
		damage.after = !strcmp(argv[1], "--cut-after");
	}
	if (argc != 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	at.sin_port = htons((uint16_t)atoi(argv[1]));
	target.sin_family = AF_INET;
	target.sin_port = htons((uint16_t)atoi(argv[3]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (inet_pton(AF_INET, argv[2], &target.sin_addr) != 1 ||
	    bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 64)) {
		perror("frame_relay");
		return 1;
	}
	puts("listening");
	fflush(stdout);
	for (;;)
		serve(listener);
}
