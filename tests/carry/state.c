/* SPDX-License-Identifier: Apache-2.0
 *
 * What is open and not a connection arrives as it was: numbers, sharing, flags,
 * offsets, contents, counters, timers, interests, working directory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/fdinfo.h"
#include "host/net/tcp_repair.h"
#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

static char directory[] = "/tmp/optmig-test-XXXXXX";
static char path[64];

static struct program a, b;
static const struct carry_options nothing_special;

static void begin(void)
{
	program_open(&a);
	program_open(&b);
}

static void end(void)
{
	program_close(&a);
	program_close(&b);
}

static void files(void)
{
	char text[16] = {0};
	begin();
	int fd = (int)CALL(&a, SYS_open, path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	CHECK(CALL(&a, SYS_write, fd, "0123456789", 10) == 10);
	CHECK(CALL(&a, SYS_lseek, fd, 4, SEEK_SET) == 4);
	long shared = CALL(&a, SYS_fcntl, fd, F_DUPFD_CLOEXEC, 40);
	long appending = CALL(&a, SYS_open, path, O_WRONLY | O_APPEND | O_NONBLOCK);
	long own = CALL(&a, SYS_open, path, O_RDONLY);
	long folder = CALL(&a, SYS_open, directory, O_RDONLY | O_DIRECTORY);
	long null = CALL(&a, SYS_open, "/dev/null", O_RDWR);
	CHECK(CALL(&a, SYS_dup2, null, 0) == 0); /* as daemons do */
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_read, fd, text, 2) == 2 && memcmp(text, "45", 2) == 0);
	CHECK(CALL(&b, SYS_read, shared, text, 2) == 2 && memcmp(text, "67", 2) == 0); /* one offset */
	CHECK(CALL(&b, SYS_read, own, text, 2) == 2 && memcmp(text, "01", 2) == 0);
	CHECK(CALL(&b, SYS_fcntl, shared, F_GETFD) == FD_CLOEXEC && CALL(&b, SYS_fcntl, fd, F_GETFD) == 0);
	CHECK((CALL(&b, SYS_fcntl, appending, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)) ==
	      (O_WRONLY | O_APPEND | O_NONBLOCK));
	CHECK(CALL(&b, SYS_write, appending, "ab", 2) == 2);
	CHECK(CALL(&b, SYS_lseek, fd, 0, SEEK_END) == 12);
	struct stat st;
	CHECK(CALL(&b, SYS_fstat, folder, &st) == 0 && S_ISDIR(st.st_mode));
	CHECK(CALL(&b, SYS_read, 0, text, 1) == 0);
	CHECK(CALL(&b, SYS_eventfd2, 0, 0) == null + 1); /* the next free number is the same */
	end();
}

static void channels(void)
{
	char text[70000];
	int pipe[2], stream[2], packets[2], records[2], orphan[2];
	memset(text, 'p', sizeof(text));
	begin();
	CHECK(CALL(&a, SYS_pipe2, pipe, O_NONBLOCK) == 0);
	long filled = CALL(&a, SYS_write, pipe[1], text, sizeof(text));
	CHECK(filled == 65536); /* full */
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, stream) == 0);
	CHECK(CALL(&a, SYS_write, stream[0], "to one", 6) == 6 &&
	      CALL(&a, SYS_write, stream[1], "to zero", 7) == 7);
	CHECK(CALL(&a, SYS_write, stream[1], "!", 1) == 1);
	CHECK(CALL(&a, SYS_shutdown, stream[0], SHUT_WR) == 0);
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, packets) == 0);
	CHECK(CALL(&a, SYS_write, packets[0], "first", 5) == 5 && CALL(&a, SYS_sendto, packets[0], "", 0) == 0 &&
	      CALL(&a, SYS_write, packets[0], "second", 6) == 6);
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_SEQPACKET, 0, records) == 0);
	CHECK(CALL(&a, SYS_sendto, records[0], "", 0) == 0 && CALL(&a, SYS_write, records[0], "record", 6) == 6);
	CHECK(CALL(&a, SYS_pipe2, orphan, 0) == 0 && CALL(&a, SYS_write, orphan[1], "left", 4) == 4);
	CHECK(CALL(&a, SYS_close, orphan[1]) == 0);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_write, pipe[1], "x", 1) == -EAGAIN); /* still full, still non-blocking */
	CHECK(CALL(&b, SYS_read, pipe[0], text, sizeof(text)) == 65536 && text[65535] == 'p');
	CHECK(CALL(&b, SYS_read, pipe[0], text, 1) == -EAGAIN);
	CHECK(CALL(&b, SYS_write, pipe[1], "x", 1) == 1 && CALL(&b, SYS_read, pipe[0], text, 9) == 1);
	CHECK(CALL(&b, SYS_read, stream[1], text, 99) == 6 && memcmp(text, "to one", 6) == 0);
	CHECK(CALL(&b, SYS_read, stream[1], text, 99) == 0); /* the other end had shut its side */
	CHECK(CALL(&b, SYS_read, stream[0], text, 99) == 8 && memcmp(text, "to zero!", 8) == 0);
	CHECK(CALL(&b, SYS_write, stream[0], "x", 1) == -EPIPE &&
	      CALL(&b, SYS_write, stream[1], "x", 1) == 1);
	CHECK(CALL(&b, SYS_read, packets[1], text, 99) == 5 && CALL(&b, SYS_recvfrom, packets[1], text, 99) == 0 &&
	      CALL(&b, SYS_recvfrom, packets[1], text, 99, MSG_DONTWAIT) == 6);
	CHECK(CALL(&b, SYS_recvfrom, records[1], text, 99, MSG_DONTWAIT) == 0 &&
	      CALL(&b, SYS_recvfrom, records[1], text, 99, MSG_DONTWAIT) == 6);
	CHECK(CALL(&b, SYS_read, orphan[0], text, 99) == 4 && CALL(&b, SYS_read, orphan[0], text, 99) == 0);
	end();
}

