/* SPDX-License-Identifier: Apache-2.0
 *
 * A host that answers every system call with whatever could hurt: results beyond
 * what was asked for, error numbers that do not exist, garbage in every byte it
 * may write. The program's memory around its buffers stays as it was, and the
 * program is told nothing it could trip over.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "enclave/calls.h"
#include "enclave/files.h"
#include "enclave/interest.h"
#include "enclave/wire.h"
#include "tests/enclave/support.h"

static int64_t answer;
static uint64_t seed = 7;
static bool honest_epoll;
static uint64_t control_at, control_size; /* recvmsg: control data from this seed on, 0 none; how much it says there is */
static uint8_t control[64]; /* recvmsg: or else this, of that size */
static struct epoll_event offered;
static int offered_times = 1; /* in one answer */
static unsigned strange;      /* so many answers before have a token that is none */
static struct pollfd polled[2]; /* poll: answered with these, after an empty answer */
static unsigned polls;
static uint8_t shown[256]; /* what a call's buffer held when the host got it */
static int shown_argument = -1; /* which argument that is; -1: none is looked at */

void host_answer(struct thread *t, struct call_area *area)
{
	(void)t;
	area->result = answer;
	area->interrupted = 0;
	if (shown_argument >= 0) {
		const uint64_t *p = (const uint64_t *)area->arg[shown_argument];
		memcpy(shown, area->nr == SYS_sendmsg ? (const void *)p[4] : p, sizeof(shown)); /* its control data */
	}
	if (honest_epoll && area->nr == SYS_epoll_ctl) {
		memcpy(&offered, (void *)area->arg[3], sizeof(offered));
		area->result = 0;
	} else if (honest_epoll && area->nr == SYS_epoll_wait) {
		struct epoll_event e = offered;
		e.data.u64 = strange ? ~0ull : e.data.u64;
		strange -= strange != 0;
		for (int i = 0; i < offered_times; i++)
			memcpy((void *)(area->arg[1] + i * sizeof(e)), &e, sizeof(e));
		area->result = offered_times;
	} else if (polls && area->nr == SYS_poll) {
		for (int i = 0; i < 2; i++)
			((struct pollfd *)area->arg[0])[i].revents = polls == 1 ? polled[i].revents : 0;
		polls -= polls > 1;
	} else if (!control_at && control_size && area->nr == SYS_recvmsg) {
		uint64_t *message = (uint64_t *)area->arg[1];
		memcpy((void *)message[4], control, control_size);
		message[5] = control_size;
		((uint32_t *)message)[12] = 0;
	} else if (control_at && area->nr == SYS_recvmsg) {
		uint64_t *message = (uint64_t *)area->arg[1];
		uint8_t *data = (uint8_t *)message[4];
		static const uint32_t levels[] = {SOL_SOCKET, 0, 41, 7}, types[] = {SCM_RIGHTS, 29, 8, 50, 3};
		for (unsigned i = 0; i + 24 <= 256; i += 24) {
			uint64_t size = random_below(&control_at, 8) ? 16 + random_below(&control_at, 24) : ~0ull - 7;
			uint32_t rest[4] = {levels[random_below(&control_at, 4)], types[random_below(&control_at, 5)],
					    (uint32_t)random_below(&control_at, 20) - 1, 9};
			memcpy(data + i, &size, sizeof(size));
			memcpy(data + i + 8, rest, sizeof(rest));
		}
		message[5] = control_size;
	} else {
		memset(area->data, (int)random_below(&seed, 3) - 1, 0x8000);
	}
}

#define BUFFER 64u
/* Six buffers, each in the middle of a page of its own. */
static uint8_t *buffer(int i)
{
	return (uint8_t *)HEAP_BASE + (4u << 20) + i * 2 * PAGE_SIZE + PAGE_SIZE / 2;
}

static void lay_canaries(void)
{
	for (int i = 0; i < 6; i++) {
		memset(buffer(i) - PAGE_SIZE / 2, 0xc5, 2 * PAGE_SIZE);
		memset(buffer(i), 0, BUFFER);
	}
}

static bool canaries_live(uint64_t room)
{
	for (int i = 0; i < 6; i++)
		for (uint8_t *p = buffer(i) - PAGE_SIZE / 2; p < buffer(i) + PAGE_SIZE; p++)
			if ((p < buffer(i) || p >= buffer(i) + room) && *p != 0xc5)
				return false;
	return true;
}

