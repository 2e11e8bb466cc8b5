/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that make, copy or close descriptors. Host descriptors are always
 * close-on-exec (hooks must not inherit them); the program's own flag is kept
 * in the table.
 */
#include "host/ocall_request.h"
#include "host/posix_locks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

/* The program's descriptor that a path under /proc/self/fd or /dev/fd names, by the host's number in out; else path. */
static const char *own_descriptor(struct request *r, const char *path, char out[64])
{
	static const char *const names[] = {"/proc/self/fd/", "/dev/fd/"};
	static const char *const streams[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
	long fd = -1;
	char *end;
	if (!path)
		return path;
	for (unsigned i = 0; i < 2; i++)
		if (strncmp(path, names[i], strlen(names[i])) == 0) {
			fd = strtol(path + strlen(names[i]), &end, 10);
			if (*end || end == path + strlen(names[i]) || fd < 0 || fd > INT_MAX)
				return path;
		}
	for (int i = 0; i < 3; i++)
		if (strcmp(path, streams[i]) == 0)
			fd = i;
	if (fd < 0)
		return path;
	struct descriptor *d = fdtable_borrow(r->fds, (int)fd);
	if (!d)
		return "/proc/self/fd/none";
	snprintf(out, 64, "/proc/self/fd/%d", d->host_fd);
	fdtable_return(r->fds, d);
	return out;
}

long call_readlink(struct request *r)
{
	bool at = r->nr == SYS_readlinkat;
	char own[64];
	return request_direct(SYS_readlinkat, at ? r->arg[0] : AT_FDCWD,
			      (long)own_descriptor(r, (const char *)r->arg[at ? 1 : 0], own), r->arg[at ? 2 : 1],
			      r->arg[at ? 3 : 2], 0, 0);
}

long call_memfd(struct request *r)
{
	long flags = r->arg[1], fd = request_direct(SYS_memfd_create, r->arg[0], flags | MFD_CLOEXEC, 0, 0, 0, 0);
	return fd < 0 ? fd : fdtable_add(r->fds, (int)fd, FILE_OPENED, flags & MFD_CLOEXEC);
}

long call_open(struct request *r)
{
	long directory = AT_FDCWD, path = r->arg[0], flags = r->arg[1], mode = r->arg[2];
	if (r->nr == SYS_openat) {
		directory = r->arg[0];
		path = r->arg[1];
		flags = r->arg[2];
		mode = r->arg[3];
	} else if (r->nr == SYS_creat) {
		flags = O_CREAT | O_WRONLY | O_TRUNC;
		mode = r->arg[1];
	}
	/* A full table must be noticed before a file is created or truncated. */
	int room = fdtable_room(r->fds);
	if (room < 0)
		return room;
	char own[64];
	path = (long)own_descriptor(r, (const char *)path, own);
	long fd = request_blocking(r, SYS_openat, directory, path, flags | O_CLOEXEC, mode, 0, 0);
	if (fd >= 0 && (flags & O_ACCMODE) == O_RDONLY)
		fdtable_note_name(r->fds, (const char *)path);
	return fd < 0 ? fd : fdtable_add(r->fds, (int)fd, FILE_OPENED, flags & O_CLOEXEC);
}

long call_close(struct request *r)
{
	return fdtable_close(r->fds, (int)r->arg[0]);
}

long call_close_range(struct request *r)
{
	if (r->arg[2] & ~(long)(CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE))
		return -EINVAL;
	return fdtable_close_range(r->fds, (unsigned)r->arg[0], (unsigned)r->arg[1],
				   r->arg[2] & CLOSE_RANGE_CLOEXEC);
}

long call_dup(struct request *r)
{
	int from = (int)r->arg[0], to = (int)r->arg[1];
	switch (r->nr) {
	case SYS_dup:
		return fdtable_dup(r->fds, from, 0, false);
	case SYS_dup2:
		return fdtable_dup_to(r->fds, from, to, false);
	default:
		if (r->arg[2] & ~(long)O_CLOEXEC || from == to)
			return -EINVAL;
		return fdtable_dup_to(r->fds, from, to, r->arg[2] & O_CLOEXEC);
	}
}

/* The descriptor argument was translated: what concerns the table needs the program's number. */
static int program_fd(const struct request *r)
{
	return (int)r->thread->area->arg[0];
}

/* F_SETLK and its kin: the program's own, see host/posix_locks.h. */
static long posix_lock(struct request *r, int command, struct flock *app)
{
	int host_fd = (int)r->arg[0], mode = fcntl(host_fd, F_GETFL) & O_ACCMODE;
	struct flock lock = *app;
	if (command != F_GETLK && ((lock.l_type == F_RDLCK && mode == O_WRONLY) || (lock.l_type == F_WRLCK && mode == O_RDONLY)))
		return -EBADF;
	int fd = posix_locks_of(fdtable_posix_locks(r->fds), host_fd);
	if (fd == -ENOENT) /* no regular file: the kernel says what it thinks of it */
		return request_direct(SYS_fcntl, host_fd, command, (long)app, 0, 0, 0);
	if (fd < 0)
		return -ENOLCK;
	if (lock.l_whence == SEEK_CUR) {
		lock.l_whence = SEEK_SET;
		lock.l_start += lseek(host_fd, 0, SEEK_CUR);
	}
	lock.l_pid = 0;
	long result = command == F_SETLKW ? request_blocking(r, SYS_fcntl, fd, F_OFD_SETLKW, (long)&lock, 0, 0, 0)
		      : request_direct(SYS_fcntl, fd, command == F_SETLK ? F_OFD_SETLK : F_OFD_GETLK, (long)&lock, 0, 0, 0);
	close(fd);
	if (command == F_GETLK && result >= 0 && lock.l_type == F_UNLCK)
		app->l_type = F_UNLCK;
	else if (command == F_GETLK && result >= 0)
		*app = lock;
	return result == -EBADF ? -ENOLCK : result;
}

/* After they are set: noted before, a move could read the old ones in between and take them for these. */
static void note_flags(struct request *r)
{
	atomic_store(&r->borrowed[0]->file->touched, true);
}

long call_fcntl(struct request *r)
{
	long value = r->arg[2];
	switch ((int)r->arg[1]) {
	case F_DUPFD:
		return fdtable_dup(r->fds, program_fd(r), (int)value, false);
	case F_DUPFD_CLOEXEC:
		return fdtable_dup(r->fds, program_fd(r), (int)value, true);
	case F_GETFD:
		return fdtable_cloexec(r->fds, program_fd(r)) ? FD_CLOEXEC : 0;
	case F_SETFD:
		return fdtable_set_cloexec(r->fds, program_fd(r), value & FD_CLOEXEC);
	case F_SETFL:
		value &= ~(long)O_ASYNC; /* would signal this process, not the program: the enclave asks for none */
		break;
	case F_SETLK:
	case F_SETLKW:
	case F_GETLK:
		return posix_lock(r, (int)r->arg[1], (struct flock *)value);
	case F_OFD_SETLKW:
		return request_blocking(r, SYS_fcntl, r->arg[0], r->arg[1], value, 0, 0, 0);
	case F_GETFL:
	case F_OFD_SETLK:
	case F_OFD_GETLK:
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
	case F_ADD_SEALS:
	case F_GET_SEALS:
		break;
	default:
		return -EINVAL;
	}
	long result = request_direct(SYS_fcntl, r->arg[0], r->arg[1], value, 0, 0, 0);
	if ((int)r->arg[1] == F_SETFL)
		note_flags(r);
	return result;
}

long call_ioctl(struct request *r)
{
	unsigned request = (unsigned)r->arg[1];
	long result;
	switch (request) {
	case FIOCLEX:
	case FIONCLEX:
		return fdtable_set_cloexec(r->fds, program_fd(r), request == FIOCLEX);
	case FIONBIO:
	case FIONREAD:
	case TIOCOUTQ:
	case TCGETS:
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
	case TIOCGWINSZ:
	case TIOCGPGRP:
	case SIOCGIFNAME:
	case SIOCGIFBRDADDR:
	case SIOCGIFINDEX:
	case SIOCGIFFLAGS:
	case SIOCGIFADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFHWADDR:
	case SIOCGIFMTU:
		result = request_direct(SYS_ioctl, r->arg[0], request, r->arg[2], 0, 0, 0);
		if (request == FIONBIO)
			note_flags(r);
		return result;
	default:
		/* Others may hold pointers that nobody has translated. */
		return -ENOTTY;
	}
}

long call_pipe(struct request *r)
{
	long flags = r->nr == SYS_pipe2 ? r->arg[1] : 0;
	int host_fd[2], fd[2];
	if (pipe2(host_fd, (int)flags | O_CLOEXEC) < 0)
		return -errno;
	int error = fdtable_add_pair(r->fds, host_fd, FILE_PIPE, flags & O_CLOEXEC, fd);
	if (!error)
		memcpy((void *)r->arg[0], fd, sizeof(fd));
	return error;
}

/* Keeps what the kernel will not tell later. */
static long add_created(struct request *r, int host_fd, enum file_kind kind, bool cloexec, uint32_t creation)
{
	if (host_fd < 0)
		return -errno;
	struct file *f = fdtable_file(kind);
	if (f)
		f->creation = creation;
	return fdtable_add_file(r->fds, host_fd, f, cloexec);
}

long call_eventfd(struct request *r)
{
	int flags = r->nr == SYS_eventfd2 ? (int)r->arg[1] : 0;
	return add_created(r, eventfd((unsigned)r->arg[0], flags | EFD_CLOEXEC), FILE_EVENTFD,
			   flags & EFD_CLOEXEC, (uint32_t)flags);
}

/* abi/call.h, SIGNALFDS_MAX */
long call_signalfd(struct request *r)
{
	int flags = r->arg[3] & SFD_NONBLOCK ? EFD_NONBLOCK : 0;
	if (r->arg[0] < 0 || r->arg[0] >= SIGNALFDS_MAX)
		return -EINVAL;
	return add_created(r, eventfd(0, flags | EFD_CLOEXEC), FILE_SIGNALFD, r->arg[3] & SFD_CLOEXEC,
			   (uint32_t)r->arg[0]);
}

long call_timerfd_create(struct request *r)
{
	int clock = (int)r->arg[0], flags = (int)r->arg[1];
	return add_created(r, timerfd_create(clock, flags | TFD_CLOEXEC), FILE_TIMERFD, flags & TFD_CLOEXEC,
			   (uint32_t)clock);
}