static unsigned char byte_at(size_t at)
{
	return (unsigned char)(at * 31 + at / 4096);
}

/* A stream that is always full holds no more after many moves than after one, and loses nothing. */
static void full_streams(void)
{
	static unsigned char data[1 << 18];
	size_t written = 0, got = 0;
	int pair[2];
	begin();
	struct program *here = &a, *there = &b, *swap;
	CHECK(CALL(here, SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	for (int i = 0; i < 40; i++) {
		long n;
		do {
			for (size_t k = 0; k < sizeof(data); k++)
				data[k] = byte_at(written + k);
			n = CALL(here, SYS_write, pair[0], data, 10000 + (size_t)i * 5000);
			written += n > 0 ? (size_t)n : 0;
		} while (n > 0);
		CHECK(n == -EAGAIN && written - got < 1 << 20);
		n = CALL(here, SYS_read, pair[1], data, 7000 + (size_t)i * 900);
		CHECK(n > 0);
		for (long k = 0; k < n; k++)
			CHECK(data[k] == byte_at(got + (size_t)k));
		got += (size_t)n;
		program_move_here(here, there, &nothing_special);
		swap = here;
		here = there;
		there = swap;
		program_close(there);
		program_open(there);
	}
	end();
}

/* However often they ring: the host looks at each of them in a moment when it may just have. */
static void fast_timers(void)
{
	enum { TIMERS = 300 };
	struct itimerspec fast = {{0, 15000}, {0, 15000}}, now;
	int timer[TIMERS], stopped = 0;
	uint64_t value;

	begin();
	for (int i = 0; i < TIMERS; i++) {
		timer[i] = (int)CALL(&a, SYS_timerfd_create, CLOCK_MONOTONIC, TFD_NONBLOCK);
		CHECK(CALL(&a, SYS_timerfd_settime, timer[i], 0, &fast, 0) == 0);
	}
	program_move_here(&a, &b, &nothing_special);
	for (int i = 0; i < TIMERS; i++) {
		CHECK(CALL(&b, SYS_read, timer[i], &value, 8) == 8); /* what it had rung before */
		CHECK(CALL(&b, SYS_timerfd_gettime, timer[i], &now) == 0 && now.it_interval.tv_nsec == 15000);
	}
	usleep(1000);
	for (int i = 0; i < TIMERS; i++)
		stopped += CALL(&b, SYS_read, timer[i], &value, 8) != 8;
	CHECK(stopped == 0);
	end();
}

static void counters_and_timers(void)
{
	uint64_t value = 5;
	begin();
	int event = (int)CALL(&a, SYS_eventfd2, 0, EFD_NONBLOCK);
	int semaphore = (int)CALL(&a, SYS_eventfd2, 3, EFD_SEMAPHORE);
	CHECK(CALL(&a, SYS_write, event, &value, 8) == 8);
	int timer = (int)CALL(&a, SYS_timerfd_create, CLOCK_MONOTONIC, TFD_NONBLOCK);
	int rung = (int)CALL(&a, SYS_timerfd_create, CLOCK_REALTIME, 0);
	struct itimerspec in_a_while = {{0, 0}, {100, 0}}, soon = {{1000, 0}, {0, 1000}}, now;
	CHECK(CALL(&a, SYS_timerfd_settime, timer, 0, &in_a_while, 0) == 0);
	CHECK(CALL(&a, SYS_timerfd_settime, rung, 0, &soon, 0) == 0);
	/* As programs watch for the clock being set. */
	int watch = (int)CALL(&a, SYS_timerfd_create, CLOCK_REALTIME, 0);
	struct itimerspec never = {{0, 0}, {4000000000, 0}};
	CHECK(CALL(&a, SYS_timerfd_settime, watch, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, 0) == 0);
	sleep_us(5000);
	program_move_here(&a, &b, &nothing_special);
	struct descriptor *watching = fdtable_borrow(b.fds, watch);
	struct fdinfo info;
	CHECK(fdinfo_read(watching->host_fd, &info) == 0 &&
	      info.timer_flags == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET));
	fdtable_return(b.fds, watching);
	CHECK(CALL(&b, SYS_read, event, &value, 8) == 8 && value == 5);
	CHECK(CALL(&b, SYS_read, event, &value, 8) == -EAGAIN);
	CHECK(CALL(&b, SYS_read, semaphore, &value, 8) == 8 && value == 1);
	CHECK(CALL(&b, SYS_read, semaphore, &value, 8) == 8 && value == 1);
	CHECK(CALL(&b, SYS_timerfd_gettime, timer, &now) == 0 && now.it_value.tv_sec >= 90 &&
	      now.it_value.tv_sec < 100);
	CHECK(CALL(&b, SYS_read, timer, &value, 8) == -EAGAIN);
	CHECK(CALL(&b, SYS_read, rung, &value, 8) == 8 && value == 1);
	CHECK(CALL(&b, SYS_timerfd_gettime, rung, &now) == 0 && now.it_interval.tv_sec == 1000 &&
	      now.it_value.tv_sec > 900);
	end();
}

static void interests(void)
{
	int level[2], edge[2], once[2];
	begin();
	int epoll = (int)CALL(&a, SYS_epoll_create1, EPOLL_CLOEXEC),
	    outer = (int)CALL(&a, SYS_epoll_create1, 0);
	CHECK(CALL(&a, SYS_pipe2, level, 0) == 0 && CALL(&a, SYS_pipe2, edge, 0) == 0 &&
	      CALL(&a, SYS_pipe2, once, 0) == 0);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1122334455667788}, out[8];
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, level[0], &e) == 0);
	e = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.u64 = 2};
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, edge[0], &e) == 0);
	e = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 3};
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, once[0], &e) == 0);
	e = (struct epoll_event){.events = EPOLLIN, .data.u64 = 4};
	CHECK(CALL(&a, SYS_epoll_ctl, outer, EPOLL_CTL_ADD, epoll, &e) == 0);
	CHECK(CALL(&a, SYS_write, once[1], "x", 1) == 1);
	CHECK(CALL(&a, SYS_epoll_wait, epoll, out, 8, 0) == 1 && out[0].data.u64 == 3); /* fired: disarmed */
	CHECK(CALL(&a, SYS_write, level[1], "x", 1) == 1);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_fcntl, epoll, F_GETFD) == FD_CLOEXEC);
	CHECK(CALL(&b, SYS_epoll_wait, outer, out, 8, 0) == 1 && out[0].data.u64 == 4);
	for (int i = 0; i < 2; i++)
		CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1 &&
		      out[0].data.u64 == 0x1122334455667788);
	CHECK(CALL(&b, SYS_write, edge[1], "x", 1) == 1);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 2);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1); /* the edge is told once */
	e = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 3};
	CHECK(CALL(&b, SYS_epoll_ctl, epoll, EPOLL_CTL_MOD, once[0], &e) == 0);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 2);
	end();
}

