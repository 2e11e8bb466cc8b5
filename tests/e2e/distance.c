/* SPDX-License-Identifier: Apache-2.0
 *
 * distance PID PID DELAY_US: a link between the networks of two processes, whose
 * packets take that long each way and come in order. It is a device "far" in each
 * of them, to be given addresses; it goes with this process. "ready" on standard
 * output when it is there.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX 65536
#define UNDERWAY_MAX (64u << 20) /* bytes each way; what is more gets lost, as anywhere */

struct packet {
	struct packet *next;
	uint64_t due_ns;
	size_t size;
	uint8_t data[];
};

struct way {
	int from, to;
	struct packet *first, **last;
	size_t underway;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* In the network of that process; this one is there from then on. */
static int device_of(const char *pid)
{
	struct ifreq request = {.ifr_name = "far", .ifr_flags = IFF_TUN | IFF_NO_PI};
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
	int network = open(path, O_RDONLY | O_CLOEXEC);
	if (network < 0 || setns(network, CLONE_NEWNET) < 0)
		err(1, "%s", path);
	close(network);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		err(1, "/dev/net/tun");
	return fd;
}

static void take_all(struct way *w, uint64_t delay_ns)
{
	static uint8_t data[PACKET_MAX];
	for (;;) {
		ssize_t n = read(w->from, data, sizeof(data));
		if (n <= 0)
			return;
		struct packet *p = w->underway < UNDERWAY_MAX ? malloc(sizeof(*p) + (size_t)n) : NULL;
		if (!p)
			continue;
		*p = (struct packet){.due_ns = now_ns() + delay_ns, .size = (size_t)n};
		memcpy(p->data, data, (size_t)n);
		*w->last = p;
		w->last = &p->next;
		w->underway += p->size;
	}
}

static void hand_out_due(struct way *w)
{
	for (struct packet *p; (p = w->first) && p->due_ns <= now_ns();) {
		if (write(w->to, p->data, p->size) < 0 && errno != EINVAL && errno != EIO && errno != EAGAIN)
			err(1, "a packet");
		w->first = p->next;
		if (!w->first)
			w->last = &w->first;
		w->underway -= p->size;
		free(p);
	}
}

static void wait_for_work(struct way w[2])
{
	struct pollfd polled[2] = {{.fd = w[0].from, .events = POLLIN}, {.fd = w[1].from, .events = POLLIN}};
	uint64_t due = UINT64_MAX, now = now_ns();
	for (int i = 0; i < 2; i++)
		if (w[i].first && w[i].first->due_ns < due)
			due = w[i].first->due_ns;
	uint64_t ns = due > now ? due - now : 0;
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	if (ppoll(polled, 2, due == UINT64_MAX ? NULL : &t, NULL) < 0 && errno != EINTR)
		err(1, "poll");
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: distance PID PID DELAY_US");
	uint64_t delay_ns = strtoull(argv[3], NULL, 10) * 1000;
	int a = device_of(argv[1]), b = device_of(argv[2]);
	struct way ways[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
	for (int i = 0; i < 2; i++)
		ways[i].last = &ways[i].first;
	puts("ready");
	fflush(stdout);
	for (;;) {
		for (int i = 0; i < 2; i++) {
			take_all(&ways[i], delay_ns);
			hand_out_due(&ways[i]);
		}
		wait_for_work(ways);
	}
}
