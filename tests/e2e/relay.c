/* SPDX-License-Identifier: Apache-2.0
 *
 * relay [OPTIONS] LISTEN_PORT ADDRESS PORT: a wire between a source and a
 * destination that tests can look at and damage. Every connection accepted is
 * carried on to ADDRESS:PORT. Offsets count the bytes that went forward over
 * all connections together. What waits on the newest goes first, so byte N is
 * the same byte in every run.
 *   --record FILE    all bytes, both ways, one after another as they passed
 *   --cut-at N       all connections end (reset) when byte N is reached
 *   --stall-at N     nothing more passes, in either direction, from byte N on
 *   --flip-at N      one bit of byte N is changed
 *   --drop-at N      100 bytes are left out
 *   --repeat-at N    the 4096 bytes before N come twice
 * SIGUSR1 cuts all connections; SIGUSR2 stalls. "listening" on standard output
 * when it is ready, "damaged" when something was done.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 64
#define CHUNK 262144
#define REPEAT_SIZE 4096
#define DROP_SIZE 100
#define NEVER UINT64_MAX

struct pair {
	int fd[2]; /* source's, destination's; -1: ended */
};

static struct pair pairs[PAIRS_MAX];
static unsigned pair_count;
static FILE *record;
static uint64_t forwarded;
static uint64_t cut_at = NEVER, stall_at = NEVER, flip_at = NEVER, drop_at = NEVER, repeat_at = NEVER;
static bool is_stalled;
static volatile sig_atomic_t told_to_cut, told_to_stall;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		told_to_cut = 1;
	else
		told_to_stall = 1;
}

static void damaged(const char *how)
{
	printf("damaged: %s at byte %llu\n", how, (unsigned long long)forwarded);
	fflush(stdout);
}

static void pair_end(struct pair *p, bool with_reset)
{
	struct linger now = {1, 0};

	for (int side = 0; side < 2; side++) {
		if (p->fd[side] < 0)
			continue;
		if (with_reset)
			setsockopt(p->fd[side], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(p->fd[side]);
		p->fd[side] = -1;
	}
}

static void cut_all(void)
{
	for (unsigned i = 0; i < pair_count; i++)
		pair_end(&pairs[i], true);
	damaged("cut");
}

static int send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static bool is_here(uint64_t at, size_t size)
{
	return at >= forwarded && at < forwarded + size;
}

/* What becomes of a chunk on its way to the destination. False: nothing more is to be done with it. */
static bool pass_forward(int to, char *data, size_t size)
{
	if (is_here(cut_at, size)) {
		cut_at = NEVER;
		cut_all();
		return false;
	}
	if (is_here(stall_at, size)) {
		stall_at = NEVER;
		is_stalled = true;
		damaged("stall");
		return false;
	}
	if (is_here(flip_at, size)) {
		data[flip_at - forwarded] ^= 4;
		damaged("flip");
	}
	size_t skip_from = size, skip = 0;
	if (is_here(drop_at, size)) {
		skip_from = drop_at - forwarded;
		skip = size - skip_from < DROP_SIZE ? size - skip_from : DROP_SIZE;
		damaged("drop");
	}
	if (is_here(repeat_at, size) && repeat_at - forwarded >= REPEAT_SIZE) {
		size_t end = repeat_at - forwarded;
		damaged("repeat");
		send_all(to, data, end);
		send_all(to, data + end - REPEAT_SIZE, REPEAT_SIZE);
		send_all(to, data + end, size - end);
	} else if (send_all(to, data, skip_from) || send_all(to, data + skip_from + skip, size - skip_from - skip)) {
		forwarded += size;
		return false;
	}
	forwarded += size;
	return true;
}

static void pass(struct pair *p, int side)
{
	static char data[CHUNK];
	ssize_t n = recv(p->fd[side], data, sizeof(data), 0);

	if (n <= 0) {
		pair_end(p, false);
		return;
	}
	if (record)
		fwrite(data, 1, (size_t)n, record);
	if (side == 0)
		pass_forward(p->fd[1], data, (size_t)n);
	else
		send_all(p->fd[0], data, (size_t)n);
}

static void take_connection(int listener, const struct sockaddr_in *to)
{
	int one = 1;
	int from_fd = accept(listener, NULL, NULL), to_fd = socket(AF_INET, SOCK_STREAM, 0);

	if (from_fd < 0 || to_fd < 0 || pair_count == PAIRS_MAX ||
	    connect(to_fd, (const struct sockaddr *)to, sizeof(*to))) {
		close(from_fd);
		close(to_fd);
		return;
	}
	setsockopt(from_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(to_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	pairs[pair_count++] = (struct pair){{from_fd, to_fd}};
}

static void carry_on(int listener, const struct sockaddr_in *to)
{
	for (;;) {
		struct pollfd wait[1 + 2 * PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
		for (unsigned i = 0; i < pair_count; i++)
			for (int side = 0; side < 2; side++)
				wait[1 + 2 * i + (unsigned)side] = (struct pollfd){
					.fd = is_stalled ? -1 : pairs[i].fd[side], .events = POLLIN};
		unsigned count = pair_count;
		int ready = poll(wait, 1 + 2 * count, 1000);
		if (told_to_cut) {
			told_to_cut = 0;
			cut_all();
			continue;
		}
		if (told_to_stall && !is_stalled) {
			is_stalled = true;
			damaged("stall");
		}
		if (ready <= 0)
			continue;
		if (wait[0].revents) {
			take_connection(listener, to);
			continue;
		}
		for (unsigned i = count; i-- && !is_stalled;)
			for (int side = 0; side < 2; side++)
				if (wait[1 + 2 * i + (unsigned)side].revents && pairs[i].fd[side] >= 0 && !is_stalled)
					pass(&pairs[i], side);
	}
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"record", 1, 0, 'r'},  {"cut-at", 1, 0, 'c'},  {"stall-at", 1, 0, 's'},
					      {"flip-at", 1, 0, 'f'}, {"drop-at", 1, 0, 'd'}, {"repeat-at", 1, 0, 'p'},
					      {0}};
	struct sockaddr_in here = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
	struct sigaction action = {.sa_handler = on_signal};
	int option, one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		uint64_t number = option == 'r' || option == '?' ? 0 : strtoull(optarg, NULL, 0);
		switch (option) {
		case 'r': record = fopen(optarg, "w"); break;
		case 'c': cut_at = number; break;
		case 's': stall_at = number; break;
		case 'f': flip_at = number; break;
		case 'd': drop_at = number; break;
		case 'p': repeat_at = number; break;
		default: return 2;
		}
	}
	if (argc - optind != 3 || !inet_pton(AF_INET, argv[optind + 1], &to.sin_addr))
		errx(2, "usage: relay [OPTIONS] LISTEN_PORT ADDRESS PORT");
	here.sin_port = htons((unsigned short)atoi(argv[optind]));
	to.sin_port = htons((unsigned short)atoi(argv[optind + 2]));
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (record)
		setvbuf(record, NULL, _IONBF, 0);
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, 16))
		err(1, "port %s", argv[optind]);
	puts("listening");
	fflush(stdout);
	carry_on(listener, &to);
}
