/* SPDX-License-Identifier: Apache-2.0 */
#include "host/fdtable.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <linux/kcmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/posix_locks.h"

#define FD_MAX 1048576 /* fs.nr_open's default */
#define SENT_MAX 256

struct fdtable {
	pthread_mutex_t lock;
	struct descriptor **at; /* NULL: free */
	int size;
	int lowest_free; /* none below is free */
	uint64_t limit_soft, limit_hard;
	struct posix_locks *posix_locks;
	char *name[NAMES_MAX];
	unsigned name_count;
	atomic_uint pending; /* connections in any file's pending list */
	struct sent {	     /* the latest, in a ring */
		dev_t device;
		ino_t inode;
		int fd;
		enum file_kind kind;
		uint32_t pair, creation;
		uint64_t options;
		uint8_t shut;
		bool urgent;
	} sent[SENT_MAX];
	unsigned sent_next;
};

static int grow(struct fdtable *t, int needed)
{
	if (needed < t->size)
		return 0;
	int size = t->size ? t->size : 64;
	while (size <= needed)
		size *= 2;
	struct descriptor **at = realloc(t->at, (size_t)size * sizeof(*at));
	if (!at)
		return -ENOMEM;
	for (int i = t->size; i < size; i++)
		at[i] = NULL;
	t->at = at;
	t->size = size;
	return 0;
}

static struct descriptor *lookup(struct fdtable *t, int fd)
{
	return fd >= 0 && fd < t->size ? t->at[fd] : NULL;
}

static int find_free(struct fdtable *t, int lowest)
{
	bool from_start = lowest <= t->lowest_free;
	int fd = from_start ? t->lowest_free : lowest;
	while (lookup(t, fd))
		fd++;
	if (from_start)
		t->lowest_free = fd;
	return (uint64_t)fd < t->limit_soft ? fd : -EMFILE;
}

static void file_release(struct fdtable *t, struct file *f)
{
	if (f->references)
		return;
	for (unsigned i = 0; i < f->pending_count; i++)
		close(f->pending[i]);
	atomic_fetch_sub(&t->pending, f->pending_count);
	free(f->pending);
	if (f->bell)
		close(f->bell);
	while (f->ghost_count)
		close(f->ghost[--f->ghost_count]);
	free(f->ghost);
	free(f);
}

static int ghost_add(struct file *f, int host_fd)
{
	int *ghost = realloc(f->ghost, (f->ghost_count + 1) * sizeof(*ghost));
	if (!ghost)
		return -ENOMEM;
	f->ghost = ghost;
	ghost[f->ghost_count++] = host_fd;
	return 0;
}

static int descriptor_free(struct fdtable *t, struct descriptor *d)
{
	int r = 0;
	d->file->references--;
	if (d->watched && d->file->references && ghost_add(d->file, d->host_fd) == 0) {
		free(d);
		return 0;
	}
	/* The host's own 0, 1, 2 stay: this process, or its log, may still want them. */
	if (d->file->kind != FILE_STDIO || d->host_fd > 2)
		r = close(d->host_fd) < 0 ? -errno : 0;
	file_release(t, d->file);
	free(d);
	return r;
}

/* Enters host_fd at fd. Takes one reference of file. */
static int enter(struct fdtable *t, int fd, int host_fd, struct file *file, bool cloexec)
{
	struct descriptor *d = malloc(sizeof(*d));
	if (!d || grow(t, fd)) {
		free(d);
		return -ENOMEM;
	}
	*d = (struct descriptor){.host_fd = host_fd, .file = file, .cloexec = cloexec};
	file->references++;
	t->at[fd] = d;
	return fd;
}

static int leave(struct fdtable *t, int fd)
{
	struct descriptor *d = lookup(t, fd);
	if (!d)
		return -EBADF;
	posix_locks_closed(t->posix_locks, d->host_fd);
	t->at[fd] = NULL;
	if (fd < t->lowest_free)
		t->lowest_free = fd;
	if (d->users) {
		d->closed = true;
		return 0;
	}
	return descriptor_free(t, d);
}

struct file *fdtable_file(enum file_kind kind)
{
	struct file *f = calloc(1, sizeof(*f));
	if (f)
		f->kind = kind;
	return f;
}

