/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptors that a program sends itself in messages (SCM_RIGHTS): what arrives
 * is what was sent, whether or not its sender has closed it since, and goes along
 * as anything the program has opened. One that is under way when the program
 * stops undoes the move, and arrives after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

#define DESCRIPTORS_MAX 8

static struct program a, b;
static const struct carry_options nothing_special;

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

static long send_to(struct program *p, int to, const int *fd, unsigned count)
{
	union control control = {.header = {CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char text[4] = "abcd";
	struct iovec part = {text, sizeof(text)};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	memcpy(CMSG_DATA(&control.header), fd, count * sizeof(int));
	return CALL(p, SYS_sendmsg, to, &m, 0);
}

static unsigned receive(struct program *p, int from, int *fd, int flags, int *message_flags)
{
	union control control = {0};
	char text[16];
	struct iovec part = {text, sizeof(text)};
	struct msghdr m = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	CHECK(CALL(p, SYS_recvmsg, from, &m, flags) == 4 && !memcmp(text, "abcd", 4));
	if (message_flags)
		*message_flags = m.msg_flags;
	if (m.msg_controllen < sizeof(control.header))
		return 0;
	CHECK(control.header.cmsg_level == SOL_SOCKET && control.header.cmsg_type == SCM_RIGHTS);
	unsigned count = (unsigned)((control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int));
	memcpy(fd, CMSG_DATA(&control.header), count * sizeof(int));
	return count;
}

static void begin(void)
{
	program_open(&a);
	program_open(&b);
}

static void move(void)
{
	program_move_here(&a, &b, &nothing_special);
	program_close(&a);
	a = b;
	program_open(&b);
}

static void end(void)
{
	program_close(&a);
	program_close(&b);
}

static bool carries(int from, int to)
{
	char c = 0;
	return CALL(&a, SYS_write, from, "x", 1) == 1 && CALL(&a, SYS_read, to, &c, 1) == 1 && c == 'x';
}

static void arrives_and_moves(int type, bool closed)
{
	int by[2], pipe[2], pair[2], fd[5], got[8], flags;
	uint64_t number = 5;
	begin();
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, type, 0, by) == 0 && CALL(&a, SYS_pipe2, pipe, 0) == 0 &&
	      CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	int file = (int)CALL(&a, SYS_memfd_create, "file", 0), event = (int)CALL(&a, SYS_eventfd2, 3, EFD_NONBLOCK);
	int timer = (int)CALL(&a, SYS_timerfd_create, CLOCK_MONOTONIC, 0);
	CHECK(CALL(&a, SYS_write, file, "0123456789", 10) == 10);
	int sent[5] = {pipe[1], pair[1], file, event, timer};
	CHECK(send_to(&a, by[0], sent, 5) == 4);
	for (unsigned i = 0; closed && i < 5; i++)
		CHECK(CALL(&a, SYS_close, sent[i]) == 0);
	CHECK(receive(&a, by[1], fd, MSG_CMSG_CLOEXEC, &flags) == 5 && !(flags & MSG_CTRUNC));
	CHECK(fd[0] == (closed ? sent[0] : timer + 1) && CALL(&a, SYS_fcntl, fd[0], F_GETFD) == FD_CLOEXEC);
	for (int moves = 0; moves < 3; moves++) {
		CHECK(carries(fd[0], pipe[0]) && carries(pair[0], fd[1]) && carries(fd[1], pair[0]));
		CHECK(CALL(&a, SYS_lseek, fd[2], 0, SEEK_CUR) == 10);
		CHECK(CALL(&a, SYS_read, fd[3], &number, 8) == (moves ? -EAGAIN : 8) &&
		      (moves || number == 3));
		CHECK(CALL(&a, SYS_timerfd_gettime, fd[4], (char[32]){0}) == 0);
		/* one offset, one end of file */
		if (!closed)
			CHECK(CALL(&a, SYS_lseek, file, 0, SEEK_SET) == 0 && CALL(&a, SYS_lseek, fd[2], 0, SEEK_CUR) == 0 &&
			      CALL(&a, SYS_lseek, fd[2], 10, SEEK_SET) == 10 && carries(pipe[1], pipe[0]));
		move();
	}
	/* again, there */
	CHECK(send_to(&a, by[1], fd, 5) == 4 && receive(&a, by[0], got, 0, NULL) == 5);
	CHECK(carries(got[0], pipe[0]) && CALL(&a, SYS_fcntl, got[0], F_GETFD) == 0);
	for (unsigned i = 0; i < 5; i++)
		CHECK(CALL(&a, SYS_close, fd[i]) == 0 && (closed || CALL(&a, SYS_close, sent[i]) == 0));
	move();
	CHECK(carries(got[0], pipe[0]) && CALL(&a, SYS_close, got[0]) == 0);
	char c;
	CHECK(CALL(&a, SYS_read, pipe[0], &c, 1) == 0); /* nobody holds it in secret */
	end();
}

static void under_way(int type, bool local)
{
	struct failure why = {0};
	struct bytes manifest = {0}, answer = {0}, state = {0};
	struct carry_source *s;
	struct carry_destination *d;
	int by[2], pipe[2], got[8];
	begin();
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, type, 0, by) == 0 && CALL(&a, SYS_pipe2, pipe, 0) == 0);
	CHECK(CALL(&a, SYS_write, by[0], "abcd", 4) == 4 && send_to(&a, by[0], &pipe[1], 1) == 4);
	CHECK(CALL(&a, SYS_close, pipe[1]) == 0);
	struct carry_options options = {0};
	if (local)
		options.stream_local.ss_family = AF_UNIX;
	CHECK(carry_source_open(a.fds, &options, &s, &why) == 0 && carry_source_preflight(s, &manifest, NULL, &why) == 0 &&
	      carry_destination_prepare(b.fds, manifest.data, manifest.size, &answer, &d, &why) == 0 &&
	      carry_source_prepare(s, answer.data, answer.size, &why) == 0);
	CHECK(carry_source_freeze(s, &state, &why) == -EAGAIN && strstr(why.message, "SCM_RIGHTS"));
	carry_destination_discard(d);
	CHECK(carry_source_undo(s, &why) == 0);
	carry_source_close(s);
	char text[4];
	CHECK(CALL(&a, SYS_read, by[1], text, 4) == 4);
	CHECK(receive(&a, by[1], got, 0, NULL) == 1 && carries(got[0], pipe[0]));
	move();
	CHECK(carries(got[0], pipe[0]));
	CHECK(CALL(&a, SYS_close, got[0]) == 0 && CALL(&a, SYS_read, pipe[0], text, 1) == 0);
	bytes_free(&manifest);
	bytes_free(&answer);
	bytes_free(&state);
	end();
}