static const int64_t answers[] = {
    0,	       1,	  2,  63,     64,      65,     4096,  1 << 20, INT_MAX, 1ll + INT_MAX, 1ll << 40,
    INT64_MAX, INT64_MIN, -1, -EINTR, -EFAULT, -EPIPE, -4095, -4096,   -4097,	-(1ll << 40)};

/* Any call: an argument is a descriptor, a length of BUFFER or a buffer. */
static void every_call(struct thread *t)
{
	for (unsigned nr = 0; nr < 450; nr++) {
		for (unsigned mix = 0; mix < 729; mix++) {
			unsigned m = mix;
			uint64_t a[6];
			answer = answers[random_below(&seed, sizeof(answers) / sizeof(*answers))];
			lay_canaries();
			memset(t->ctx.call, 0, sizeof(t->ctx.call));
			for (int i = 0; i < 6; i++, m /= 3) {
				uint32_t n = BUFFER;
				a[i] = m % 3 == 0 ? 3 : m % 3 == 1 ? BUFFER : (uint64_t)buffer(i);
				memcpy(buffer(i), &n, 4);
			}
			/* these lay their own structures out at the buffer */
			if (nr == SYS_readv || nr == SYS_writev || nr == SYS_preadv || nr == SYS_pwritev ||
			    nr == SYS_sendmsg || nr == SYS_recvmsg)
				break;
			memcpy(t->ctx.call + 1, a, sizeof(a));
			t->ctx.call[0] = nr;
			t->ctx.result = 0;
			t->ctx.deadline_ns = 1;
			int64_t rc = files_call(t, nr, t->ctx.call + 1);
			/* structures of a fixed size may be larger than the buffer; nothing is larger than
			 * these */
			bool sized = nr == SYS_read || nr == SYS_pread64 || nr == SYS_readlink ||
				     nr == SYS_getdents64 || nr == SYS_recvfrom || nr == SYS_getsockname ||
				     nr == SYS_getsockopt || nr == SYS_getcwd;
			if (!canaries_live(sized ? BUFFER : 768) || rc < -4096) {
				printf("call %u, mix %u, answer %lld: %lld\n", nr, mix, (long long)answer,
				       (long long)rc);
				exit(1);
			}
		}
	}
}

static int64_t call(struct thread *t, uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t all[7] = {nr, a, b, c, d};
	memcpy(t->ctx.call, all, sizeof(all));
	t->ctx.result = 0;
	t->ctx.deadline_ns = 0;
	return files_call(t, nr, t->ctx.call + 1);
}

static void results_are_bounded(struct thread *t)
{
	static const unsigned bytes[] = {SYS_read, SYS_write, SYS_pread64, SYS_pwrite64, SYS_getdents64};
	for (unsigned i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		answer = answers[i];
		for (unsigned k = 0; k < sizeof(bytes) / sizeof(*bytes); k++) {
			int64_t rc = call(t, bytes[k], 3, (uint64_t)buffer(0), BUFFER, 0);
			CHECK(rc >= -4095 && rc <= (int64_t)BUFFER);
		}
		CHECK(call(t, SYS_bind, 3, (uint64_t)buffer(0), 16, 0) <= 0 &&
		      call(t, SYS_close, 3, 0, 0, 0) <= 0);
		CHECK(call(t, SYS_socket, 1, 1, 0, 0) <= INT_MAX &&
		      call(t, SYS_fcntl, 3, F_DUPFD, 0, 0) <= INT_MAX);
		lay_canaries();
		CHECK(call(t, SYS_getgroups, BUFFER / 4, (uint64_t)buffer(0), 0, 0) <= BUFFER / 4 && canaries_live(BUFFER));
		CHECK(call(t, SYS_getgroups, 0, 0, 0, 0) <= INT_MAX);
		uint32_t length = BUFFER;
		memcpy(buffer(1), &length, 4);
		call(t, SYS_getsockname, 3, (uint64_t)buffer(0), (uint64_t)buffer(1), 0);
		memcpy(&length, buffer(1), 4);
		CHECK(length <= 128);
		struct iovec_pair {
			uint64_t base, size;
		} v[2] = {{(uint64_t)buffer(2), 10}, {(uint64_t)buffer(3), 20}};
		memcpy(buffer(0), v, sizeof(v));
		CHECK(call(t, SYS_readv, 3, (uint64_t)buffer(0), 2, 0) <= 30);
		CHECK(call(t, SYS_writev, 3, (uint64_t)buffer(0), 2, 0) <= 30);
		v[0].base = STOP_WORD;
		memcpy(buffer(0), v, sizeof(v));
		CHECK(call(t, SYS_readv, 3, (uint64_t)buffer(0), 2, 0) == -EFAULT);
	}
}

