/* SPDX-License-Identifier: Apache-2.0
 *
 * process PORT DIRECTORY: what a program has of its process, used all the time while it is moved: signals, timers,
 * alarms, faults that its handlers survive, time-outs, clocks. Each signal USR1, USR2 and HUP from outside adds a line to
 * DIRECTORY/signals. Commands: check ("ok N" or "wrong ..."), work, quit.
 */
#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static char wrong_text[200];
static atomic_int wrong_count;
enum { ALARMS, TIMERS, THREADS, FAULTS, REPAIRS, WAITS, SIGNALS, RECEIVES, STREAMS, VIRTUALS, PROFS, CPUTIMES, READSIGNALS, LIMITS, WORKS };
static atomic_ulong work[WORKS];
static const char *const work_name[] = {"alarms",  "timers",   "threads", "faults",   "repairs", "waits",
					"signals", "receives", "streams", "virtuals", "profs",	 "cputimes", "readsignals", "limits"};

static void wrong(int line, const char *condition)
{
	int error = errno, count = atomic_fetch_add(&wrong_count, 1);

	if (count < 10)
		say("wrong: line %d: %s, %s", line, condition, strerror(error));
	if (count == 0)
		snprintf(wrong_text, sizeof(wrong_text), "line %d: %s, %s", line, condition, strerror(error));
}

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			wrong(__LINE__, #condition);                                                                   \
	} while (0)

static uint64_t now_ns(void)
{
	static _Thread_local uint64_t latest;
	uint64_t before = latest; /* a handler may raise it meanwhile */
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t now = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	if (now < before)
		MUST(!"CLOCK_MONOTONIC went back");
	latest = now;
	return now;
}

/* ---- signals from outside ---- */

static int signal_log;

static void on_signal(int signum)
{
	const char *line = signum == SIGUSR1 ? "USR1\n" : signum == SIGUSR2 ? "USR2\n" : "HUP\n";
	int saved = errno;

	MUST(write(signal_log, line, strlen(line)) > 0);
	atomic_fetch_add(&work[SIGNALS], 1);
	errno = saved;
}

/* ---- limits: as they were set, and they hold ---- */

#define FILE_SIZE_MAX 1000000
static const char *directory;
static atomic_ulong exceeded;

static void on_exceeded(int signum)
{
	(void)signum;
	atomic_fetch_add(&exceeded, 1);
}

static void *watch_limits(void *unused)
{
	struct rlimit first[2], limit;
	char path[300];

	(void)unused;
	snprintf(path, sizeof(path), "%s/limited", directory);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	MUST(fd >= 0 && !getrlimit(RLIMIT_CORE, &first[0]) && !getrlimit(RLIMIT_FSIZE, &first[1]));
	first[0].rlim_cur = first[0].rlim_max > 4711 ? 4711 : first[0].rlim_max;
	first[1].rlim_cur = FILE_SIZE_MAX;
	MUST(!setrlimit(RLIMIT_CORE, &first[0]) && !setrlimit(RLIMIT_FSIZE, &first[1]));
	for (unsigned long before;; usleep(2000)) {
		MUST(!getrlimit(RLIMIT_CORE, &limit) && !memcmp(&limit, &first[0], sizeof(limit)));
		MUST(!getrlimit(RLIMIT_FSIZE, &limit) && !memcmp(&limit, &first[1], sizeof(limit)));
		MUST(pwrite(fd, "ab", 2, FILE_SIZE_MAX - 1) == 1);
		before = atomic_load(&exceeded);
		MUST(pwrite(fd, "a", 1, FILE_SIZE_MAX) == -1 && errno == EFBIG && atomic_load(&exceeded) == before + 1);
		atomic_fetch_add(&work[LIMITS], 1);
	}
	return NULL;
}

/* ---- signals that are read: USR2 from outside, and one that the program sends itself, each once ---- */

#define READ_SIGNAL (SIGRTMIN + 4)
static atomic_ulong signals_read;

static void block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void block_read_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, READ_SIGNAL);
	MUST(!pthread_sigmask(SIG_BLOCK, &set, NULL));
}

