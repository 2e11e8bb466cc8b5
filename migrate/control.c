/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/control.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "host/log.h"
#include "migrate/source.h"
#include "migrate/wire.h"

#define LINE_MAX_SIZE 4096
#define PROGRESS_MS 100
#define CLIENTS_MAX 16

struct control {
	char name[64];
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct enclave *e;
	int listener, wake_fd;
	pthread_t server;

	pthread_mutex_t lock; /* protects the following */
	pthread_cond_t changed;
	unsigned clients;
	struct migration *migration; /* under way, or NULL */
	json_t *last;		     /* report of the last move */
	json_t *ended;		     /* of the last that ended, be it a move or a check */
	bool closing;
};

/* ---- names and paths ---- */

bool control_name_ok(const char *name)
{
	size_t size = strlen(name);
	if (size == 0 || size > 63 || name[0] == '.')
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-", *c))
			return false;
	return true;
}

int control_directory(char *out, size_t size, struct failure *why)
{
	const char *own = getenv("OPTMIG_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;
	if (own)
		n = snprintf(out, size, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(out, size, "/run/optmig");
	else if (xdg)
		n = snprintf(out, size, "%s/optmig", xdg);
	else
		return fail(why, -ENOENT, "no place for the control socket: XDG_RUNTIME_DIR is not set");
	if (n < 0 || (size_t)n >= size)
		return fail(why, -ENAMETOOLONG, "the runtime directory's name is too long");
	if (mkdir(out, 0700) && errno != EEXIST)
		return fail(why, -errno, "%s: %s", out, strerror(errno));
	return 0;
}

int control_path(const char *name, char *out, size_t size, struct failure *why)
{
	char dir[256];
	if (!control_name_ok(name))
		return fail(why, -EINVAL, "\"%.64s\" is not a name: up to 63 letters, digits, dots, dashes",
			    name);
	int rc = control_directory(dir, sizeof(dir), why);
	if (rc)
		return rc;
	int n = snprintf(out, size, "%s/%s.sock", dir, name);
	return n < 0 || (size_t)n >= size ? fail(why, -ENAMETOOLONG, "%s: name too long", name) : 0;
}

static int socket_at(const char *path, int (*act)(int, const struct sockaddr *, socklen_t))
{
	/* connect() waits while a process that was stopped has as many clients as its queue holds: then -EAGAIN */
	struct timeval silence = {.tv_sec = CONTROL_SILENCE_US / 1000000};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence));
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (act(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	int rc = -errno;
	close(fd);
	return rc;
}

int control_connect(const char *name, int *fd, struct failure *why)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int rc = control_path(name, path, sizeof(path), why);
	if (rc)
		return rc;
	rc = socket_at(path, connect);
	if (rc == -EAGAIN)
		return fail(why, -ETIMEDOUT, "%s does not answer: was its process stopped?", name);
	if (rc < 0)
		return rc == -ENOENT || rc == -ECONNREFUSED
			   ? fail(why, -ENOENT, "no program called %s runs here; optmig ps lists them", name)
			   : fail(why, rc, "%s: %s", path, strerror(-rc));
	*fd = rc;
	return 0;
}

int control_say(int fd, json_t *object, uint64_t timeout_us)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(object);
	if (!text)
		return -ENOMEM;
	size_t size = strlen(text);
	text[size] = '\n';
	int rc = wire_send_raw(fd, text, size + 1, (struct wait){now_us() + timeout_us, -1});
	free(text);
	return rc;
}

pid_t control_peer(int fd)
{
	struct ucred who;
	socklen_t size = sizeof(who);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && who.pid > 0 ? who.pid : -1;
}

/* ---- one client ---- */

struct client {
	struct control *c;
	int fd;
};

static int send_json(int fd, json_t *object)
{
	return control_say(fd, object, 2 * 1000 * 1000);
}

static int send_error(int fd, const struct failure *why)
{
	return send_json(fd, json_pack("{s:i, s:s, s:{s:i, s:s}}", "schema_version", 1, "result", "failed",
				       "error", "code", -why->code, "message", why->message));
}