/* Control data: within its room, each part whole, no descriptor that is a random device's number. */
static void control_data_is_bounded(struct thread *t)
{
	static const uint64_t sizes[] = {0, 8, 16, 20, 24, 64, 1 << 20, ~0ull};
	unsigned parts = 0;
	for (unsigned i = 0; i < 20000; i++) {
		answer = 0;
		CHECK(call(t, SYS_close_range, 0, 31, 0, 0) == 0); /* any number may be a new one */
		lay_canaries();
		uint64_t part[2] = {(uint64_t)buffer(1), 8};
		uint64_t message[7] = {0, 0, (uint64_t)buffer(2), 1, (uint64_t)buffer(3), BUFFER, 0};
		memcpy(buffer(2), part, sizeof(part));
		memcpy(buffer(0), message, sizeof(message));
		answer = 8;
		control_at = i + 1;
		control_size = sizes[i % 8];
		CHECK(call(t, SYS_recvmsg, 3, (uint64_t)buffer(0), 0, 0) == 8);
		CHECK(canaries_live(BUFFER));
		memcpy(message, buffer(0), sizeof(message));
		CHECK(message[5] <= BUFFER && message[4] == (uint64_t)buffer(3));
		for (uint64_t at = 0, size; at + 16 <= message[5]; at += (size + 7) & ~7ull) {
			memcpy(&size, buffer(3) + at, sizeof(size));
			CHECK(size > 16 && size <= message[5] - at);
			parts++;
		}
	}
	control_at = 0;
	CHECK(parts > 100);
	/* descriptors of which one cannot be: nothing that stands behind it comes */
	const uint64_t sizes_said[2] = {24, 20};
	const int32_t parts_said[2][4] = {{SOL_SOCKET, SCM_RIGHTS, 30, -1}, {IPPROTO_IP, IP_TTL, 64, 0}};
	uint64_t part[2] = {(uint64_t)buffer(1), 8};
	uint64_t message[7] = {0, 0, (uint64_t)buffer(2), 1, (uint64_t)buffer(3), BUFFER, 0};
	memcpy(buffer(2), part, sizeof(part));
	memcpy(buffer(0), message, sizeof(message));
	for (int i = 0; i < 2; i++) {
		memcpy(control + i * 24, &sizes_said[i], 8);
		memcpy(control + i * 24 + 8, parts_said[i], 16);
	}
	control_size = 48;
	CHECK(call(t, SYS_recvmsg, 3, (uint64_t)buffer(0), 0, 0) == 8);
	memcpy(message, buffer(0), sizeof(message));
	CHECK(message[5] == 24 && message[6] & MSG_CTRUNC);
	control_size = 0;
}

/* Nothing of the runtime's is a buffer. */
static void addresses_are_the_programs(struct thread *t)
{
	static const uint64_t wrong[] = {0x1000,
					 CONFIG_BASE,
					 RUNTIME_BASE,
					 THREADS_BASE + THREAD_RECORD,
					 RTHEAP_BASE,
					 STOP_WORD,
					 MARKS_BASE,
					 PAGESTATE_BASE,
					 APP_BASE - 1,
					 HEAP_BASE + HEAP_SIZE,
					 HEAP_BASE + HEAP_SIZE - 1,
					 1ull << 46,
					 ~0ull};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		answer = 0;
		CHECK(call(t, SYS_read, 3, wrong[i], 8, 0) == -EFAULT &&
		      call(t, SYS_write, 3, wrong[i], 8, 0) == -EFAULT);
		CHECK(call(t, SYS_fstat, 3, wrong[i], 0, 0) == -EFAULT &&
		      call(t, SYS_pipe, wrong[i], 0, 0, 0) == -EFAULT);
		CHECK(call(t, SYS_poll, wrong[i], 2, 0, 0) == -EFAULT &&
		      call(t, SYS_recvmsg, 3, wrong[i], 0, 0) == -EFAULT);
		CHECK(call(t, SYS_epoll_wait, 3, wrong[i], 2, 0) == -EFAULT &&
		      call(t, SYS_uname, wrong[i], 0, 0, 0) == -EFAULT);
	}
}