static void *read_usr2(void *unused)
{
	struct signalfd_siginfo info;
	sigset_t set;

	(void)unused;
	block_signals();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 4711};
	MUST(fd >= 0 && epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	for (;;) {
		MUST(epoll_wait(epoll, &event, 1, -1) == 1 && event.events == EPOLLIN && event.data.u64 == 4711);
		ssize_t size = read(fd, &info, sizeof(info));
		MUST((size == sizeof(info) && info.ssi_signo == SIGUSR2) || (size == -1 && errno == EAGAIN));
		if (size > 0)
			on_signal(SIGUSR2);
	}
	return NULL;
}

static void *read_own(void *unused)
{
	struct signalfd_siginfo info[2];
	sigset_t set;

	(void)unused;
	block_signals();
	sigemptyset(&set);
	sigaddset(&set, READ_SIGNAL);
	int fd = signalfd(-1, &set, 0), copy = dup(fd);
	for (unsigned i = 0;; i++) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (i % 2)
			MUST(poll(&p, 1, -1) == 1 && p.revents == POLLIN);
		MUST(read(i % 3 ? fd : copy, info, sizeof(info)) == sizeof(info[0]) && info[0].ssi_signo == (uint32_t)READ_SIGNAL &&
		     info[0].ssi_code == SI_USER && info[0].ssi_pid == (uint32_t)getpid());
		atomic_fetch_add(&signals_read, 1);
		atomic_fetch_add(&work[READSIGNALS], 1);
	}
	return NULL;
}

static void *send_own(void *unused)
{
	(void)unused;
	for (;;) {
		unsigned long before = atomic_load(&signals_read);
		MUST(!kill(getpid(), READ_SIGNAL));
		while (atomic_load(&signals_read) == before)
			usleep(300);
		usleep(300);
		MUST(atomic_load(&signals_read) == before + 1);
	}
	return NULL;
}

/* ---- an interval timer: never more often than it should, and it does not stop ---- */

#define ALARM_NS 7000000u
static atomic_ulong alarms;

static void on_alarm(int signum)
{
	(void)signum;
	atomic_fetch_add(&alarms, 1);
	atomic_fetch_add(&work[ALARMS], 1);
}

static void must_be_named(const char *name)
{
	char is[16];

	MUST(!prctl(PR_GET_NAME, is) && !strcmp(is, name));
}

static void *watch_alarms(void *unused)
{
	(void)unused;
	MUST(!prctl(PR_SET_NAME, "watches alarms"));
	for (;;) {
		must_be_named("watches alarms");
		struct itimerval every = {{0, ALARM_NS / 1000}, {0, ALARM_NS / 1000}}, left;
		unsigned long before = atomic_load(&alarms);
		uint64_t begun = now_ns();

		MUST(!setitimer(ITIMER_REAL, &every, NULL));
		while (atomic_load(&alarms) < before + 20) {
			usleep(2000);
			MUST(!getitimer(ITIMER_REAL, &left) && left.it_value.tv_sec == 0 &&
			     left.it_value.tv_usec <= (int)(ALARM_NS / 1000) && left.it_value.tv_usec > 0 &&
			     left.it_interval.tv_usec == (int)(ALARM_NS / 1000));
		}
		unsigned long rung = atomic_load(&alarms) - before;
		MUST(rung * (uint64_t)ALARM_NS <= now_ns() - begun + ALARM_NS);
	}
	return NULL;
}

/* ---- timer_create: once each, not before it is due, with its value ---- */

static _Atomic uint64_t timer_due_ns;
static atomic_ulong timer_rung;

static void on_timer(int signum, siginfo_t *info, void *context)
{
	(void)signum, (void)context;
	uint64_t due = atomic_load(&timer_due_ns);

	MUST(info->si_code == SI_TIMER && info->si_value.sival_int == 4711);
	MUST(due && now_ns() >= due);
	atomic_fetch_add(&timer_rung, 1);
}

