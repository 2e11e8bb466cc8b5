/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors that tell of events, and the calls that wait for several at once.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static void check_signalfd(void)
{
	struct signalfd_siginfo info[3];
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 12};
	struct itimerspec soon = {{0, 0}, {0, 2000000}};
	struct timespec none = {0, 0};
	sigset_t set, old, other;
	timer_t timer;
	char little[8];

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGWINCH); /* ignored, unless it is blocked */
	sigaddset(&set, SIGRTMIN);
	CHECK(!sigprocmask(SIG_BLOCK, &set, &old));
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(read(fd, info, sizeof(info)) == -1 && errno == EAGAIN && poll(&p, 1, 0) == 0);
	CHECK(!kill(getpid(), SIGUSR1) && !raise(SIGWINCH) && poll(&p, 1, 0) == 1);
	CHECK(read(fd, little, sizeof(little)) == -1 && errno == EINVAL && write(fd, info, sizeof(info)) == -1 && errno == EINVAL);
	CHECK(read(fd, info, sizeof(info)) == 2 * sizeof(info[0]) && info[0].ssi_signo + info[1].ssi_signo == SIGUSR1 + SIGWINCH &&
	      info[0].ssi_pid == (uint32_t)getpid());
	CHECK(poll(&p, 1, 0) == 0 && read(fd, info, sizeof(info)) == -1 && errno == EAGAIN);

	int copy = dup(fd), epoll = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = 99};
	CHECK(copy >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &e) && epoll_wait(epoll, &e, 1, 0) == 0);
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &soon, NULL));
	CHECK(epoll_wait(epoll, &e, 1, 5000) == 1 && e.data.fd == 99 && !close(fd));
	CHECK(read(copy, info, sizeof(info)) == sizeof(info[0]) && info[0].ssi_signo == (uint32_t)SIGRTMIN &&
	      info[0].ssi_code == SI_TIMER && info[0].ssi_int == 12 && !timer_delete(timer));

	/* another mask; what was blocked by it stays pending */
	sigemptyset(&other);
	sigaddset(&other, SIGWINCH);
	CHECK(signalfd(copy, &other, 0) == copy && !kill(getpid(), SIGUSR1));
	p.fd = copy;
	CHECK(poll(&p, 1, 0) == 0 && signalfd(copy, &set, 0) == copy && poll(&p, 1, 0) == 1);
	CHECK(sigtimedwait(&set, NULL, &none) == SIGUSR1 && read(copy, info, sizeof(info)) == -1 && errno == EAGAIN);
	CHECK(signalfd(epoll, &set, 0) == -1 && errno == EINVAL && signalfd(-1, &set, 1) == -1 && errno == EINVAL);
	CHECK(signalfd(1000, &set, 0) == -1 && errno == EBADF);
	CHECK(!close(copy) && !close(epoll) && !sigprocmask(SIG_SETMASK, &old, NULL));
}

static void check_eventfd(void)
{
	int fd = eventfd(3, EFD_NONBLOCK);
	uint64_t n = 4;

	CHECK(fd >= 0 && write(fd, &n, 8) == 8 && read(fd, &n, 8) == 8 && n == 7);
	CHECK(read(fd, &n, 8) == -1 && errno == EAGAIN && !close(fd));
}

static void check_timerfd(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec in_20_ms = {.it_value = {0, 20000000}};
	uint64_t n = 0, start = now_ns(CLOCK_MONOTONIC);

	CHECK(fd >= 0 && !timerfd_settime(fd, 0, &in_20_ms, NULL) && read(fd, &n, 8) == 8 && n == 1);
	CHECK(now_ns(CLOCK_MONOTONIC) - start >= 19000000 && !close(fd));
}

static void check_epoll(void)
{
	int set = epoll_create1(EPOLL_CLOEXEC), ends[2];
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xfeedfacecafebeefu}, got[4];
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	CHECK(set >= 0 && !pipe(ends) && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
	CHECK(epoll_wait(set, got, 4, 20) == 0 && now_ns(CLOCK_MONOTONIC) - start >= 19000000);
	CHECK(write(ends[1], "x", 1) == 1 && epoll_wait(set, got, 4, -1) == 1);
	CHECK(got[0].events == EPOLLIN && got[0].data.u64 == 0xfeedfacecafebeefu);
	CHECK(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event) == -1 && errno == EEXIST);
	CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL) && epoll_wait(set, got, 4, 0) == 0);
	CHECK(!close(set) && !close(ends[0]) && !close(ends[1]));
}