/* Bytes of the random device never are the host's, however it numbers descriptors. */
static void random_stays_random(struct thread *t)
{
	strcpy((char *)buffer(0), "/dev/urandom");
	answer = 5;
	CHECK(call(t, SYS_open, (uint64_t)buffer(0), 0, 0, 0) == 5);
	CHECK(call(t, SYS_read, 5, (uint64_t)buffer(1), 8, 0) == 8 && buffer(1)[0] == 0x5a);
	answer = 6;
	CHECK(call(t, SYS_dup, 5, 0, 0, 0) == 6 && call(t, SYS_pread64, 6, (uint64_t)buffer(1), 8, 0) == 8);
	CHECK(buffer(1)[0] == 0x5a);
	strcpy((char *)buffer(0), "/etc/passwd");
	answer = 5;
	CHECK(call(t, SYS_open, (uint64_t)buffer(0), 0, 0, 0) == -EIO &&
	      call(t, SYS_dup, 3, 0, 0, 0) == -EIO);
	answer = -EBADF;
	CHECK(call(t, SYS_dup2, 99, 5, 0, 0) == -EBADF &&
	      call(t, SYS_read, 5, (uint64_t)buffer(1), 8, 0) == 8);
	CHECK(buffer(1)[0] == 0x5a);
	/* a close that is issued again, once its number is another thread's device */
	t->reissued = true;
	answer = 0;
	CHECK(call(t, SYS_close, 5, 0, 0, 0) == 0 && call(t, SYS_close_range, 5, 6, 0, 0) == 0);
	t->reissued = false;
	buffer(1)[0] = 0;
	answer = 8;
	CHECK(call(t, SYS_read, 5, (uint64_t)buffer(1), 8, 0) == 8 && buffer(1)[0] == 0x5a);
	strcpy((char *)buffer(0), "/dev/urandom");
	answer = 100000;
	CHECK(call(t, SYS_open, (uint64_t)buffer(0), 0, 0, 0) == -EMFILE);
}

/* An event's data is the program's own or does not come. */
static void events_are_the_programs(struct thread *t)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
	honest_epoll = true;
	memcpy(buffer(0), &e, sizeof(e));
	CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_ADD, 11, (uint64_t)buffer(0)) == 0);
	CHECK(offered.data.u64 != e.data.u64);
	CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, ~0ull) == 1);
	memcpy(&e, buffer(1), sizeof(e));
	CHECK(e.events == EPOLLIN && e.data.u64 == 0x1122334455667788);
	struct epoll_event good = offered;
	CHECK(call(t, SYS_epoll_wait, 12, (uint64_t)buffer(1), 4, 0) == 0); /* of another set */
	offered.events = EPOLLPRI;
	CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 0); /* not asked for */
	for (int i = 0; i < 1000; i++) {
		offered = good;
		offered.data.u64 = random_below(&seed, 1u << 30) << 33 | random_below(&seed, 1u << 30);
		if (offered.data.u64 != good.data.u64)
			CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 0);
	}
	offered = good;
	offered_times = 3;
	CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, ~0ull) == 1); /* the same one */
	strange = 3;
	CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, ~0ull) == 1 && strange == 0);
	offered_times = 1;
	answer = 0;
	CHECK(call(t, SYS_close, 11, 0, 0, 0) == 0);
	CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 0); /* closed */
	/* told of once, until it is armed again */
	e = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 5};
	memcpy(buffer(0), &e, sizeof(e));
	CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_ADD, 11, (uint64_t)buffer(0)) == 0);
	for (int i = 0; i < 3; i++) {
		offered.events = EPOLLIN;
		CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, ~0ull) == 1);
		CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 0);
		offered.events = EPOLLHUP;
		CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 0);
		CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_MOD, 11, (uint64_t)buffer(0)) == 0);
	}
	/* what other threads were told of before it became one stays theirs, and the one event comes */
	e.events = EPOLLIN;
	memcpy(buffer(0), &e, sizeof(e));
	CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_MOD, 11, (uint64_t)buffer(0)) == 0);
	for (int i = 0; i < 100; i++)
		CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 1);
	e.events = EPOLLIN | EPOLLONESHOT;
	memcpy(buffer(0), &e, sizeof(e));
	CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_MOD, 11, (uint64_t)buffer(0)) == 0);
	offered.events = EPOLLIN;
	for (unsigned i = 0; i < CONFIG->thread_count + 1; i++)
		CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 1);
	CHECK(call(t, SYS_epoll_wait, 10, (uint64_t)buffer(1), 4, 0) == 0);
	honest_epoll = false;
}

