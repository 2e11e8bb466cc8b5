/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/receive.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "host/log.h"
#include "host/net/ip.h"
#include "host/signals.h"
#include "migrate/attach.h"

#define SESSIONS_MAX 32
#define PENDING_MAX 64 /* connections that have not said what they are */
#define FIRST_FRAME_US (5ull * 1000 * 1000)
#define DEAF_US (1000ull * 1000)

/* A connection whose first frame is still arriving. */
struct pending {
	int fd;
	uint64_t until_us;
	size_t got;
	uint8_t data[sizeof(struct frame_header) + sizeof(struct frame_hello)];
};

struct session {
	pid_t pid; /* 0: unused */
	atomic_int *stage; /* enum session_stage */
};

struct receive {
	const struct receive_options *o;
	int listener;		/* -1: ending, nobody is let in any more */
	uint64_t deaf_until_us; /* the listener is not looked at: nothing could be made of who comes */
	int signal_fd;
	struct pending pending[PENDING_MAX];
	unsigned pending_count;
	struct session session[SESSIONS_MAX];
	atomic_int *stages; /* of each */
	bool ending;
	bool over; /* --once: the program that came has ended, with status */
	int status;
};

static void say_failed(int fd, int code, const char *message)
{
	struct frame_failed said = {.code = code};
	snprintf(said.message, sizeof(said.message), "%s", message);
	wire_send(fd, FRAME_FAILED, &said, sizeof(said), NULL, 0, (struct wait){now_us() + 100 * 1000, -1});
}

/* ---- sessions ---- */

/* In the child: nothing of the service stays. */
static _Noreturn void session_main(struct receive *r, const struct frame_hello *hello, int control_fd,
				   int attach_fd, atomic_int *stage)
{
	enum enclave_end end;
	int status;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* until the program lives here */
	close(r->listener);
	close(r->signal_fd);
	for (unsigned i = 0; i < r->pending_count; i++)
		if (r->pending[i].fd != control_fd)
			close(r->pending[i].fd);
	if (destination_run(&r->o->destination, hello, control_fd, attach_fd, stage, &end, &status))
		_exit(EXIT_NOT_TAKEN);
	_exit(r->o->exit_status(end, status));
}

static bool is_home(const struct session *s)
{
	return s->pid && atomic_load(s->stage) == STAGE_HOME;
}

/* Of --once: it has come, whether it still runs or not. */
static bool has_come(const struct receive *r)
{
	bool come = r->over;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		come |= is_home(&r->session[i]);
	return come;
}

/* Takes over fd. */
static void session_begin(struct receive *r, const struct frame_hello *hello, int fd)
{
	struct session *s = NULL;
	int attach_fd = attach_listen(hello->session);
	for (unsigned i = 0; i < SESSIONS_MAX && !s; i++)
		if (!r->session[i].pid)
			s = &r->session[i];
	if (attach_fd == -EADDRINUSE) {
		say_failed(fd, -EALREADY, "this session is being received already");
	} else if (r->o->once && has_come(r)) {
		say_failed(fd, -EBUSY,
			   "another program came already, and with --once receive takes one: start another receive, at "
			   "another port");
	} else if (!s) {
		say_failed(fd, -EBUSY, "too many sessions");
	} else if (attach_fd < 0) {
		say_failed(fd, attach_fd, strerror(-attach_fd));
	} else {
		atomic_int *stage = &r->stages[s - r->session];
		atomic_store(stage, STAGE_COMING);
		pid_t pid = fork();
		if (pid == 0)
			session_main(r, hello, fd, attach_fd, stage);
		if (pid < 0)
			say_failed(fd, -errno, strerror(errno));
		else
			*s = (struct session){.pid = pid, .stage = stage};
	}
	if (attach_fd >= 0)
		close(attach_fd);
	close(fd);
}

/* A further connection of a session goes to its process. */
static void session_attach(const struct frame_attach *attach, int fd)
{
	if (attach_give(attach, fd))
		say_failed(fd, -ENOENT, "no such session");
	close(fd);
}

static void session_ended(struct receive *r, struct session *s, int how)
{
	int status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
	bool was_home = is_home(s);
	if (WIFSIGNALED(how))
		log_line("process %d, %s, was ended by a signal: %s", (int)s->pid,
			 was_home ? "home of a program" : "which was receiving one",
			 strsignal(WTERMSIG(how)));
	if (r->o->once && was_home && !r->over) {
		r->over = true;
		r->status = status;
	}
	*s = (struct session){0};
}

static void reap(struct receive *r)
{
	int how;
	for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;)
		for (unsigned i = 0; i < SESSIONS_MAX; i++)
			if (r->session[i].pid == pid)
				session_ended(r, &r->session[i], how);
}

/* ---- first frames ---- */

static void pending_remove(struct receive *r, unsigned i)
{
	r->pending[i] = r->pending[--r->pending_count];
}

static void accept_one(struct receive *r)
{
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		log_line("cannot let anybody in for now: %s", strerror(errno));
		r->deaf_until_us = now_us() + DEAF_US;
	}
	if (fd < 0)
		return;
	if (r->pending_count == PENDING_MAX) {
		close(fd);
		return;
	}
	struct pending *p = &r->pending[r->pending_count++];
	p->fd = fd;
	p->got = 0;
	p->until_us = now_us() + FIRST_FRAME_US;
}