/* One line, or -errno. */
static int read_line(int fd, char *line, size_t size)
{
	struct wait wait = {now_us() + 5 * 1000 * 1000, -1};
	for (size_t n = 0; n < size; n++) {
		int rc = wire_recv_raw(fd, line + n, 1, wait);
		if (rc)
			return rc;
		if (line[n] == '\n') {
			line[n] = '\0';
			return 0;
		}
	}
	return -EMSGSIZE;
}

static json_t *status_json(struct control *c)
{
	struct runtime_stats stats;
	char hex[65];
	for (unsigned i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", enclave_mrenclave(c->e)[i]);
	enclave_runtime_stats(c->e, &stats);
	pthread_mutex_lock(&c->lock);
	bool migrating = c->migration != NULL;
	json_t *progress = json_null();
	if (migrating) {
		struct migrate_progress p = migration_progress(c->migration);
		progress = migrate_progress_json(&p);
	}
	json_t *last = c->last ? json_incref(c->last) : json_null();
	pthread_mutex_unlock(&c->lock);
	return json_pack("{s:i, s:s, s:i, s:s, s:b, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "schema_version", 1,
			 "name", c->name, "pid", (int)getpid(), "mrenclave", hex, "software",
			 enclave_is_software(c->e), "threads", (json_int_t)stats.threads, "pages",
			 (json_int_t)stats.pages_mapped, "pages_accepted", (json_int_t)stats.pages_accepted,
			 "pages_deferred", (json_int_t)stats.pages_deferred, "migrating", migrating, "progress", progress, "last", last);
}

struct run {
	struct migration *m;
	struct migrate_report report;
	int rc;
	int done_fd; /* eventfd */
};

static void *run_main(void *context)
{
	struct run *r = context;
	uint64_t one = 1;
	r->rc = migration_run(r->m, &r->report);
	if (write(r->done_fd, &one, sizeof(one)) < 0)
		abort(); /* a fresh eventfd takes a one */
	return NULL;
}

/* Progress to the client until it is over. A client that hangs up cancels. */
static void watch(struct client *client, struct run *r, bool detached)
{
	bool listens = !detached;
	for (;;) {
		struct pollfd polled[2] = {{.fd = r->done_fd, .events = POLLIN},
					   {.fd = listens ? client->fd : -1, .events = POLLIN}};
		int n = poll(polled, 2, PROGRESS_MS);
		if (polled[0].revents)
			return;
		if (n > 0 && polled[1].revents) {
			migration_cancel(r->m);
			listens = false;
		}
		struct migrate_progress p = migration_progress(r->m);
		if (listens && n == 0 && send_json(client->fd, migrate_progress_json(&p)))
			listens = false;
	}
}

static bool claim(struct control *c, struct migration *m)
{
	pthread_mutex_lock(&c->lock);
	bool free_now = !c->migration && !c->closing;
	if (free_now)
		c->migration = m;
	pthread_mutex_unlock(&c->lock);
	return free_now;
}

static void unclaim(struct control *c, json_t *report, bool moved)
{
	pthread_mutex_lock(&c->lock);
	c->migration = NULL;
	json_decref(c->ended);
	c->ended = json_incref(report);
	if (moved) {
		json_decref(c->last);
		c->last = json_incref(report);
	}
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

/* A move asks the enclave, which refuses while pages of the last one are still coming; a check of this host alone does not
 * come so far. */
static int leave_allowed(struct control *c, const struct migrate_options *o, struct failure *why)
{
	struct runtime_stats stats;
	if (!o->only_check || o->to[0])
		return 0;
	enclave_runtime_stats(c->e, &stats);
	if (!stats.pages_deferred)
		return 0;
	return fail(why, -EPERM, "%s cannot leave while the pages of its last move are still coming: wait until status "
		    "tells of none", c->name);
}

static void migrate(struct client *client, const json_t *command)
{
	struct control *c = client->c;
	struct migrate_options options;
	struct migration m;
	struct run r = {.m = &m};
	struct failure why = {0};
	pthread_t thread;
	bool detached = json_is_true(json_object_get(command, "detach"));
	int rc = migrate_options_parse(command, &options, &why);
	if (rc == 0)
		rc = leave_allowed(c, &options, &why);
	if (rc == 0 && (rc = migration_open(&m, c->e, c->name, &options)))
		fail(&why, rc, "%s", strerror(-rc));
	if (rc) {
		send_error(client->fd, &why);
		return;
	}
	if (!claim(c, &m)) {
		fail(&why, -EBUSY, "%s is being migrated already", c->name);
		send_error(client->fd, &why);
		migration_close(&m);
		return;
	}
	r.done_fd = eventfd(0, EFD_CLOEXEC);
	rc = -pthread_create(&thread, NULL, run_main, &r);
	if (rc) {
		fail(&why, rc, "cannot start: %s", strerror(-rc));
		send_error(client->fd, &why);
		unclaim(c, NULL, false);
	} else {
		if (detached)
			send_json(client->fd, json_pack("{s:i, s:s}", "schema_version", 1, "result", "started"));
		watch(client, &r, detached);
		pthread_join(thread, NULL);
		json_t *report = migrate_report_json(&r.report);
		json_decref(r.report.leaves_destination);
		json_decref(r.report.carried);
		unclaim(c, report, !options.only_check);
		if (r.rc == 0)
			log_line("%s: moved to %s", c->name, options.to);
		else if (r.report.result != RESULT_POSSIBLE)
			log_line("%s: %s", c->name, r.report.failure.message);
		if (!detached)
			send_json(client->fd, json_incref(report));
		json_decref(report);
		/* Last: the process may end at once. */
		if (r.report.gone)
			enclave_set_moved(c->e, r.rc == -EOWNERDEAD);
	}
	close(r.done_fd);
	migration_close(&m);
}

static void cancel(struct client *client)
{
	struct control *c = client->c;
	struct failure why;
	pthread_mutex_lock(&c->lock);
	bool any = c->migration != NULL;
	if (any && atomic_load(&c->migration->handed_over)) {
		pthread_mutex_unlock(&c->lock);
		fail(&why, -EALREADY, "too late: %s runs at its new home already; its pages follow", c->name);
		send_error(client->fd, &why);
		return;
	}
	if (any)
		migration_cancel(c->migration);
	while (c->migration && !c->closing)
		pthread_cond_wait(&c->changed, &c->lock);
	const char *result = any && c->ended ? json_string_value(json_object_get(c->ended, "result")) : NULL;
	json_t *answer = result ? json_pack("{s:i, s:s}", "schema_version", 1, "result", result) : NULL;
	pthread_mutex_unlock(&c->lock);
	if (answer) {
		send_json(client->fd, answer);
		return;
	}
	fail(&why, -ENOENT, "%s is not being migrated", c->name);
	send_error(client->fd, &why);
}

/* Whoever asked while this process was stopped has been told that it does not answer: nothing may happen now. */
static bool hung_up(int fd)
{
	struct pollfd polled = {.fd = fd};
	return poll(&polled, 1, 0) > 0 && polled.revents & POLLHUP;
}

static void *client_main(void *context)
{
	struct client *client = context;
	struct control *c = client->c;
	char line[LINE_MAX_SIZE];
	struct failure why;
	if (read_line(client->fd, line, sizeof(line)) == 0 && !hung_up(client->fd)) {
		json_t *command = json_loads(line, 0, NULL);
		const char *name = json_string_value(json_object_get(command, "command"));
		if (name && !strcmp(name, "status"))
			send_json(client->fd, status_json(c));
		else if (name && !strcmp(name, "migrate"))
			migrate(client, command);
		else if (name && !strcmp(name, "cancel"))
			cancel(client);
		else {
			fail(&why, -EINVAL, "no such command");
			send_error(client->fd, &why);
		}
		json_decref(command);
	}
	close(client->fd);
	free(client);
	pthread_mutex_lock(&c->lock);
	c->clients--;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- the server ---- */

static void client_accept(struct control *c)
{
	pthread_t thread;
	struct client *client;
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	client = malloc(sizeof(*client));
	pthread_mutex_lock(&c->lock);
	bool room = client && c->clients < CLIENTS_MAX;
	c->clients += room;
	pthread_mutex_unlock(&c->lock);
	if (room) {
		*client = (struct client){c, fd};
		if (pthread_create(&thread, NULL, client_main, client) == 0) {
			pthread_detach(thread);
			return;
		}
		pthread_mutex_lock(&c->lock);
		c->clients--;
		pthread_mutex_unlock(&c->lock);
	}
	free(client);
	close(fd);
}

static void *server_main(void *context)
{
	struct control *c = context;
	for (;;) {
		struct pollfd polled[2] = {{.fd = c->listener, .events = POLLIN},
					   {.fd = c->wake_fd, .events = POLLIN}};
		poll(polled, 2, -1);
		if (polled[1].revents)
			return NULL;
		if (polled[0].revents)
			client_accept(c);
	}
}

/* Who has that socket now; 0: nobody, -EAGAIN: somebody who does not answer. */
static pid_t bearer_at(const char *path)
{
	int fd = socket_at(path, connect);
	if (fd < 0)
		return fd == -EAGAIN ? fd : 0;
	pid_t bearer = control_peer(fd);
	close(fd);
	return bearer;
}

/* Where it answers nobody yet. */
static int bind_beside(const char *path, char *temporary, size_t size, struct failure *why)
{
	snprintf(temporary, size, "%s.%d", path, getpid());
	unlink(temporary);
	mode_t mask = umask(0177);
	int fd = socket_at(temporary, bind);
	umask(mask);
	return fd < 0 ? fail(why, fd, "%s: %s", temporary, strerror(-fd)) : fd;
}

/* A socket under a name of its own first, so that it is never there without answering, and replaces another's
 * in one step. */
static int listen_at(struct control *c, pid_t replaces, struct failure *why)
{
	char temporary[sizeof(c->path) + 16];
	pid_t bearer = bearer_at(c->path);
	if (bearer && bearer != replaces)
		return fail(why, -EEXIST, "a program called %s runs here already: choose another with --name",
			    c->name);
	int fd = bind_beside(c->path, temporary, sizeof(temporary), why);
	if (fd < 0)
		return fd;
	if (listen(fd, CLIENTS_MAX) || rename(temporary, c->path)) {
		int rc = fail(why, -errno, "%s: %s", c->path, strerror(errno));
		unlink(temporary);
		close(fd);
		return rc;
	}
	c->listener = fd;
	return 0;
}

int control_possible(const char *name, struct failure *why)
{
	char path[sizeof(((struct control *)0)->path)], temporary[sizeof(path) + 16];
	int rc = control_path(name, path, sizeof(path) - 12, why);
	int fd = rc ? rc : bind_beside(path, temporary, sizeof(temporary), why);
	if (fd < 0)
		return fd;
	close(fd);
	unlink(temporary);
	return 0;
}

int control_open(const char *name, struct enclave *e, pid_t replaces, struct control **out, struct failure *why)
{
	struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return fail(why, -ENOMEM, "out of memory");
	int rc = control_path(name, c->path, sizeof(c->path) - 12, why);
	if (rc == 0) {
		snprintf(c->name, sizeof(c->name), "%s", name);
		rc = listen_at(c, replaces, why);
	}
	if (rc) {
		free(c);
		return rc;
	}
	c->e = e;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	c->wake_fd = eventfd(0, EFD_CLOEXEC);
	rc = -pthread_create(&c->server, NULL, server_main, c);
	if (rc) {
		unlink(c->path);
		close(c->listener);
		close(c->wake_fd);
		free(c);
		return fail(why, rc, "%s", strerror(-rc));
	}
	*out = c;
	return 0;
}

int control_open_numbered(const char *name, struct enclave *e, struct control **out, struct failure *why)
{
	char numbered[sizeof((*out)->name)];
	snprintf(numbered, sizeof(numbered), "%.48s.%d", name, getpid());
	return control_open(numbered, e, 0, out, why);
}

/* The name may be a later home's by now. */
static void unlink_own(const struct control *c)
{
	if (bearer_at(c->path) == getpid())
		unlink(c->path);
}

void control_close(struct control *c)
{
	uint64_t one = 1;
	if (!c)
		return;
	unlink_own(c);
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	if (c->migration)
		migration_program_ended(c->migration);
	pthread_cond_broadcast(&c->changed);
	while (c->clients)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		abort(); /* a fresh eventfd takes a one */
	pthread_join(c->server, NULL);
	close(c->listener);
	close(c->wake_fd);
	json_decref(c->last);
	json_decref(c->ended);
	free(c);
}
