/* SPDX-License-Identifier: Apache-2.0 */
#include "host/posix_locks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct locked_file {
	dev_t device;
	ino_t inode;
	int fd;
};

struct posix_locks {
	atomic_uint count;    /* read without the lock: mostly zero */
	pthread_mutex_t lock; /* protects the following */
	struct locked_file *file;
};

int posix_locks_create(struct posix_locks **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	pthread_mutex_init(&(*out)->lock, NULL);
	return 0;
}

void posix_locks_reset(struct posix_locks *l)
{
	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < l->count; i++)
		close(l->file[i].fd);
	atomic_store(&l->count, 0);
	free(l->file);
	l->file = NULL;
	pthread_mutex_unlock(&l->lock);
}

void posix_locks_destroy(struct posix_locks *l)
{
	if (!l)
		return;
	posix_locks_reset(l);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static struct locked_file *find(struct posix_locks *l, const struct stat *st)
{
	for (unsigned i = 0; i < l->count; i++)
		if (l->file[i].inode == st->st_ino && l->file[i].device == st->st_dev)
			return &l->file[i];
	return NULL;
}

static int add(struct posix_locks *l, const struct stat *st, int fd)
{
	struct locked_file *file = realloc(l->file, (l->count + 1) * sizeof(*file));
	if (!file)
		return -ENOMEM;
	l->file = file;
	file[l->count] = (struct locked_file){st->st_dev, st->st_ino, fd};
	atomic_fetch_add(&l->count, 1);
	return 0;
}

/* For reading and writing if it can be: a later lock may need what this descriptor does not. */
static int open_again(int host_fd)
{
	static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
	char path[64];
	int fd = -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", host_fd);
	for (unsigned i = 0; fd < 0 && i < sizeof(modes) / sizeof(modes[0]); i++)
		fd = open(path, modes[i] | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

int posix_locks_of(struct posix_locks *l, int host_fd)
{
	struct stat st;
	if (fstat(host_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	pthread_mutex_lock(&l->lock);
	const struct locked_file *f = find(l, &st);
	int fd = f ? f->fd : open_again(host_fd);
	if (!f && fd >= 0) {
		int r = add(l, &st, fd);
		if (r) {
			close(fd);
			fd = r;
		}
	}
	if (fd >= 0) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		fd = fd < 0 ? -errno : fd;
	}
	pthread_mutex_unlock(&l->lock);
	return fd;
}

void posix_locks_closed(struct posix_locks *l, int host_fd)
{
	struct stat st;
	if (atomic_load(&l->count) == 0 || fstat(host_fd, &st) < 0)
		return;
	pthread_mutex_lock(&l->lock);
	struct locked_file *f = find(l, &st);
	if (f) {
		close(f->fd);
		*f = l->file[l->count - 1];
		atomic_fetch_sub(&l->count, 1);
	}
	pthread_mutex_unlock(&l->lock);
}

int posix_locks_at(struct posix_locks *l, unsigned i)
{
	pthread_mutex_lock(&l->lock);
	int fd = i < l->count ? l->file[i].fd : -1;
	pthread_mutex_unlock(&l->lock);
	return fd;
}

int posix_locks_put(struct posix_locks *l, int lock_fd)
{
	struct stat st;
	int r = fstat(lock_fd, &st) < 0 ? -errno : 0;
	pthread_mutex_lock(&l->lock);
	if (!r)
		r = find(l, &st) ? -EEXIST : add(l, &st, lock_fd);
	pthread_mutex_unlock(&l->lock);
	if (r)
		close(lock_fd);
	return r;
}