/* Reads no further than the first frame. 0: more to come, 1: complete, -errno: not for us. */
static int pending_read(struct pending *p)
{
	struct frame_header h;
	for (;;) {
		size_t want = sizeof(h);
		if (p->got >= sizeof(h)) {
			memcpy(&h, p->data, sizeof(h));
			bool hello = h.type == FRAME_HELLO && h.size == sizeof(struct frame_hello);
			bool attach = h.type == FRAME_ATTACH && h.size == sizeof(struct frame_attach);
			if (!frame_header_ok(&h) || (!hello && !attach))
				return -EPROTO;
			want += h.size;
			if (p->got == want)
				return 1;
		}
		ssize_t n = recv(p->fd, p->data + p->got, want - p->got, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		p->got += (size_t)n;
	}
}

static void pending_serve(struct receive *r, unsigned i)
{
	struct pending p = r->pending[i];
	struct frame_header h;
	int rc = pending_read(&p);
	r->pending[i] = p;
	if (rc == 0)
		return;
	pending_remove(r, i);
	if (rc < 0) {
		close(p.fd);
		return;
	}
	memcpy(&h, p.data, sizeof(h));
	if (h.type == FRAME_HELLO) {
		static struct frame_hello hello;
		memcpy(&hello, p.data + sizeof(h), sizeof(hello));
		hello.name[sizeof(hello.name) - 1] = '\0';
		session_begin(r, &hello, p.fd);
	} else {
		struct frame_attach attach;
		memcpy(&attach, p.data + sizeof(h), sizeof(attach));
		session_attach(&attach, p.fd);
	}
}

/* ---- the loop ---- */

/* Can the program be nowhere but here, or soon? */
static bool is_kept(struct session *s)
{
	int coming = STAGE_COMING;
	return !atomic_compare_exchange_strong(s->stage, &coming, STAGE_GIVEN_UP) &&
	       coming != STAGE_GIVEN_UP;
}

/* Whoever connects from now on is refused by the kernel. A program that is about to run here hears of it when
 * it does; a second time that is not waited for. */
static void end(struct receive *r, int number)
{
	unsigned living = 0;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *s = &r->session[i];
		if (!s->pid)
			continue;
		bool kept = r->ending ? is_home(s) : is_kept(s);
		living += kept;
		kill(s->pid, kept ? number : SIGKILL);
	}
	if (!r->ending) {
		close(r->listener);
		r->listener = -1;
		while (r->pending_count)
			close(r->pending[--r->pending_count].fd);
	}
	r->ending = true;
	if (living)
		log_line("%s: passed on to the programs that came; waiting for %u of them to end",
			 strsignal(number), living);
}

static void hear_signal(struct receive *r)
{
	struct signalfd_siginfo info;
	while (read(r->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(r);
		else
			end(r, (int)info.ssi_signo);
	}
}

static bool any_session(const struct receive *r)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (r->session[i].pid)
			return true;
	return false;
}

static void turn(struct receive *r)
{
	struct pollfd polled[2 + PENDING_MAX];
	unsigned pending = r->pending_count;
	polled[0] = (struct pollfd){.fd = r->signal_fd, .events = POLLIN};
	bool deaf = now_us() < r->deaf_until_us;
	polled[1] = (struct pollfd){.fd = deaf ? -1 : r->listener, .events = POLLIN};
	for (unsigned i = 0; i < pending; i++)
		polled[2 + i] = (struct pollfd){.fd = r->pending[i].fd, .events = POLLIN};
	if (poll(polled, 2 + pending, pending || deaf ? 1000 : -1) < 0)
		return;
	/* Backwards: serving one may move the last into its place. */
	for (unsigned i = pending; i-- > 0;) {
		if (polled[2 + i].revents) {
			pending_serve(r, i);
		} else if (now_us() > r->pending[i].until_us) {
			close(r->pending[i].fd);
			pending_remove(r, i);
		}
	}
	if (polled[1].revents)
		accept_one(r);
	if (polled[0].revents)
		hear_signal(r);
}

/* Of port 0 the kernel has made one. */
static void say_where(const struct receive *r)
{
	struct sockaddr_storage at = {0};
	socklen_t size = sizeof(at);
	if (ip_port(&r->o->at.at) == 0 && getsockname(r->listener, (struct sockaddr *)&at, &size) == 0)
		log_line("waiting for programs on %s: port %u", r->o->at.text, ntohs(ip_port(&at)));
	else
		log_line("waiting for programs on %s", r->o->at.text);
}

int receive_run(const struct receive_options *o, int *status, struct failure *why)
{
	static struct receive r;
	sigset_t set;
	r.o = o;
	r.stages = mmap(NULL, SESSIONS_MAX * sizeof(*r.stages), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.stages == MAP_FAILED)
		return fail(why, -errno, "%s", strerror(errno));
	int rc = address_listen(&o->at, &r.listener, why);
	if (rc)
		return rc;
	signal(SIGPIPE, SIG_IGN); /* whoever read the log may have gone */
	signals_block();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	r.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r.signal_fd < 0) {
		close(r.listener);
		return fail(why, -errno, "%s", strerror(errno));
	}
	say_where(&r);
	/* With --once, another program may have been on its way when the first came: it is not left alone. */
	while (!(r.over || r.ending) || any_session(&r))
		turn(&r);
	if (r.listener >= 0)
		close(r.listener);
	close(r.signal_fd);
	*status = r.over ? r.status : 0;
	return 0;
}