/* The kernel keeps an interest by file and number: it lives on when the number is closed and a dup is not. */
static void interests_of_dups(void)
{
	int one[2], two[2], byte;
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1}, out[8];
	begin();
	int epoll = (int)CALL(&a, SYS_epoll_create1, 0);
	CHECK(CALL(&a, SYS_pipe2, one, 0) == 0);
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, one[0], &e) == 0);
	int lives = (int)CALL(&a, SYS_dup, one[0]);
	CHECK(CALL(&a, SYS_close, one[0]) == 0);
	/* The same number, here and in the host: not what the set has. */
	CHECK(CALL(&a, SYS_pipe2, two, 0) == 0 && two[0] == one[0]);
	int both = (int)CALL(&a, SYS_dup, two[0]);
	e.data.u64 = 2;
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, two[0], &e) == 0);
	e.data.u64 = 3;
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, both, &e) == 0);
	int again = (int)CALL(&a, SYS_dup, epoll);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_write, one[1], "x", 1) == 1);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1 && out[0].data.u64 == 1);
	CHECK(CALL(&b, SYS_write, two[1], "x", 1) == 1);
	CHECK(CALL(&b, SYS_epoll_wait, again, out, 8, 0) == 3);
	CHECK(CALL(&b, SYS_close, two[0]) == 0);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 3);
	CHECK(CALL(&b, SYS_close, both) == 0 && CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1);
	CHECK(CALL(&b, SYS_read, lives, &byte, 1) == 1 && CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 0);
	CHECK(CALL(&b, SYS_write, one[1], "x", 1) == 1 && CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1);
	CHECK(CALL(&b, SYS_close, lives) == 0 && CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 0);
	end();

	/* All eventfds look the same to the kernel's list. */
	uint64_t n = 1;
	begin();
	epoll = (int)CALL(&a, SYS_epoll_create1, 0);
	int first = (int)CALL(&a, SYS_eventfd2, 0, 0);
	e.data.u64 = 1;
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, first, &e) == 0);
	lives = (int)CALL(&a, SYS_dup, first);
	CHECK(CALL(&a, SYS_close, first) == 0 && CALL(&a, SYS_eventfd2, 0, 0) == first);
	e.data.u64 = 2;
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, first, &e) == 0);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_write, lives, &n, 8) == 8);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1 && out[0].data.u64 == 1);
	CHECK(CALL(&b, SYS_write, first, &n, 8) == 8 && CALL(&b, SYS_close, lives) == 0);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 8, 0) == 1 && out[0].data.u64 == 2);
	end();
}