#define SECRET 0xd7
static bool is_shown(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (shown[i] == SECRET)
			return true;
	return false;
}

/* What a call only writes is not the host's to read: buffers hold what was there before. */
static void buffers_show_nothing(struct thread *t)
{
	static const struct {
		unsigned nr, argument, level, name;
		bool reads;
	} calls[] = {
	    {SYS_accept, 1, 0, 0, false},
	    {SYS_accept4, 1, 0, 0, false},
	    {SYS_getsockname, 1, 0, 0, false},
	    {SYS_getpeername, 1, 0, 0, false},
	    {SYS_recvfrom, 4, 0, 0, false},
	    {SYS_getsockopt, 3, SOL_SOCKET, SO_ERROR, false},
	    {SYS_getsockopt, 3, IPPROTO_TCP, TCP_INFO, false},
	    {SYS_getsockopt, 3, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, true},
	};
	uint32_t size = BUFFER;
	answer = -EIO;
	for (unsigned i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		uint64_t a[7] = {calls[i].nr, 3, calls[i].level, calls[i].name, 0, 0, 0};
		a[1 + calls[i].argument] = (uint64_t)buffer(0);
		a[2 + calls[i].argument] = (uint64_t)buffer(1);
		memset(buffer(0), SECRET, BUFFER);
		memcpy(buffer(1), &size, sizeof(size));
		memcpy(t->ctx.call, a, sizeof(a));
		memset(((struct call_area *)t->area)->data, 0, 0x8000);
		shown_argument = calls[i].argument;
		CHECK(files_call(t, calls[i].nr, t->ctx.call + 1) == -EIO);
		CHECK(is_shown(0, BUFFER) == calls[i].reads);
	}
	struct pollfd fds[2] = {{.fd = 3, .events = POLLIN}, {.fd = 4, .events = POLLOUT}};
	struct flock lock;
	for (int i = 0; i < 2; i++)
		memset(&fds[i].revents, SECRET, sizeof(fds[i].revents));
	memcpy(buffer(0), fds, sizeof(fds));
	shown_argument = 0;
	call(t, SYS_poll, (uint64_t)buffer(0), 2, 0, 0);
	CHECK(!is_shown(0, sizeof(fds)));
	uint64_t *words = (uint64_t *)buffer(0);
	memset(((struct call_area *)t->area)->data, 0, 0x8000);
	memset(buffer(0), SECRET, 128);
	memcpy(buffer(0), "\1\0/run/socket", 14);
	shown_argument = 1;
	call(t, SYS_connect, 3, (uint64_t)buffer(0), 110, 0);
	CHECK(memcmp(shown, buffer(0), 14) == 0 && !is_shown(0, 110));
	memset(buffer(0), SECRET, 128);
	memcpy(buffer(0), "eth0\0\0\0\0\0\0\0\0\0\0\0", 16);
	shown_argument = 2;
	call(t, SYS_ioctl, 3, 0x8915 /* SIOCGIFADDR */, (uint64_t)buffer(0), 0);
	CHECK(memcmp(shown, "eth0", 5) == 0 && !is_shown(0, 40));
	/* a descriptor that goes along in a message, whose header ends in 4 bytes of nobody's */
	memset(buffer(0), SECRET, 128);
	memset(buffer(0), 0, 56 + 16);
	words[2] = (uint64_t)buffer(0) + 56; /* one part, of no bytes */
	words[3] = 1;
	words[4] = (uint64_t)buffer(0) + 72;
	words[5] = 31;
	words[9] = 20;
	words[10] = (uint64_t)SCM_RIGHTS << 32 | SOL_SOCKET;
	memcpy(&words[11], &(int){7}, 4);
	memset(((struct call_area *)t->area)->data, 0, 0x8000);
	shown_argument = 1;
	call(t, SYS_sendmsg, 3, (uint64_t)buffer(0), 0, 0);
	CHECK(memcmp(shown, &words[9], 20) == 0 && !is_shown(0, 31));
	memset(&lock, SECRET, sizeof(lock));
	lock.l_type = F_WRLCK;
	lock.l_whence = SEEK_SET;
	lock.l_start = lock.l_len = lock.l_pid = 0;
	memcpy(buffer(0), &lock, sizeof(lock));
	shown_argument = 2;
	call(t, SYS_fcntl, 3, F_SETLK, (uint64_t)buffer(0), 0);
	CHECK(!is_shown(0, sizeof(lock)));
	shown_argument = -1;
}