static void *watch_timer(void *unused)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value.sival_int = 4711};
	timer_t timer;

	(void)unused;
	must_be_named("process.signed"); /* as who made it */
	MUST(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	for (unsigned i = 0;; i++) {
		unsigned long before = atomic_load(&timer_rung);
		struct itimerspec in = {.it_value = {0, 1000000 + (i % 7) * 40000000}}, left;

		atomic_store(&timer_due_ns, now_ns() + (uint64_t)in.it_value.tv_nsec);
		MUST(!timer_settime(timer, 0, &in, NULL));
		while (atomic_load(&timer_rung) == before)
			usleep(1000);
		MUST(!timer_gettime(timer, &left) && left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
		usleep(1000);
		MUST(atomic_load(&timer_rung) == before + 1);
		atomic_fetch_add(&work[TIMERS], 1);
	}
	return NULL;
}

/* ---- timers of processor time: never more often than it was used, by whichever machine ---- */

#define CPU_NS 20000000u
static atomic_ulong cpu_rung[3]; /* ITIMER_VIRTUAL, ITIMER_PROF, CLOCK_PROCESS_CPUTIME_ID */

static void on_cpu(int signum)
{
	int which = signum == SIGVTALRM ? 0 : signum == SIGPROF ? 1 : 2;

	atomic_fetch_add(&cpu_rung[which], 1);
	atomic_fetch_add(&work[VIRTUALS + which], 1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	MUST(!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t));
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *watch_cpu(void *unused)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
	const struct itimerval every = {{0, CPU_NS / 1000}, {0, CPU_NS / 1000}};
	const struct itimerspec every_ns = {{0, CPU_NS}, {0, CPU_NS}};
	uint64_t latest = 0, begun = cpu_ns();
	unsigned long before[3];
	timer_t timer;

	(void)unused;
	MUST(!timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer));
	for (unsigned i = 0; i < 3; i++)
		before[i] = atomic_load(&cpu_rung[i]);
	MUST(!setitimer(ITIMER_VIRTUAL, &every, NULL) && !setitimer(ITIMER_PROF, &every, NULL) &&
	     !timer_settime(timer, 0, &every_ns, NULL));
	for (;;) {
		struct itimerval left;
		struct itimerspec left_ns;

		for (uint64_t until = now_ns() + 1000000; now_ns() < until;)
			;
		usleep(4000);
		for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++)
			MUST(!getitimer(which, &left) && left.it_value.tv_sec == 0 && left.it_value.tv_usec > 0 &&
			     left.it_value.tv_usec <= (int)(CPU_NS / 1000) &&
			     left.it_interval.tv_usec == (int)(CPU_NS / 1000));
		MUST(!timer_gettime(timer, &left_ns) && left_ns.it_value.tv_sec == 0 && left_ns.it_value.tv_nsec > 0 &&
		     left_ns.it_value.tv_nsec <= (long)CPU_NS);
		for (unsigned i = 0; i < 3; i++) {
			unsigned long rung = atomic_load(&cpu_rung[i]) - before[i];
			/* kernels count user mode by ticks: it may catch up on what was used before */
			MUST(rung * (uint64_t)CPU_NS <= cpu_ns() - (i == 0 ? 0 : begun));
		}
		MUST(cpu_ns() >= latest);
		latest = cpu_ns();
	}
	return NULL;
}

/* the C library makes a thread for each expiry */
static void in_thread(union sigval value)
{
	MUST(value.sival_int == 42);
	atomic_fetch_add(&work[THREADS], 1);
}

static void start_thread_timer(void)
{
	struct sigevent event = {
	    .sigev_notify = SIGEV_THREAD, .sigev_notify_function = in_thread, .sigev_value.sival_int = 42};
	struct itimerspec every = {{0, 30000000}, {0, 30000000}};
	timer_t timer;

	MUST(!timer_create(CLOCK_REALTIME, &event, &timer) && !timer_settime(timer, 0, &every, NULL));
}

/* ---- faults ---- */

static _Thread_local sigjmp_buf escape;
static _Thread_local volatile bool escapes;
static _Thread_local char *repaired_page;

static void on_fault(int signum, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	MUST(signum == SIGSEGV && info->si_signo == SIGSEGV);
	MUST(uc->uc_mcontext.gregs[REG_CR2] == (long)(uintptr_t)info->si_addr && uc->uc_mcontext.gregs[REG_RSP]);
	for (uint64_t until = now_ns() + 300000; now_ns() < until;) /* long enough to be moved in here */
		;
	if (escapes)
		siglongjmp(escape, 1);
	MUST((uintptr_t)info->si_addr / 4096 == (uintptr_t)repaired_page / 4096);
	MUST(!mprotect(repaired_page, 4096, PROT_READ | PROT_WRITE));
}