static void sockets(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, name;
	socklen_t size = sizeof(name);
	int on = 1, value = 0;
	begin();
	int plain = (int)CALL(&a, SYS_socket, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(CALL(&a, SYS_setsockopt, plain, SOL_SOCKET, SO_KEEPALIVE, &on, 4) == 0);
	CHECK(CALL(&a, SYS_setsockopt, plain, SOL_SOCKET, SO_REUSEADDR, &on, 4) == 0);
	int datagrams = (int)CALL(&a, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	/* Both "hosts" are one here: the second bind needs REUSEPORT, as two real ones would not. */
	CHECK(CALL(&a, SYS_setsockopt, datagrams, SOL_SOCKET, SO_REUSEPORT, &on, 4) == 0);
	CHECK(CALL(&a, SYS_bind, datagrams, &address, sizeof(address)) == 0);
	int whole = IP_PMTUDISC_DO, tos = 0x10, priority = 5, segment = 1200, least = 255;
	CHECK(CALL(&a, SYS_setsockopt, datagrams, IPPROTO_UDP, UDP_SEGMENT, &segment, 4) == 0);
	CHECK(CALL(&a, SYS_setsockopt, datagrams, IPPROTO_IP, IP_MINTTL, &least, 4) == 0);
	CHECK(CALL(&a, SYS_setsockopt, datagrams, IPPROTO_IP, IP_MTU_DISCOVER, &whole, 4) == 0);
	CHECK(CALL(&a, SYS_setsockopt, datagrams, IPPROTO_IP, IP_TOS, &tos, 4) == 0);
	CHECK(CALL(&a, SYS_setsockopt, datagrams, SOL_SOCKET, SO_PRIORITY, &priority, 4) == 0);
	int listener = (int)CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, 0);
	CHECK(CALL(&a, SYS_setsockopt, listener, SOL_SOCKET, SO_REUSEPORT, &on, 4) == 0);
	CHECK(CALL(&a, SYS_bind, listener, &address, sizeof(address)) == 0);
	CHECK(CALL(&a, SYS_listen, listener, 17) == 0);
	CHECK(CALL(&a, SYS_getsockname, listener, &name, &size) == 0);
	/* A second one beside it, as servers with many processes or threads have. */
	int beside = (int)CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, 0);
	struct linger linger = {1, 7}, kept = {0};
	CHECK(CALL(&a, SYS_setsockopt, beside, SOL_SOCKET, SO_REUSEPORT, &on, 4) == 0);
	CHECK(CALL(&a, SYS_setsockopt, beside, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	CHECK(CALL(&a, SYS_bind, beside, &name, sizeof(name)) == 0 && CALL(&a, SYS_listen, beside, 17) == 0);
	program_move_here(&a, &b, &nothing_special);
	size = sizeof(kept);
	CHECK(CALL(&b, SYS_getsockopt, beside, SOL_SOCKET, SO_LINGER, &kept, &size) == 0);
	CHECK(kept.l_onoff == 1 && kept.l_linger == 7);
	size = 4;
	CHECK(CALL(&b, SYS_getsockopt, datagrams, IPPROTO_IP, IP_MTU_DISCOVER, &value, &size) == 0 && value == whole);
	CHECK(CALL(&b, SYS_getsockopt, datagrams, IPPROTO_UDP, UDP_SEGMENT, &value, &size) == 0 && value == segment);
	CHECK(CALL(&b, SYS_getsockopt, datagrams, IPPROTO_IP, IP_MINTTL, &value, &size) == 0 && (value & 0xff) == least);
	CHECK(CALL(&b, SYS_getsockopt, datagrams, IPPROTO_IP, IP_TOS, &value, &size) == 0 && (value & 0xff) == tos);
	CHECK(CALL(&b, SYS_getsockopt, datagrams, SOL_SOCKET, SO_PRIORITY, &value, &size) == 0 && value == priority);
	size = 4;
	CHECK(CALL(&b, SYS_getsockopt, beside, SOL_SOCKET, SO_REUSEPORT, &value, &size) == 0 && value == 1);
	CHECK(CALL(&b, SYS_close, beside) == 0);
	CHECK((CALL(&b, SYS_fcntl, plain, F_GETFL) & O_NONBLOCK) && (size = 4));
	CHECK(CALL(&b, SYS_getsockopt, plain, SOL_SOCKET, SO_KEEPALIVE, &value, &size) == 0 && value == 1);
	CHECK(CALL(&b, SYS_getsockopt, plain, SOL_SOCKET, SO_REUSEADDR, &value, &size) == 0 && value == 1);
	struct sockaddr_in after = {0};
	size = sizeof(after);
	CHECK(CALL(&b, SYS_getsockname, listener, &after, &size) == 0 && after.sin_port == name.sin_port);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&after, sizeof(after)) == 0);
	CHECK(CALL(&b, SYS_accept, listener, 0, 0) > 0);
	close(client);
	end();
}

