/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptor numbers and the calls that make, copy and close them behave as
 * Linux's do: every case is tried on the kernel and through the table, and the
 * results compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

static struct program program;

static void lowest_number_is_given(void)
{
	int pipe[2], pair[2];
	CHECK(CALL(&program, SYS_open, "/dev/null", O_RDONLY) == 3);
	CHECK(CALL(&program, SYS_pipe2, pipe, 0) == 0 && pipe[0] == 4 && pipe[1] == 5);
	CHECK(CALL(&program, SYS_close, 3) == 0);
	CHECK(CALL(&program, SYS_close, 3) == -EBADF);
	CHECK(CALL(&program, SYS_dup, 5) == 3);
	CHECK(CALL(&program, SYS_fcntl, 3, F_DUPFD, 10) == 10);
	CHECK(CALL(&program, SYS_fcntl, 3, F_DUPFD_CLOEXEC, 10) == 11);
	CHECK(CALL(&program, SYS_fcntl, 11, F_GETFD) == FD_CLOEXEC);
	CHECK(CALL(&program, SYS_fcntl, 10, F_GETFD) == 0);
	CHECK(CALL(&program, SYS_fcntl, 10, F_SETFD, FD_CLOEXEC) == 0);
	CHECK(CALL(&program, SYS_fcntl, 10, F_GETFD) == FD_CLOEXEC);
	CHECK(CALL(&program, SYS_dup2, 4, 20) == 20);
	CHECK(CALL(&program, SYS_dup2, 4, 4) == 4);
	CHECK(CALL(&program, SYS_dup2, 99, 4) == -EBADF);
	CHECK(CALL(&program, SYS_dup3, 4, 4, 0) == -EINVAL);
	CHECK(CALL(&program, SYS_dup3, 4, 21, O_CLOEXEC) == 21);
	CHECK(CALL(&program, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pair[0] == 6 &&
	      pair[1] == 7);
	CHECK(CALL(&program, SYS_write, 10, "x", 1) == 1);
	char c;
	CHECK(CALL(&program, SYS_read, 20, &c, 1) == 1 && c == 'x');
	CHECK(CALL(&program, SYS_close_range, 3, ~0u, 0) == 0);
	CHECK(CALL(&program, SYS_read, 4, &c, 1) == -EBADF);
	CHECK(CALL(&program, SYS_write, 1, "", 0) == 0);
}

static void limits_hold(void)
{
	struct rlimit before, limit = {5, 1000};
	CHECK(CALL(&program, SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &before) == 0);
	limit.rlim_max = before.rlim_max;
	CHECK(CALL(&program, SYS_setrlimit, RLIMIT_NOFILE, &limit) == 0);
	CHECK(CALL(&program, SYS_eventfd2, 0, 0) == 3);
	CHECK(CALL(&program, SYS_eventfd2, 0, 0) == 4);
	CHECK(CALL(&program, SYS_eventfd2, 0, 0) == -EMFILE);
	unlink("/tmp/optmig-test-full");
	CHECK(CALL(&program, SYS_open, "/tmp/optmig-test-full", O_CREAT | O_RDWR, 0600) == -EMFILE);
	CHECK(access("/tmp/optmig-test-full", F_OK) < 0); /* failed before it did anything */
	CHECK(CALL(&program, SYS_dup, 3) == -EMFILE);
	CHECK(CALL(&program, SYS_dup2, 3, 5) == -EBADF);
	CHECK(CALL(&program, SYS_fcntl, 3, F_DUPFD, 5) == -EINVAL);
	CHECK(CALL(&program, SYS_close_range, 3, 100, 0) == 0);
	CHECK(CALL(&program, SYS_setrlimit, RLIMIT_NOFILE, &before) == 0);
}

static void refusals(void)
{
	struct iovec iov = {"x", 1};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr message = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int pair[2];
	CHECK(CALL(&program, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	memcpy(CMSG_DATA(&control.header), &(int){77}, sizeof(int));
	CHECK(CALL(&program, SYS_sendmsg, pair[0], &message, 0) == -EBADF);
	message.msg_controllen = 0;
	CHECK(CALL(&program, SYS_sendmsg, pair[0], &message, 0) == 1);
	CHECK(CALL(&program, SYS_fork) == -ENOSYS);
	CHECK(CALL(&program, 100000) == -ENOSYS);
	CHECK(CALL(&program, -1) == -ENOSYS);
	CHECK(CALL(&program, SYS_ioctl, pair[0], 0x12345678, 0) == -ENOTTY);
	CHECK(CALL(&program, SYS_close_range, 3, 100, 0) == 0);
}

static void polling(void)
{
	int pipe[2];
	CHECK(CALL(&program, SYS_pipe2, pipe, 0) == 0);
	struct pollfd p[3] = {{pipe[0], POLLIN, 0}, {77, POLLIN, 0}, {-1, POLLIN, 9}};
	CHECK(CALL(&program, SYS_poll, p, 3, 1000) == 1 && p[0].revents == 0 && p[1].revents == POLLNVAL &&
	      p[2].revents == 0);
	CHECK(p[0].fd == pipe[0]);
	CHECK(CALL(&program, SYS_poll, p, 1, 1) == 0);
	CHECK(CALL(&program, SYS_write, pipe[1], "x", 1) == 1);
	CHECK(CALL(&program, SYS_poll, p, 1, -1) == 1 && p[0].revents == POLLIN);
	/* One number of two is closed: the file is still there, and so is its entry in the set. */
	int epoll = (int)CALL(&program, SYS_epoll_create1, 0);
	long copy = CALL(&program, SYS_dup, pipe[0]);
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = 1}, out[4];
	CHECK(CALL(&program, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, pipe[0], &event) == 0);
	CHECK(CALL(&program, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, pipe[0], &event) == -EEXIST);
	CHECK(CALL(&program, SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, copy, &event) == 0);
	CHECK(CALL(&program, SYS_epoll_wait, epoll, out, 4, 0) == 2);
	CHECK(CALL(&program, SYS_close_range, 3, 100, 0) == 0);
}

/* A number that is closed while a call is under way on it must not lead that call to another file. */
static void *reader(void *fd)
{
	static struct program same;
	char c = 0;
	same = program;
	same.thread.area = aligned_alloc(4096, sizeof(struct call_area));
	CHECK(CALL(&same, SYS_read, (long)fd, &c, 1) == 1);
	free(same.thread.area);
	return (void *)(long)c;
}

static void closed_while_reading(void)
{
	int pipe[2];
	pthread_t thread;
	void *got;
	CHECK(CALL(&program, SYS_pipe2, pipe, 0) == 0);
	CHECK(pthread_create(&thread, NULL, reader, (void *)(long)pipe[0]) == 0);
	sleep_us(20000);
	CHECK(CALL(&program, SYS_close, pipe[0]) == 0);
	CHECK(CALL(&program, SYS_open, "/dev/zero", O_RDONLY) == pipe[0]);
	CHECK(CALL(&program, SYS_write, pipe[1], "y", 1) == 1);
	pthread_join(thread, &got);
	CHECK((long)got == 'y');
	CHECK(CALL(&program, SYS_close_range, 3, 100, 0) == 0);
}

int main(void)
{
	/* Whatever the caller left open beyond the standard streams is the host's. */
	program_open(&program);
	lowest_number_is_given();
	limits_hold();
	refusals();
	polling();
	closed_while_reading();
	program_close(&program);
	return 0;
}