/* The same, in a datagram that has nothing else. */
static void under_way_alone(void)
{
	union control control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	struct msghdr m = {.msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int))};
	struct failure why = {0};
	struct bytes manifest = {0}, state = {0};
	struct carry_source *s;
	int by[2], pipe[2];
	begin();
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, by) == 0 && CALL(&a, SYS_pipe2, pipe, 0) == 0);
	memcpy(CMSG_DATA(&control.header), &pipe[1], sizeof(int));
	CHECK(CALL(&a, SYS_sendmsg, by[0], &m, 0) == 0);
	CHECK(carry_source_open(a.fds, &nothing_special, &s, &why) == 0 && carry_source_preflight(s, &manifest, NULL, &why) == 0);
	CHECK(carry_source_freeze(s, &state, &why) == -EAGAIN && strstr(why.message, "SCM_RIGHTS"));
	CHECK(carry_source_undo(s, &why) == 0);
	carry_source_close(s);
	bytes_free(&manifest);
	bytes_free(&state);
	end();
}

/* The same, in what is left of a connection whose other end is closed. */
static void under_way_at_the_end(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0optmig-test-rights"};
	struct failure why = {0};
	struct bytes manifest = {0}, state = {0};
	struct carry_options options = {0};
	struct carry_source *s;
	int pipe[2], got[8];
	begin();
	int listener = (int)CALL(&a, SYS_socket, AF_UNIX, SOCK_STREAM, 0), by = (int)CALL(&a, SYS_socket, AF_UNIX, SOCK_STREAM, 0);
	CHECK(CALL(&a, SYS_bind, listener, &name, sizeof(name)) == 0 && CALL(&a, SYS_listen, listener, 1) == 0);
	CHECK(CALL(&a, SYS_connect, by, &name, sizeof(name)) == 0 && CALL(&a, SYS_pipe2, pipe, 0) == 0);
	int other = (int)CALL(&a, SYS_accept, listener, 0, 0);
	CHECK(send_to(&a, other, &pipe[1], 1) == 4 && CALL(&a, SYS_close, other) == 0);
	CHECK(CALL(&a, SYS_close, listener) == 0);
	CHECK(carry_source_open(a.fds, &options, &s, &why) == 0 && carry_source_preflight(s, &manifest, NULL, &why) == 0);
	CHECK(carry_source_freeze(s, &state, &why) == -EAGAIN && strstr(why.message, "SCM_RIGHTS"));
	CHECK(carry_source_undo(s, &why) == 0);
	carry_source_close(s);
	CHECK(receive(&a, by, got, 0, NULL) == 1 && carries(got[0], pipe[0]));
	bytes_free(&manifest);
	bytes_free(&state);
	end();
}