/* A one-shot interest that has fired tells of nothing, not of the end of a connection either, until it is set again:
 * a thread may be at work on it. */
static void fired(void)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = 1}, out[4];
	int pair[2];
	begin();
	int epoll = (int)CALL(&a, SYS_epoll_create1, 0), other = (int)CALL(&a, SYS_eventfd2, 1, 0);
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(CALL(&a, SYS_write, pair[0], "x", 1) == 1);
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, pair[1], &e) == 0);
	CHECK(CALL(&a, SYS_epoll_wait, epoll, out, 4, 0) == 1);
	e.data.u32 = 2;
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, other, &e) == 0);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_close, pair[0]) == 0);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 4, 0) == 1 && out[0].data.u32 == 2);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 4, 0) == 0);
	e.data.u32 = 1;
	CHECK(CALL(&b, SYS_epoll_ctl, epoll, EPOLL_CTL_MOD, pair[1], &e) == 0);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 4, 0) == 1 && out[0].data.u32 == 1 && out[0].events & EPOLLHUP);
	end();
}

/* A program that looks ahead in its queue goes on where it was, after an undone move as after a move. */
static void peeks(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
	for (unsigned i = 0; i < 2; i++) {
		struct bytes manifest = {0}, state = {0};
		struct failure why = {0};
		struct carry_source *s;
		int pair[2], start = 0;
		char text[8];
		begin();
		CHECK(CALL(&a, SYS_socketpair, AF_UNIX, types[i], 0, pair) == 0);
		CHECK(CALL(&a, SYS_setsockopt, pair[1], SOL_SOCKET, SO_PEEK_OFF, &start, 4) == 0);
		CHECK(CALL(&a, SYS_write, pair[0], "abcdef", 6) == 6);
		CHECK(CALL(&a, SYS_recvfrom, pair[1], text, 2, MSG_PEEK) == 2 && memcmp(text, "ab", 2) == 0);
		program_must(carry_source_open(a.fds, &nothing_special, &s, &why), &why);
		program_must(carry_source_preflight(s, &manifest, NULL, &why), &why);
		program_must(carry_source_freeze(s, &state, &why), &why);
		program_must(carry_source_undo(s, &why), &why);
		carry_source_close(s);
		CHECK(CALL(&a, SYS_recvfrom, pair[1], text, 2, MSG_PEEK) == 2 && memcmp(text, "cd", 2) == 0);
		program_move_here(&a, &b, &nothing_special);
		CHECK(CALL(&b, SYS_recvfrom, pair[1], text, 2, MSG_PEEK) == 2 && memcmp(text, "ef", 2) == 0);
		CHECK(CALL(&b, SYS_read, pair[1], text, 6) == 6 && memcmp(text, "abcdef", 6) == 0);
		bytes_free(&manifest);
		bytes_free(&state);
		end();
	}
}