void fdtable_file_free(struct fdtable *t, struct file *file)
{
	file_release(t, file);
}

static void enter_stdio(struct fdtable *t)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		struct file *f = fdtable_file(FILE_STDIO);
		if (f)
			f->creation = (uint32_t)fd;
		if (f && enter(t, fd, fd, f, false) < 0)
			free(f);
	}
}

int fdtable_create(struct fdtable **out)
{
	struct fdtable *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	int r = posix_locks_create(&t->posix_locks);
	if (r) {
		free(t);
		return r;
	}
	pthread_mutex_init(&t->lock, NULL);

	struct rlimit limit = {1024, 1024};
	getrlimit(RLIMIT_NOFILE, &limit);
	t->limit_soft = limit.rlim_cur;
	t->limit_hard = limit.rlim_max < FD_MAX ? limit.rlim_max : FD_MAX;
	/* The host's own descriptors must not eat the program's: it gets what it may raise itself to. */
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);

	enter_stdio(t);
	*out = t;
	return 0;
}

void fdtable_reset(struct fdtable *t, bool with_stdio)
{
	pthread_mutex_lock(&t->lock);
	for (int fd = 0; fd < t->size; fd++)
		if (t->at[fd])
			leave(t, fd);
	t->lowest_free = 0;
	posix_locks_reset(t->posix_locks); /* of files the program has no descriptor of here */
	if (with_stdio)
		enter_stdio(t);
	pthread_mutex_unlock(&t->lock);
}