static void *fault_and_escape(void *unused)
{
	char stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};

	(void)unused;
	MUST(!sigaltstack(&alternate, NULL));
	escapes = true;
	for (volatile uintptr_t i = 0;; i++) {
		if (!sigsetjmp(escape, 1)) {
			*(volatile int *)(0x1f0000000 + i % 64 * 4096) = 1;
			MUST(!"a wild store went through");
		}
		atomic_fetch_add(&work[FAULTS], 1);
		usleep(500);
	}
	return NULL;
}

/* The handler repairs and returns: no register may have changed, whichever machine it returns on. */
static void *fault_and_go_on(void *unused)
{
	(void)unused;
	for (uint64_t i = 1;; i++) {
		repaired_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		MUST(repaired_page != MAP_FAILED);
		double x = (double)i / 3, y = (double)i / 7, z = x * y + 1;
		uint64_t a = i * 3, b = i * 5, c = i * 7, d = i * 11, e = i * 13, f = i * 17;
		uint64_t *p = (uint64_t *)(repaired_page + i % 500 * 8);
		*(volatile uint64_t *)p = a ^ b;
		MUST(*p == ((i * 3) ^ (i * 5)) && a + b + c + d + e + f == i * 56 && z == (double)i / 3 * ((double)i / 7) + 1);
		MUST(!munmap(repaired_page, 4096));
		atomic_fetch_add(&work[REPAIRS], 1);
		usleep(500);
	}
	return NULL;
}

/* ---- waits: not shorter than asked for, and not begun anew by a move ---- */

static void *waits(void *unused)
{
	int ends[2], pair[2];
	char byte;

	(void)unused;
	MUST(!pipe(ends) && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	struct timeval receive = {0, 150000};
	MUST(!setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive)));
	block_signals();
	for (unsigned i = 0;; i++) {
		uint64_t begun = now_ns(), asked = 150000000;
		struct timespec t = {0, (long)asked};
		struct pollfd p = {.fd = ends[0], .events = POLLIN};
		fd_set set;

		FD_ZERO(&set);
		FD_SET(ends[0], &set);
		switch (i % 5) {
		case 0:
			MUST(!nanosleep(&t, NULL));
			break;
		case 1:
			MUST(poll(&p, 1, 150) == 0);
			break;
		case 2:
			MUST(select(ends[0] + 1, &set, NULL, NULL, &receive) == 0);
			receive = (struct timeval){0, 150000};
			break;
		case 3:
			MUST(recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
			break;
		case 4:
			MUST(ppoll(&p, 1, &t, NULL) == 0);
			break;
		}
		MUST(now_ns() - begun >= asked - 1000000);
		atomic_fetch_add(&work[WAITS], 1);
	}
	return NULL;
}

/* A time-out that is longer than the time between two moves. */
static void *receive(void *unused)
{
	struct timeval limit = {0, 700000};
	int pair[2];
	char byte;

	(void)unused;
	block_signals();
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(!setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	for (;;) {
		uint64_t begun = now_ns();
		MUST(recv(pair[0], &byte, 1, 0) == -1 && errno == EAGAIN);
		MUST(now_ns() - begun >= 699000000);
		atomic_fetch_add(&work[RECEIVES], 1);
	}
	return NULL;
}

/* ---- blocking writes that are larger than what there is room for: all of it, and every byte once ---- */

#define CHUNK 300000
#define CHUNK_LARGE 2500000
static int stream_pair[2];

static unsigned char byte_at(uint64_t at)
{
	return (unsigned char)(at * 31 + at / 4096);
}

/* As sent to itself in a message. */
static int passed(int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int by[2];

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, by) && sendmsg(by[0], &message, 0) == 1 && !close(fd));
	message.msg_controllen = sizeof(control);
	MUST(recvmsg(by[1], &message, 0) == 1 && message.msg_controllen >= CMSG_LEN(sizeof(int)));
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	MUST(!close(by[0]) && !close(by[1]));
	return fd;
}