static int late_fd;

static void set_limit(struct program *p)
{
	struct timeval limit = {.tv_sec = 3};
	CHECK(CALL(p, SYS_setsockopt, late_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
}

/* What the program sets of a socket that was bound there in the preparation comes along too. */
static void set_late(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval kept = {0};
	socklen_t size = sizeof(kept);
	int on = 1;
	begin();
	late_fd = (int)CALL(&a, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	CHECK(CALL(&a, SYS_setsockopt, late_fd, SOL_SOCKET, SO_REUSEPORT, &on, 4) == 0);
	CHECK(CALL(&a, SYS_bind, late_fd, &address, sizeof(address)) == 0);
	program_move_busy(&a, &b, &nothing_special, set_limit);
	CHECK(CALL(&b, SYS_getsockopt, late_fd, SOL_SOCKET, SO_RCVTIMEO, &kept, &size) == 0);
	CHECK(kept.tv_sec == 3);
	end();
}

/* A socket that is of one interface is of the one of that name there, or does not move: never of all. */
static void of_an_interface(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	static const char name[IFNAMSIZ] = "lo";
	struct bytes manifest = {0}, answer = {0};
	struct carry_destination *d;
	struct failure why = {0};
	struct carry_source *s;
	char kept[IFNAMSIZ] = "";
	socklen_t size = sizeof(kept);
	int on = 1;
	begin();
	int fd = (int)CALL(&a, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	CHECK(CALL(&a, SYS_setsockopt, fd, SOL_SOCKET, SO_REUSEPORT, &on, 4) == 0);
	if (CALL(&a, SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, name, 3)) {
		end();
		return; /* no privilege */
	}
	CHECK(CALL(&a, SYS_bind, fd, &address, sizeof(address)) == 0);
	program_must(carry_source_open(a.fds, &nothing_special, &s, &why), &why);
	program_must(carry_source_preflight(s, &manifest, NULL, &why), &why);
	carry_source_close(s);
	char *there = memmem(manifest.data, manifest.size, name, sizeof(name));
	CHECK(there);
	strcpy(there, "notthere");
	CHECK(carry_destination_prepare(b.fds, manifest.data, manifest.size, &answer, &d, &why) == -ENODEV);
	CHECK(strstr(why.message, "127.0.0.1"));
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_getsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, kept, &size) == 0 && strcmp(kept, name) == 0);
	bytes_free(&manifest);
	bytes_free(&answer);
	end();
}

/* Source and destination on one host: sockets are handed over as they are, connections too. */
static void handed_over(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct carry_options options = {.tcp_established = true};
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 7}, out[4];
	socklen_t size = sizeof(address);
	char text[16];
	memcpy(&options.stream_local, &address, sizeof(address));
	begin();
	int listener = program_listen(&a, &address, size, 17);
	CHECK(CALL(&a, SYS_getsockname, listener, &address, &size) == 0);
	int client = socket(AF_INET, SOCK_STREAM, 0), waiting = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
	long connection = CALL(&a, SYS_accept, listener, 0, 0);
	CHECK(connect(waiting, (struct sockaddr *)&address, size) == 0);
	CHECK(write(client, "before", 6) == 6);
	int epoll = (int)CALL(&a, SYS_epoll_create1, 0);
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, connection, &e) == 0);
	program_move_here(&a, &b, &options);
	CHECK(CALL(&b, SYS_epoll_wait, epoll, out, 4, 0) == 1 && out[0].data.u32 == 7);
	CHECK(CALL(&b, SYS_read, connection, text, 16) == 6 && memcmp(text, "before", 6) == 0);
	CHECK(CALL(&b, SYS_accept, listener, 0, 0) > 0);
	CHECK(CALL(&b, SYS_write, connection, "after", 5) == 5 && read(client, text, 16) == 5);
	close(client);
	close(waiting);
	end();
}