/* poll() tells of as many descriptors as have events, and of none that was not asked about. */
static void polls_add_up(struct thread *t)
{
	static const int64_t wrong[] = {1, 2};
	struct pollfd p[2];
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct pollfd asked[2] = {{.fd = 3, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
		answer = wrong[i];
		polls = 3;
		polled[0].revents = polled[1].revents = POLLIN;
		memcpy(buffer(0), asked, sizeof(asked));
		CHECK(call(t, SYS_poll, (uint64_t)buffer(0), 2, ~0ull, 0) == 1 && polls == 1);
		memcpy(p, buffer(0), sizeof(p));
		CHECK(p[0].revents == POLLIN && p[1].revents == 0);
		polled[0].revents = 0;
		CHECK(call(t, SYS_poll, (uint64_t)buffer(0), 2, 1, 0) == 0);
	}
	polls = 0;
}

/* A message goes in as many parts as it has bytes, if it must, and so does a vector. The last few go as a whole or not. */
#define LONG (32u << 10)
static void long_messages_go(struct thread *t)
{
	uint64_t part[2] = {HEAP_BASE + (4u << 20), LONG};
	uint64_t message[7] = {0, 0, (uint64_t)buffer(1), 1};
	memcpy(buffer(1), part, sizeof(part));
	memcpy(buffer(0), message, sizeof(message));
	answer = 1;
	CHECK(call(t, SYS_sendmsg, 3, (uint64_t)buffer(0), 0, 0) >= LONG - BUFFER);
	CHECK(call(t, SYS_writev, 3, (uint64_t)buffer(1), 1, 0) >= LONG - BUFFER);
}

/* With no room it is asked how much would be needed, and no more than a kernel has is believed. */
static void attributes_have_sizes(struct thread *t)
{
	static const unsigned one[] = {SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr};
	static const unsigned list[] = {SYS_listxattr, SYS_llistxattr, SYS_flistxattr};
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < sizeof(answers) / sizeof(*answers); k++) {
			answer = answers[k];
			int64_t wanted = answer < -4095 || answer > 65536 ? -EIO : answer;
			uint64_t name = (uint64_t)buffer(0), room = (uint64_t)buffer(1);
			lay_canaries();
			strcpy((char *)buffer(0), "name");
			CHECK(call(t, one[i], name, name, k % 2 ? room : 0, 0) == wanted);
			CHECK(call(t, list[i], name, k % 2 ? room : 0, 0, 0) == wanted);
			CHECK(canaries_live(BUFFER) && buffer(1)[0] == 0);
			CHECK(call(t, list[i], name, room, 8, 0) <= 8);
		}
}