void fdtable_destroy(struct fdtable *t)
{
	if (!t)
		return;
	for (int fd = 0; fd < t->size; fd++)
		if (t->at[fd])
			leave(t, fd);
	posix_locks_destroy(t->posix_locks);
	while (t->name_count)
		free(t->name[--t->name_count]);
	free(t->at);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int fdtable_add_file(struct fdtable *t, int host_fd, struct file *f, bool cloexec)
{
	pthread_mutex_lock(&t->lock);
	int fd = f ? find_free(t, 0) : -ENOMEM;
	if (fd >= 0)
		fd = enter(t, fd, host_fd, f, cloexec);
	pthread_mutex_unlock(&t->lock);
	if (fd < 0) {
		close(host_fd);
		free(f);
	}
	return fd;
}

int fdtable_add(struct fdtable *t, int host_fd, enum file_kind kind, bool cloexec)
{
	return fdtable_add_file(t, host_fd, fdtable_file(kind), cloexec);
}

int fdtable_add_pair(struct fdtable *t, const int host_fd[2], enum file_kind kind, bool cloexec, int out[2])
{
	/* Random: it must not meet the pairs of a host this table moves to. */
	uint64_t pair = 0;
	if (getrandom(&pair, sizeof(pair), 0) != sizeof(pair))
		pair = (uintptr_t)&pair;
	for (int i = 0; i < 2; i++) {
		struct file *f = fdtable_file(kind);
		if (f)
			f->pair = pair;
		out[i] = fdtable_add_file(t, host_fd[i], f, cloexec);
		if (out[i] < 0) {
			if (i == 0)
				close(host_fd[1]);
			else
				fdtable_close(t, out[0]);
			return out[i];
		}
	}
	return 0;
}

int fdtable_room(struct fdtable *t)
{
	pthread_mutex_lock(&t->lock);
	int fd = find_free(t, 0);
	pthread_mutex_unlock(&t->lock);
	return fd;
}

/* A second host descriptor, so that the kernel's own rules for dup (epoll, locks) hold. */
static int dup_into(struct fdtable *t, struct descriptor *d, int fd, bool cloexec)
{
	int host_fd = fcntl(d->host_fd, F_DUPFD_CLOEXEC, 3);
	if (host_fd < 0)
		return -errno;
	int r = enter(t, fd, host_fd, d->file, cloexec);
	if (r < 0)
		close(host_fd);
	return r;
}

int fdtable_dup(struct fdtable *t, int fd, int lowest, bool cloexec)
{
	pthread_mutex_lock(&t->lock);
	struct descriptor *d = lookup(t, fd);
	int r = -EBADF;
	if (d && (lowest < 0 || (uint64_t)lowest >= t->limit_soft))
		r = -EINVAL;
	else if (d)
		r = find_free(t, lowest);
	if (r >= 0)
		r = dup_into(t, d, r, cloexec);
	pthread_mutex_unlock(&t->lock);
	return r;
}

int fdtable_dup_to(struct fdtable *t, int fd, int to, bool cloexec)
{
	pthread_mutex_lock(&t->lock);
	struct descriptor *d = lookup(t, fd);
	int r = to;
	if (!d || to < 0 || (uint64_t)to >= t->limit_soft) {
		r = -EBADF;
	} else if (fd != to) {
		leave(t, to);
		r = dup_into(t, d, to, cloexec);
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

int fdtable_close(struct fdtable *t, int fd)
{
	pthread_mutex_lock(&t->lock);
	int r = leave(t, fd);
	pthread_mutex_unlock(&t->lock);
	return r;
}

int fdtable_close_range(struct fdtable *t, unsigned first, unsigned last, bool cloexec_only)
{
	if (first > last)
		return -EINVAL;
	pthread_mutex_lock(&t->lock);
	for (unsigned fd = first; fd <= last && fd < (unsigned)t->size; fd++) {
		if (!t->at[fd])
			continue;
		if (cloexec_only)
			t->at[fd]->cloexec = true;
		else
			leave(t, (int)fd);
	}
	pthread_mutex_unlock(&t->lock);
	return 0;
}

/* ---- in messages ---- */

void fdtable_sent(struct fdtable *t, const struct descriptor *d, int fd)
{
	const struct file *f = d->file;
	struct stat st;
	if (fstat(d->host_fd, &st) < 0)
		return;
	pthread_mutex_lock(&t->lock);
	t->sent[t->sent_next++ % SENT_MAX] = (struct sent){.device = st.st_dev,
							   .inode = st.st_ino,
							   .fd = fd,
							   .kind = f->kind,
							   .pair = f->pair,
							   .creation = f->creation,
							   .options = f->options,
							   .shut = f->shut,
							   .urgent = f->urgent};
	pthread_mutex_unlock(&t->lock);
}

/* A kernel without kcmp(): a socket has its inode for itself. */
static bool is_same(const struct descriptor *d, int host_fd, const struct stat *st)
{
	struct stat own;
	if (!d || fstat(d->host_fd, &own) < 0 || own.st_dev != st->st_dev || own.st_ino != st->st_ino)
		return false;
	pid_t self = getpid();
	long r = syscall(SYS_kcmp, self, self, KCMP_FILE, d->host_fd, host_fd);
	return r < 0 ? S_ISSOCK(st->st_mode) : r == 0;
}

/* Under the lock. NULL: no number of the program's is the same. */
static struct file *same_file(struct fdtable *t, int host_fd, const struct stat *st)
{
	for (unsigned i = 0; i < SENT_MAX; i++)
		if (t->sent[i].inode == st->st_ino && is_same(lookup(t, t->sent[i].fd), host_fd, st))
			return t->at[t->sent[i].fd]->file;
	for (int fd = 0; fd < t->size; fd++)
		if (is_same(t->at[fd], host_fd, st))
			return t->at[fd]->file;
	return NULL;
}

static struct file *received_file(struct fdtable *t, int host_fd, const struct stat *st)
{
	char link[64], text[64] = "";
	snprintf(link, sizeof(link), "/proc/self/fd/%d", host_fd);
	ssize_t size = readlink(link, text, sizeof(text) - 1);
	text[size < 0 ? 0 : size] = 0;
	struct file *f = fdtable_file(S_ISSOCK(st->st_mode)		      ? FILE_SOCKET
				      : strncmp(text, "pipe:", 5) == 0		      ? FILE_PIPE
				      : strcmp(text, "anon_inode:[eventfd]") == 0   ? FILE_EVENTFD
				      : strcmp(text, "anon_inode:[timerfd]") == 0   ? FILE_TIMERFD
				      : strcmp(text, "anon_inode:[eventpoll]") == 0 ? FILE_EPOLL
										    : FILE_OPENED);
	if (f && f->kind == FILE_TIMERFD)
		f->creation = CLOCK_MONOTONIC; /* the enclave sends no others */
	for (unsigned i = 1; f && f->kind == FILE_SOCKET && i <= SENT_MAX; i++) {
		const struct sent *s = &t->sent[(t->sent_next - i) % SENT_MAX];
		if (s->inode != st->st_ino || s->device != st->st_dev)
			continue;
		f->kind = s->kind;
		f->pair = s->pair;
		f->creation = s->creation;
		f->options = s->options;
		f->shut = s->shut;
		f->urgent = s->urgent;
		f->touched = true;
		break;
	}
	return f;
}

int fdtable_add_received(struct fdtable *t, int host_fd, bool cloexec)
{
	struct stat st;
	int fd = fstat(host_fd, &st) < 0 ? -errno : 0;
	pthread_mutex_lock(&t->lock);
	struct file *f = fd < 0 ? NULL : same_file(t, host_fd, &st);
	if (!f && fd == 0)
		f = received_file(t, host_fd, &st);
	if (fd == 0)
		fd = f ? find_free(t, 0) : -ENOMEM;
	if (fd >= 0)
		fd = enter(t, fd, host_fd, f, cloexec);
	if (fd < 0 && f)
		file_release(t, f);
	pthread_mutex_unlock(&t->lock);
	if (fd < 0)
		close(host_fd);
	return fd;
}

void fdtable_bells(struct fdtable *t, uint64_t ring, uint64_t silence)
{
	uint64_t count = 1;
	pthread_mutex_lock(&t->lock);
	for (int fd = 0; fd < t->size && (ring | silence); fd++) {
		struct descriptor *d = t->at[fd];
		if (!d || d->file->kind != FILE_SIGNALFD)
			continue;
		uint64_t bit = 1ull << (d->file->creation & 63);
		struct pollfd p = {.fd = d->host_fd, .events = POLLIN};
		/* Nobody else reads it. */
		if (silence & bit && poll(&p, 1, 0) == 1 && read(d->host_fd, &count, sizeof(count)) < 0)
			count = 1;
		count = 1;
		if (ring & bit && write(d->host_fd, &count, sizeof(count)) < 0)
			count = 1;
		ring &= ~bit;
		silence &= ~bit;
	}
	pthread_mutex_unlock(&t->lock);
}

int fdtable_cloexec(struct fdtable *t, int fd)
{
	pthread_mutex_lock(&t->lock);
	struct descriptor *d = lookup(t, fd);
	int r = d ? d->cloexec : -EBADF;
	pthread_mutex_unlock(&t->lock);
	return r;
}

int fdtable_set_cloexec(struct fdtable *t, int fd, bool cloexec)
{
	pthread_mutex_lock(&t->lock);
	struct descriptor *d = lookup(t, fd);
	if (d)
		d->cloexec = cloexec;
	pthread_mutex_unlock(&t->lock);
	return d ? 0 : -EBADF;
}

void fdtable_note_name(struct fdtable *t, const char *path)
{
	static const char *const of_hosts[] = {"/etc/", "/usr/share/zoneinfo/", "/usr/share/locale/", "/usr/lib/locale/",
					       "/usr/share/i18n/"};
	bool of_host = false;
	for (unsigned i = 0; i < sizeof(of_hosts) / sizeof(of_hosts[0]); i++)
		of_host = of_host || strncmp(path, of_hosts[i], strlen(of_hosts[i])) == 0;
	if (!of_host)
		return;
	pthread_mutex_lock(&t->lock);
	unsigned i = 0;
	while (i < t->name_count && strcmp(t->name[i], path))
		i++;
	if (i == t->name_count && i < NAMES_MAX && (t->name[i] = strdup(path)))
		t->name_count++;
	pthread_mutex_unlock(&t->lock);
}

const char *fdtable_name(struct fdtable *t, unsigned i)
{
	pthread_mutex_lock(&t->lock);
	const char *name = i < t->name_count ? t->name[i] : NULL;
	pthread_mutex_unlock(&t->lock);
	return name;
}

struct posix_locks *fdtable_posix_locks(struct fdtable *t)
{
	return t->posix_locks;
}

void fdtable_limit(struct fdtable *t, uint64_t *soft, uint64_t *hard)
{
	pthread_mutex_lock(&t->lock);
	*soft = t->limit_soft;
	*hard = t->limit_hard;
	pthread_mutex_unlock(&t->lock);
}

int fdtable_set_limit(struct fdtable *t, uint64_t soft, uint64_t hard)
{
	int r = 0;
	pthread_mutex_lock(&t->lock);
	if (soft > hard)
		r = -EINVAL;
	else if (hard > t->limit_hard)
		r = -EPERM;
	if (!r) {
		t->limit_soft = soft;
		t->limit_hard = hard;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

struct descriptor *fdtable_borrow(struct fdtable *t, int fd)
{
	pthread_mutex_lock(&t->lock);
	struct descriptor *d = lookup(t, fd);
	if (d)
		d->users++;
	pthread_mutex_unlock(&t->lock);
	return d;
}

void fdtable_return(struct fdtable *t, struct descriptor *d)
{
	pthread_mutex_lock(&t->lock);
	if (--d->users == 0 && d->closed)
		descriptor_free(t, d);
	pthread_mutex_unlock(&t->lock);
}

int fdtable_pending_take(struct fdtable *t, struct file *file)
{
	int fd = -EAGAIN;
	pthread_mutex_lock(&t->lock);
	if (file->pending_count) {
		fd = file->pending[0];
		file->pending_count--;
		atomic_fetch_sub(&t->pending, 1);
		for (unsigned i = 0; i < file->pending_count; i++)
			file->pending[i] = file->pending[i + 1];
		if (!file->pending_count && file->bell) {
			close(file->bell); /* and so it leaves all sets */
			file->bell = 0;
		}
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

int fdtable_pending_add(struct fdtable *t, struct file *file, int host_fd)
{
	pthread_mutex_lock(&t->lock);
	int *pending = realloc(file->pending, (file->pending_count + 1) * sizeof(*pending));
	if (pending) {
		file->pending = pending;
		pending[file->pending_count++] = host_fd;
		atomic_fetch_add(&t->pending, 1);
	}
	pthread_mutex_unlock(&t->lock);
	return pending ? 0 : -ENOMEM;
}

void fdtable_pending_watch(struct fdtable *t, struct file *file, int epoll_fd, int operation,
			   const struct epoll_event *event)
{
	pthread_mutex_lock(&t->lock);
	if (file->pending_count && !file->bell) {
		int bell = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
		file->bell = bell < 0 ? 0 : bell;
	}
	/* Fails where the set knew nothing of it, which is as it should be. */
	if (file->bell)
		epoll_ctl(epoll_fd, operation, file->bell, (struct epoll_event *)event);
	pthread_mutex_unlock(&t->lock);
}

int fdtable_ghost_add(struct fdtable *t, struct file *file, int host_fd)
{
	pthread_mutex_lock(&t->lock);
	int r = ghost_add(file, host_fd);
	pthread_mutex_unlock(&t->lock);
	if (r)
		close(host_fd);
	return r;
}

bool fdtable_pending_any(const struct fdtable *t)
{
	return atomic_load_explicit(&t->pending, memory_order_relaxed) != 0;
}

int fdtable_next(struct fdtable *t, int fd, struct descriptor **out)
{
	pthread_mutex_lock(&t->lock);
	while (fd < t->size && !t->at[fd])
		fd++;
	int r = fd < t->size ? fd : -1;
	*out = r < 0 ? NULL : t->at[r];
	pthread_mutex_unlock(&t->lock);
	return r;
}

int fdtable_put(struct fdtable *t, int fd, int host_fd, struct file *file, bool cloexec)
{
	int r = -EBADMSG;
	pthread_mutex_lock(&t->lock);
	if (fd >= 0 && fd < FD_MAX && !lookup(t, fd))
		r = enter(t, fd, host_fd, file, cloexec);
	pthread_mutex_unlock(&t->lock);
	if (r < 0) {
		close(host_fd);
		if (!file->references)
			file_release(t, file);
	}
	return r < 0 ? r : 0;
}