/* A connection came between preparation and stop over an address that does not move: the move fails, and the
 * program is told of it as if nothing had been. */
static void undone_accepts(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct carry_options options = {.tcp_established = true};
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 7}, out[4];
	struct failure why;
	struct carry_source *s;
	struct bytes manifest = {0}, state = {0};
	socklen_t size = sizeof(address);
	begin();
	int listener = program_listen(&a, &address, size, 17);
	CHECK(CALL(&a, SYS_getsockname, listener, &address, &size) == 0);
	int epoll = (int)CALL(&a, SYS_epoll_create1, 0);
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, listener, &e) == 0);
	CHECK(carry_source_open(a.fds, &options, &s, &why) == 0);
	CHECK(carry_source_preflight(s, &manifest, NULL, &why) == 0);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
	CHECK(carry_source_freeze(s, &state, &why) == -EAGAIN);
	CHECK(carry_source_undo(s, &why) == 0);
	carry_source_close(s);
	CHECK(CALL(&a, SYS_epoll_wait, epoll, out, 4, 0) == 1 && out[0].data.u32 == 7);
	/* What it says of the socket, it says of that connection too. */
	e.data.u32 = 8;
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_MOD, listener, &e) == 0);
	CHECK(CALL(&a, SYS_epoll_wait, epoll, out, 4, 0) == 1 && out[0].data.u32 == 8);
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, listener, NULL) == 0);
	CHECK(CALL(&a, SYS_epoll_wait, epoll, out, 4, 0) == 0);
	CHECK(CALL(&a, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, listener, &e) == 0);
	CHECK(CALL(&a, SYS_accept, listener, 0, 0) > 0);
	CHECK(CALL(&a, SYS_epoll_wait, epoll, out, 4, 0) == 0);
	close(client);
	bytes_free(&manifest);
	bytes_free(&state);
	end();
}

/* This process may open nothing more: what waits to be accepted cannot come along, and is not cut off. */
static void undone_full(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct carry_options options = {.tcp_established = true};
	struct bytes manifest = {0}, state = {0};
	socklen_t size = sizeof(address);
	struct rlimit limit, none;
	struct failure why = {0};
	struct carry_source *s;
	char text[8];
	begin();
	int listener = program_listen(&a, &address, size, 17);
	CHECK(CALL(&a, SYS_getsockname, listener, &address, &size) == 0);
	CHECK(carry_source_open(a.fds, &options, &s, &why) == 0);
	CHECK(carry_source_preflight(s, &manifest, NULL, &why) == 0);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){0, limit.rlim_max};
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	int r = carry_source_freeze(s, &state, &why);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK(r == -EMFILE && strstr(why.message, "accept"));
	CHECK(carry_source_undo(s, &why) == 0);
	carry_source_close(s);
	int accepted = (int)CALL(&a, SYS_accept, listener, 0, 0);
	CHECK(accepted > 0 && CALL(&a, SYS_write, accepted, "still", 5) == 5 && read(client, text, 8) == 5);
	close(client);
	bytes_free(&manifest);
	bytes_free(&state);
	end();
}

/* The program's limit of the size of files: it arrives, or where files may not be so large the move is refused. */
static void size_of_files(void)
{
	struct rlimit limit, before;
	struct failure why = {0};
	struct carry_source *s;
	struct carry_destination *d;
	struct bytes manifest = {0}, answer = {0};
	begin();
	CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
	limit = (struct rlimit){100000, before.rlim_max};
	CHECK(CALL(&a, SYS_setrlimit, RLIMIT_FSIZE, &limit) == 0);
	CHECK(carry_source_open(a.fds, &nothing_special, &s, &why) == 0 &&
	      carry_source_preflight(s, &manifest, NULL, &why) == 0);
	carry_source_close(s);
	for (rlim_t most = 99999; most <= 100000; most++) {
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0) {
			struct rlimit less = {most, most};
			CHECK(setrlimit(RLIMIT_FSIZE, &less) == 0);
			int r = carry_destination_prepare(b.fds, manifest.data, manifest.size, &answer, &d, &why);
			CHECK(most < 100000 ? r == -EFBIG && strstr(why.message, "ulimit -f") : r == 0);
			_exit(0);
		}
		int status = 1;
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	int fd = (int)CALL(&a, SYS_memfd_create, "file", 0);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_getrlimit, RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur == 100000);
	CHECK(CALL(&b, SYS_pwrite64, fd, "ab", 2, 99999) == 1 && CALL(&b, SYS_pwrite64, fd, "a", 1, 100000) == -EFBIG);
	CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
	bytes_free(&manifest);
	bytes_free(&answer);
	end();
}

