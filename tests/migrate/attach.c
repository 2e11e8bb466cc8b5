/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections reach the process of their session, from this user's services
 * alone; other users, who see the socket's name, are in nobody's way.
 */
#include "migrate/attach.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/check.h"

#define NOBODY 65534

static struct frame_attach attach = {{'s', 'e', 's', 's'}, 3, 7};

/* The giver, on a busy machine: put aside between connecting and the message. */
static useconds_t put_aside_us;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	usleep(put_aside_us);
	return syscall(SYS_sendmsg, fd, message, flags);
}

static void a_slow_giver_is_waited_for(void)
{
	struct frame_attach got;
	int fd, status, listener = attach_listen(attach.session);
	pid_t pid = fork();
	if (pid == 0) {
		put_aside_us = 500 * 1000;
		_exit(attach_give(&attach, STDERR_FILENO) != 0);
	}
	CHECK(poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 5000) == 1);
	CHECK(attach_take(listener, &got, &fd) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(fd);
	close(listener);
}

static void as_nobody(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(2);
		_exit(attach_give(&attach, STDERR_FILENO) != 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void the_process_gets_what_was_given(void)
{
	struct frame_attach got;
	int pipe_fd[2], fd, listener = attach_listen(attach.session);
	char byte = 0;
	CHECK(listener >= 0 && pipe(pipe_fd) == 0);
	CHECK(attach_listen(attach.session) == -EADDRINUSE);
	CHECK(attach_take(listener, &got, &fd) == -EAGAIN);
	CHECK(attach_give(&attach, pipe_fd[1]) == 0);
	CHECK(attach_take(listener, &got, &fd) == 0);
	CHECK(got.stream == 3 && got.epoch == 7);
	CHECK(write(fd, "x", 1) == 1 && read(pipe_fd[0], &byte, 1) == 1 && byte == 'x');
	close(fd);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	close(listener);
	CHECK(attach_give(&attach, STDERR_FILENO) == -ENOENT);
}

static void others_are_passed_over(void)
{
	struct frame_attach got;
	int fd, listener = attach_listen(attach.session);
	CHECK(listener >= 0);
	as_nobody();
	CHECK(attach_take(listener, &got, &fd) == -EAGAIN);
	as_nobody();
	attach.stream = 4;
	CHECK(attach_give(&attach, STDERR_FILENO) == 0);
	CHECK(attach_take(listener, &got, &fd) == -EAGAIN);
	CHECK(attach_take(listener, &got, &fd) == 0 && got.stream == 4);
	close(fd);
	close(listener);
}

int main(void)
{
	the_process_gets_what_was_given();
	a_slow_giver_is_waited_for();
	if (geteuid() != 0) {
		puts("needs root, to be somebody else");
		return 77;
	}
	others_are_passed_over();
	return 0;
}
