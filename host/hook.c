/* SPDX-License-Identifier: Apache-2.0 */
#include "host/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_SIZE 512
#define STOP_GRACE_MS 500

static const char *const event_names[HOOK_EVENT_COUNT] = {
    [HOOK_PRE_STOP] = "pre-stop",	[HOOK_POST_STOP] = "post-stop", [HOOK_PRE_RESUME] = "pre-resume",
    [HOOK_POST_RESUME] = "post-resume", [HOOK_FAILED] = "failed",
};

struct hook {
	pid_t pid;
	int fd; /* its standard input and output */
	char line[LINE_MAX_SIZE];
	size_t size;
	bool broken; /* late or gone: what it says next would answer an older question */
};

static unsigned now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

int hook_start(const char *program, const char *role, struct hook **out, struct failure *why)
{
	extern char **environ;
	int pair[2];
	struct hook *h = calloc(1, sizeof(*h));
	/* A socketpair: a write to a hook that has ended is EPIPE, not a signal (MSG_NOSIGNAL). */
	if (!h || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(h);
		return fail(why, -ENOMEM, "hook %s: out of memory", program);
	}
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
	posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	char *argv[] = {(char *)program, (char *)role, NULL};
	int error = posix_spawnp(&h->pid, program, &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	close(pair[1]);
	if (error) {
		close(pair[0]);
		free(h);
		return fail(why, -error, "hook %s cannot be started: %s", program, strerror(error));
	}
	h->fd = pair[0];
	*out = h;
	return 0;
}

/* One line, without its newline, or -errno. */
static int read_line(struct hook *h, unsigned deadline_ms, char out[LINE_MAX_SIZE])
{
	for (;;) {
		char *end = memchr(h->line, '\n', h->size);
		if (end) {
			size_t length = (size_t)(end - h->line);
			memcpy(out, h->line, length);
			out[length] = 0;
			h->size -= length + 1;
			memmove(h->line, end + 1, h->size);
			return 0;
		}
		if (h->size == sizeof(h->line))
			return -EMSGSIZE;
		int left = (int)(deadline_ms - now_ms());
		struct pollfd p = {.fd = h->fd, .events = POLLIN};
		int ready = poll(&p, 1, left > 0 ? left : 0);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return ready ? -errno : -ETIMEDOUT;
		ssize_t got = read(h->fd, h->line + h->size, sizeof(h->line) - h->size);
		if (got <= 0)
			return got < 0 ? -errno : -EPIPE;
		h->size += (size_t)got;
	}
}

int hook_tell(struct hook *h, enum hook_event event, const char *detail, unsigned timeout_ms,
	      struct failure *why)
{
	if (!h)
		return 0;
	const char *name = event_names[event];
	char line[LINE_MAX_SIZE];
	int size = snprintf(line, sizeof(line), "%s %s\n", name, detail);
	int r = h->broken || size >= (int)sizeof(line) ? -EPIPE : 0;
	if (!r && send(h->fd, line, (size_t)size, MSG_NOSIGNAL) != size)
		r = -EPIPE;
	if (!r)
		r = read_line(h, now_ms() + timeout_ms, line);
	if (r) {
		h->broken = true;
		return fail(why, r,
			    r == -ETIMEDOUT ? "the hook did not answer %s within %u ms"
					    : "the hook ended before it answered %s",
			    name, timeout_ms);
	}
	return strcmp(line, "ok") == 0 ? 0 : fail(why, -ECANCELED, "the hook refused %s: %s", name, line);
}

void hook_stop(struct hook *h)
{
	if (!h)
		return;
	/* It sees the end of its input, and has a moment to end by itself. */
	close(h->fd);
	for (unsigned waited = 0; waitpid(h->pid, NULL, WNOHANG) == 0; waited += 10) {
		if (waited >= STOP_GRACE_MS) {
			kill(-h->pid, SIGKILL);
			waitpid(h->pid, NULL, 0);
			break;
		}
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	free(h);
}