/* A new descriptor's number is not that of one that is open. */
static void numbers_are_new(struct thread *t)
{
	answer = 20;
	CHECK(call(t, SYS_socket, 1, 1, 0, 0) == 20);
	CHECK(call(t, SYS_socket, 1, 1, 0, 0) == -EIO && call(t, SYS_accept, 20, 0, 0, 0) == -EIO);
	CHECK(call(t, SYS_dup, 20, 0, 0, 0) == -EIO && call(t, SYS_fcntl, 20, F_DUPFD, 0, 0) == -EIO);
	CHECK(call(t, SYS_epoll_create1, 0, 0, 0, 0) == -EIO && call(t, SYS_timerfd_create, 1, 0, 0, 0) == -EIO);
	answer = 21;
	CHECK(call(t, SYS_dup2, 3, 21, 0, 0) == 21 && call(t, SYS_dup2, 20, 21, 0, 0) == 21);
	CHECK(call(t, SYS_eventfd2, 0, 0, 0, 0) == -EIO && call(t, SYS_dup2, 3, 20, 0, 0) == -EIO);
	answer = 0;
	CHECK(call(t, SYS_close, 21, 0, 0, 0) == 0);
	answer = 21;
	CHECK(call(t, SYS_eventfd2, 0, 0, 0, 0) == 21);
	answer = 0;
	CHECK(call(t, SYS_close_range, 20, 21, 0, 0) == 0);
	answer = 20;
	CHECK(call(t, SYS_socket, 1, 1, 0, 0) == 20);
	answer = 21;
	CHECK(call(t, SYS_socket, 1, 1, 0, 0) == 21);
}

#define INTERESTS 400
#define TURNS 3

/* The token of a new interest in descriptor fd. */
static uint64_t token_of_new(struct thread *t, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)fd};
	memcpy(buffer(0), &e, sizeof(e));
	CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_ADD, (uint64_t)fd, (uint64_t)buffer(0)) == 0);
	return offered.data.u64;
}

/* Interests that are given up are not carried along, and yet no token they had is one of a later one. */
static void tokens_are_never_used_again(struct thread *t)
{
	static uint64_t before[TURNS][INTERESTS];
	static uint8_t state[1 << 20];
	int ends[2], status;
	honest_epoll = true;
	CHECK(pipe(ends) == 0);
	pid_t there = fork(); /* fresh as yet */
	CHECK(there >= 0);
	if (there == 0) {
		struct writer used = {state, sizeof(state), 0};
		CHECK(read(ends[0], &used.used, sizeof(used.used)) == sizeof(used.used));
		for (size_t at = 0; at < used.used;)
			at += (size_t)read(ends[0], state + at, used.used - at);
		for (size_t at = 0; at < sizeof(before);)
			at += (size_t)read(ends[0], (uint8_t *)before + at, sizeof(before) - at);
		CHECK(used.used < INTERESTS * 4);
		struct reader r = {state, used.used, 0, false};
		interest_import(&r);
		CHECK(!r.bad && r.used == r.size);
		for (int i = 1; i < INTERESTS; i++) {
			uint64_t now = token_of_new(t, 100 + i);
			for (int turn = 0; turn < TURNS; turn++)
				for (int k = 0; k < INTERESTS; k++)
					CHECK(now != before[turn][k]);
		}
		exit(0);
	}
	for (int turn = 0; turn < TURNS; turn++) {
		for (int i = 0; i < INTERESTS; i++)
			if (i || !turn)
				before[turn][i] = token_of_new(t, 100 + i);
		for (int i = 1; i < INTERESTS; i++)
			CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_DEL, (uint64_t)(100 + i), 0) == 0);
	}
	struct writer w = {state, sizeof(state), 0};
	interest_export(&w);
	CHECK(write(ends[1], &w.used, sizeof(w.used)) == sizeof(w.used) && write(ends[1], state, w.used) == (ssize_t)w.used &&
	      write(ends[1], before, sizeof(before)) == sizeof(before));
	CHECK(waitpid(there, &status, 0) == there && status == 0);
	CHECK(call(t, SYS_epoll_ctl, 10, EPOLL_CTL_DEL, 100, 0) == 0);
	honest_epoll = false;
}

int main(void)
{
	enclave_begin();
	struct thread *t = thread_self();
	CHECK(mm_mmap(HEAP_BASE + (4u << 20), 1 << 20, 3, 0x12) > 0);
	tokens_are_never_used_again(t);
	every_call(t);
	buffers_show_nothing(t);
	control_data_is_bounded(t);
	results_are_bounded(t);
	addresses_are_the_programs(t);
	random_stays_random(t);
	events_are_the_programs(t);
	polls_add_up(t);
	long_messages_go(t);
	attributes_have_sizes(t);
	numbers_are_new(t);
	return 0;
}