/* The destination believes nothing: damaged messages are refused and leave no descriptor behind. */
static void damage(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct carry_options options = {.tcp_established = true};
	struct failure why;
	struct carry_source *s;
	struct bytes manifest = {0}, state = {0}, answer = {0};
	int pipe[2], pair[2], on = 1;
	socklen_t size = sizeof(address);
	begin();
	CALL(&a, SYS_open, "/dev/null", O_RDWR);
	CHECK(CALL(&a, SYS_pipe2, pipe, 0) == 0 && CALL(&a, SYS_write, pipe[1], "abc", 3) == 3);
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CALL(&a, SYS_epoll_create1, 0);
	CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, 0);
	CALL(&a, SYS_socket, AF_UNIX, SOCK_DGRAM, 0);
	int datagrams = (int)CALL(&a, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	CHECK(CALL(&a, SYS_setsockopt, datagrams, SOL_SOCKET, SO_REUSEPORT, &on, 4) == 0);
	CHECK(CALL(&a, SYS_bind, datagrams, &address, size) == 0);
	CHECK(CALL(&a, SYS_getsockname, datagrams, &address, &size) == 0);
	CHECK(CALL(&a, SYS_sendto, datagrams, "abc", 3, 0, &address, size) == 3);
	/* Last: of connections there cannot be two here, so that nothing behind them is read. */
	if (tcp_repair_allowed() == 0) {
		address.sin_port = 0;
		int listener = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
		CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
		int one = (int)CALL(&a, SYS_socket, AF_INET, SOCK_STREAM, 0);
		CHECK(CALL(&a, SYS_connect, one, &address, size) == 0);
		CHECK(fdtable_add(a.fds, accept(listener, NULL, NULL), FILE_SOCKET, false) >= 0);
		CHECK(CALL(&a, SYS_write, one, "unread", 6) == 6);
		close(listener);
	}
	CHECK(carry_source_open(a.fds, &options, &s, &why) == 0);
	CHECK(carry_source_preflight(s, &manifest, NULL, &why) == 0 &&
	      carry_source_freeze(s, &state, &why) == 0);
	int before = dup(0);
	close(before);
	srand(1);
	for (unsigned i = 0; i < 3000; i++) {
		struct carry_destination *d;
		bytes_clear(&answer);
		CHECK(carry_destination_prepare(b.fds, manifest.data, manifest.size, &answer, &d, &why) == 0);
		struct bytes bad = {0};
		bytes_put(&bad, state.data, state.size);
		if (i < state.size)
			bad.size = i; /* truncated */
		else
			bad.data[(unsigned)rand() % bad.size] ^= (uint8_t)(1 + rand() % 255);
		int r = carry_destination_restore(d, &bad, &why);
		CHECK(i >= state.size || r < 0);
		carry_destination_discard(d);
		bytes_free(&bad);
	}
	for (unsigned i = 0; i < 2000; i++) {
		struct carry_destination *d;
		struct bytes bad = {0};
		bytes_clear(&answer);
		bytes_put(&bad, manifest.data, manifest.size);
		if (i < manifest.size)
			bad.size = i;
		else
			bad.data[(unsigned)rand() % bad.size] ^= (uint8_t)(1 + rand() % 255);
		int r = carry_destination_prepare(b.fds, bad.data, bad.size, &answer, &d, &why);
		CHECK(i >= manifest.size || r < 0);
		carry_destination_discard(d);
		bytes_free(&bad);
	}
	int after = dup(0);
	close(after);
	CHECK(after == before);
	carry_source_undo(s, NULL);
	carry_source_close(s);
	bytes_free(&manifest);
	bytes_free(&answer);
	bytes_free(&state);
	end();
}

int main(void)
{
	CHECK(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/file", directory);
	files();
	channels();
	full_streams();
	counters_and_timers();
	fast_timers();
	interests();
	interests_of_dups();
	sockets();
	fired();
	peeks();
	set_late();
	of_an_interface();
	handed_over();
	undone_accepts();
	undone_full();
	size_of_files();
	damage();
	unlink(path);
	rmdir(directory);
	return 0;
}