/* A call that is cut short is made again, as it was laid out. */
static void made_again(void)
{
	union control control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char text[4] = "abcd";
	struct iovec part = {text, sizeof(text)};
	struct msghdr m = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int))};
	int by[2], pipe[2], got[8], host = dup(0); /* so that the host's numbers are others */
	begin();
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, by) == 0 && CALL(&a, SYS_pipe2, pipe, 0) == 0);
	memcpy(CMSG_DATA(&control.header), &pipe[1], sizeof(int));
	a.thread.kicked = 1;
	CHECK(CALL(&a, SYS_sendmsg, by[0], &m, 0) == -EINTR && a.thread.area->interrupted);
	CHECK(CALL(&a, SYS_sendmsg, by[0], &m, 0) == 4);
	CHECK(receive(&a, by[1], got, 0, NULL) == 1 && carries(got[0], pipe[0]));
	close(host);
	end();
}

/* As a kernel does it: none behind the first that has no number, and a word of it. */
static void no_numbers_left(void)
{
	int by[2], pipe[2], got[8], flags;
	struct {
		uint64_t soft, hard;
	} limit;
	begin();
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, by) == 0 && CALL(&a, SYS_pipe2, pipe, 0) == 0);
	CHECK(CALL(&a, SYS_getrlimit, 7 /* RLIMIT_NOFILE */, &limit) == 0);
	limit.soft = (uint64_t)pipe[1] + 2;
	CHECK(CALL(&a, SYS_setrlimit, 7, &limit) == 0 && send_to(&a, by[0], pipe, 2) == 4);
	CHECK(receive(&a, by[1], got, 0, &flags) == 1 && got[0] == pipe[1] + 1 && flags & MSG_CTRUNC);
	CHECK(CALL(&a, SYS_close, got[0]) == 0 && send_to(&a, by[0], (int[]){99}, 1) == -EBADF);
	end();
}

static void what_cannot_be_sent(void)
{
	int by[2], on = 1, got[8];
	begin();
	CHECK(CALL(&a, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, by) == 0);
	int counter = (int)CALL(&a, SYS_eventfd2, 3, EFD_SEMAPHORE);
	CHECK(send_to(&a, by[0], &counter, 1) == -EOPNOTSUPP);
	CHECK(CALL(&a, SYS_setsockopt, by[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == -ENOPROTOOPT);
	CHECK(CALL(&a, SYS_setsockopt, by[0], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)) == 0);
	CHECK(CALL(&a, SYS_write, by[0], "abcd", 4) == 4 && receive(&a, by[1], got, 0, NULL) == 0);
	end();
}

int main(void)
{
	for (int closed = 0; closed < 2; closed++) {
		arrives_and_moves(SOCK_STREAM, closed);
		arrives_and_moves(SOCK_SEQPACKET, closed);
		arrives_and_moves(SOCK_DGRAM, closed);
	}
	for (int local = 0; local < 2; local++) {
		under_way(SOCK_STREAM, local);
		under_way(SOCK_SEQPACKET, local);
		under_way(SOCK_DGRAM, local);
	}
	under_way_alone();
	under_way_at_the_end();
	made_again();
	no_numbers_left();
	what_cannot_be_sent();
	return 0;
}