static void check_poll_select(void)
{
	int ends[2];
	fd_set set;
	struct timeval soon = {0, 10000};

	CHECK(!pipe(ends));
	struct pollfd p[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}};
	CHECK(poll(p, 2, 0) == 1 && p[0].revents == 0 && p[1].revents == POLLOUT);
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	CHECK(select(ends[0] + 1, &set, NULL, NULL, &soon) == 0);
	CHECK(write(ends[1], "x", 1) == 1);
	FD_SET(ends[0], &set);
	CHECK(select(ends[0] + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(ends[0], &set));
	CHECK(poll(p, 1, -1) == 1 && p[0].revents == POLLIN && !close(ends[0]) && !close(ends[1]));
}

static void check_interests(void)
{
	int set = epoll_create1(0), ends[2], other[2];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &set}, got[4];

	CHECK(set >= 0 && !pipe(ends) && !pipe(other) && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
	event.data.ptr = &ends;
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, other[0], &event) && write(ends[1], "x", 1) == 1);
	CHECK(epoll_wait(set, got, 4, -1) == 1 && got[0].data.ptr == &set && got[0].events == EPOLLIN);
	CHECK(write(other[1], "x", 1) == 1 && epoll_wait(set, got, 4, -1) == 2);
	event.data.ptr = &other;
	CHECK(!epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &event) && !close(other[0]));
	CHECK(epoll_wait(set, got, 4, -1) == 1 && got[0].data.ptr == &other);
	/* The number comes again, its interest does not. */
	int again = dup(ends[0]);
	CHECK(again == other[0] && epoll_ctl(set, EPOLL_CTL_MOD, again, &event) == -1 && errno == ENOENT);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, again, &event) && epoll_wait(set, got, 4, -1) == 2);
	CHECK(!close(again) && !close(ends[0]) && !close(ends[1]) && !close(other[1]) && !close(set));
}

/* A set is one set by all its numbers; what is registered by a number stays while a dup of it is open. */
static void check_interests_of_dups(void)
{
	int set = epoll_create1(0), same = dup(set), ends[2], other[2];
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1}, got[4];

	CHECK(set >= 0 && same >= 0 && !pipe(ends) && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
	CHECK(epoll_ctl(same, EPOLL_CTL_ADD, ends[0], &event) == -1 && errno == EEXIST);
	event.data.u64 = 2;
	CHECK(!epoll_ctl(same, EPOLL_CTL_MOD, ends[0], &event) && write(ends[1], "x", 1) == 1);
	CHECK(epoll_wait(set, got, 4, -1) == 1 && got[0].data.u64 == 2);
	CHECK(epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);
	CHECK(!close(set) && epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);

	int copy = fcntl(ends[0], F_DUPFD, 50);
	CHECK(copy >= 50 && !close(ends[0]) && epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);
	/* the same numbers, other files */
	CHECK(!pipe(other) && epoll_wait(same, got, 4, 0) == 1 && got[0].data.u64 == 2);
	int reader = dup2(other[0], 60);
	event.data.u64 = 3;
	CHECK(reader == 60 && !epoll_ctl(same, EPOLL_CTL_ADD, reader, &event));
	CHECK(write(other[1], "x", 1) == 1 && epoll_wait(same, got, 4, -1) == 2);
	CHECK(dup2(copy, 60) == 60 && epoll_wait(same, got, 4, -1) == 2);
	CHECK(!close(other[0]) && epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);
	CHECK(!close(60) && epoll_wait(same, got, 4, -1) == 1);
	CHECK(!close(copy) && epoll_wait(same, got, 4, 0) == 0);
	close(ends[1]), close(other[1]), close(same);
}

/* Told at once, as by a kernel without it: programs look themselves then. */
static void check_inotify_or_enosys(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), error = errno;
	int old = inotify_init(), old_error = errno;

	CHECK(fd >= 0 ? old >= 0 && !close(fd) && !close(old) : error == ENOSYS && old == -1 && old_error == ENOSYS);
}

const struct check checks_of_events[] = {
	{"eventfd", check_eventfd},
	{"signalfd", check_signalfd},
	{"timerfd", check_timerfd},
	{"interests of dups", check_interests_of_dups},
	{"epoll", check_epoll},
	{"poll_select", check_poll_select},
	{"interests", check_interests},
	{"inotify_or_enosys", check_inotify_or_enosys},
	{0},
};