static void *write_stream(void *unused)
{
	unsigned char *data = malloc(CHUNK_LARGE);
	uint64_t at = 0;

	(void)unused;
	block_signals();
	for (unsigned i = 0;; i++) {
		size_t size = i % 8 == 7 ? CHUNK_LARGE : CHUNK + i % 5;
		struct iovec part[2] = {{data, size / 3}, {data + size / 3, size - size / 3}};
		struct msghdr message = {.msg_iov = part, .msg_iovlen = 2};
		ssize_t done = 0;

		for (size_t k = 0; k < size; k++)
			data[k] = byte_at(at + k);
		switch (i % 4) {
		case 0:
			done = write(stream_pair[0], data, size);
			break;
		case 1:
			done = writev(stream_pair[0], part, 2);
			break;
		case 2:
			done = send(stream_pair[0], data, size, 0);
			break;
		case 3:
			done = sendmsg(stream_pair[0], &message, 0);
			break;
		}
		MUST(done == (ssize_t)size);
		at += size;
	}
	return NULL;
}

static void *read_stream(void *unused)
{
	unsigned char *data = malloc(CHUNK);
	uint64_t at = 0;

	(void)unused;
	block_signals();
	for (unsigned i = 0;; i++) {
		ssize_t n = i % 2 ? recv(stream_pair[1], data, CHUNK, MSG_WAITALL) : read(stream_pair[1], data, CHUNK);

		MUST(n > 0 && (i % 2 == 0 || n == CHUNK));
		ssize_t same = 0;
		while (same < n && data[same] == byte_at(at + (uint64_t)same))
			same++;
		MUST(same == n);
		at += (uint64_t)n;
		atomic_fetch_add(&work[STREAMS], 1);
		usleep(2000);
	}
	return NULL;
}

/* ---- */

static void handle(const char *command, char *reply, size_t size)
{
	if (!strcmp(command, "check")) {
		if (atomic_load(&wrong_count))
			snprintf(reply, size, "wrong: %d, first %s", atomic_load(&wrong_count), wrong_text);
		else
			snprintf(reply, size, "ok %lu", atomic_load(&work[SIGNALS]));
	} else if (!strcmp(command, "work")) {
		int n = 0;
		for (unsigned i = 0; i < sizeof(work_name) / sizeof(work_name[0]); i++)
			n += snprintf(reply + n, size - (size_t)n, "%s=%lu ", work_name[i], atomic_load(&work[i]));
	} else if (!strcmp(command, "quit")) {
		say("ended by a command");
		exit(7);
	} else {
		snprintf(reply, size, "unknown command");
	}
}

static void catch(int signum, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

	MUST(!sigaction(signum, &action, NULL));
}

int main(int argc, char **argv)
{
	static void *(*const watches[])(void *) = {watch_alarms, watch_limits, watch_cpu, read_usr2, read_own, send_own, watch_timer,	fault_and_escape, fault_and_go_on,
						  waits,	receive,	write_stream,	  read_stream};
	struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK},
			 timer = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
	char path[300];
	pthread_t thread;

	if (argc != 3)
		return 2;
	snprintf(path, sizeof(path), "%s/signals", argv[2]);
	signal_log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	MUST(signal_log >= 0);
	catch(SIGUSR1, on_signal);
	block_read_signals();
	catch(SIGHUP, on_signal);
	directory = argv[2];
	catch(SIGXFSZ, on_exceeded);
	catch(SIGALRM, on_alarm);
	catch(SIGVTALRM, on_cpu);
	catch(SIGPROF, on_cpu);
	catch(SIGRTMIN + 3, on_cpu);
	MUST(!sigaction(SIGSEGV, &fault, NULL) && !sigaction(SIGRTMIN + 2, &timer, NULL));
	start_thread_timer();
	MUST(!socketpair(AF_UNIX, SOCK_STREAM, 0, stream_pair));
	stream_pair[0] = passed(stream_pair[0]);
	stream_pair[1] = passed(stream_pair[1]);
	for (unsigned i = 0; i < sizeof(watches) / sizeof(watches[0]); i++)
		MUST(!pthread_create(&thread, NULL, watches[i], NULL));
	control_start(atoi(argv[1]), handle);
	say("ready");
	for (;;)
		pause();
}
