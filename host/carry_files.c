/* SPDX-License-Identifier: Apache-2.0
 *
 * Files opened by path, standard streams, and locks. A file is opened again by
 * its path: both hosts see the same storage, as with virtual machines.
 */
#include "host/carry_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/fdinfo.h"

#define MEMORY_MAJOR 1 /* /dev/null and its kin */
#define FLAGS_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC)

static int path_of(int host_fd, char path[PATH_MAX])
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", host_fd);
	ssize_t size = readlink(link, path, PATH_MAX - 1);
	if (size < 0)
		return -errno;
	path[size] = 0;
	return 0;
}

/* Contents of /proc and /sys are the host's own and have no size to compare. */
static bool is_kernel_file(const char *path)
{
	return strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
}

int files_check(const struct inventory_file *f, struct bytes *paths, struct failure *why)
{
	struct stat st;
	char path[PATH_MAX];
	if (f->file->kind == FILE_STDIO)
		return 0;
	int r = path_of(f->host_fd, path);
	if (r || fstat(f->host_fd, &st) < 0)
		return fail(why, r ? r : -errno, "descriptor %d: the kernel does not tell its path", f->fd);
	if (st.st_nlink == 0 || path[0] != '/')
		return fail(why, -ENOTSUP,
			    "descriptor %d: %s is open but has no name any more, so it cannot be opened "
			    "at the destination; close it first",
			    f->fd, path);
	bool movable = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ||
		       (S_ISCHR(st.st_mode) && major(st.st_rdev) == MEMORY_MAJOR);
	if (!movable)
		return fail(why, -ENOTSUP, "descriptor %d: %s is a %s of this host and cannot move", f->fd,
			    path,
			    S_ISCHR(st.st_mode)	   ? "terminal or device"
			    : S_ISFIFO(st.st_mode) ? "named pipe"
						   : "device");
	bytes_put_u32(paths, st.st_mode & S_IFMT);
	bytes_put_string(paths, path);
	return paths->error;
}

/* The program runs on and may have removed the file meanwhile (a database's journal). Where its directory is
 * here, restoring decides: by then nothing changes any more. */
static bool may_be_gone(const char *path)
{
	char directory[PATH_MAX];
	struct stat st;
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path || (size_t)(slash - path) >= sizeof(directory))
		return false;
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
	return stat(directory, &st) == 0 && S_ISDIR(st.st_mode);
}

int files_expect(struct reader *in, struct failure *why)
{
	uint32_t type = reader_u32(in);
	char *path = reader_string(in, CARRY_PATH_MAX);
	if (!path)
		return fail(why, in->error, "the manifest is damaged (a path)");
	struct stat st = {0};
	int r = 0;
	if (stat(path, &st) < 0 && !(type == S_IFREG && may_be_gone(path)))
		r = fail(why, -errno,
			 "%s, which the program has open, is not here: %s; both hosts need the same storage",
			 path, strerror(errno));
	else if (st.st_mode && (st.st_mode & S_IFMT) != type)
		r = fail(why, -EINVAL,
			 "%s is not the same kind of file here; both hosts need the same storage", path);
	free(path);
	return r;
}

static int dump_locks(const struct fdinfo *info, struct bytes *out)
{
	bytes_put_u32(out, info->lock_count);
	for (unsigned i = 0; i < info->lock_count; i++) {
		bytes_put_u8(out, (uint8_t)info->lock[i].kind);
		bytes_put_u8(out, info->lock[i].write);
		bytes_put_u64(out, (uint64_t)info->lock[i].start);
		bytes_put_u64(out, (uint64_t)info->lock[i].size);
	}
	return out->error;
}

int files_dump(const struct inventory_file *f, struct bytes *out, struct failure *why)
{
	if (f->file->kind == FILE_STDIO) {
		bytes_put_u8(out, RECORD_STDIO);
		bytes_put_u32(out, f->file->creation);
		return out->error;
	}
	char path[PATH_MAX];
	struct stat st;
	struct fdinfo info;
	int r = path_of(f->host_fd, path);
	if (!r)
		r = fdinfo_read(f->host_fd, &info);
	if (!r && fstat(f->host_fd, &st) < 0)
		r = -errno;
	if (r)
		return fail(why, r, "descriptor %d: state of the file cannot be read: %s", f->fd,
			    strerror(-r));
	if (st.st_nlink == 0)
		return fail(why, -ENOTSUP, "descriptor %d: %s was removed while open", f->fd, path);
	bytes_put_u8(out, RECORD_PATH);
	bytes_put_string(out, path);
	bytes_put_u32(out, info.flags & ~(uint32_t)FLAGS_ONCE);
	bytes_put_u32(out, st.st_mode & S_IFMT);
	bytes_put_u64(out, S_ISREG(st.st_mode) && !is_kernel_file(path) ? (uint64_t)st.st_size : 0);
	bytes_put_u64(out, info.offset);
	return dump_locks(&info, out);
}

static int lock(int fd, const struct fdinfo_lock *l, bool take)
{
	if (l->kind == 'F') {
		int operation = !take ? LOCK_UN : l->write ? LOCK_EX : LOCK_SH;
		return flock(fd, operation | LOCK_NB) < 0 ? -errno : 0;
	}
	struct flock range = {.l_type = (short)(!take	   ? F_UNLCK
						: l->write ? F_WRLCK
							   : F_RDLCK),
			      .l_whence = SEEK_SET,
			      .l_start = l->start,
			      .l_len = l->size};
	return fcntl(fd, l->kind == 'O' ? F_OFD_SETLK : F_SETLK, &range) < 0 ? -errno : 0;
}

int files_unlock(int host_fd, struct fdinfo *taken)
{
	int r = fdinfo_read(host_fd, taken);
	for (unsigned i = 0; !r && i < taken->lock_count; i++)
		r = lock(host_fd, &taken->lock[i], false);
	return r;
}

int files_relock(int host_fd, const struct fdinfo *taken)
{
	int r = 0;
	for (unsigned i = 0; !r && i < taken->lock_count; i++)
		r = lock(host_fd, &taken->lock[i], true);
	return r;
}

static int restore_locks(int host_fd, struct reader *in)
{
	uint32_t count = reader_count(in, 18);
	for (; count; count--) {
		struct fdinfo_lock l = {.kind = (char)reader_u8(in), .write = reader_u8(in)};
		l.start = (int64_t)reader_u64(in);
		l.size = (int64_t)reader_u64(in);
		int r = in->error ? in->error : lock(host_fd, &l, true);
		if (r)
			return r;
	}
	return in->error;
}

static int restore_stdio(struct reader *in, struct made *out)
{
	uint32_t which = reader_u32(in);
	if (in->error || which > 2)
		return -EBADMSG;
	out->file = fdtable_file(FILE_STDIO);
	if (!out->file)
		return -ENOMEM;
	out->file->creation = which;
	out->host_fd = fcntl((int)which, F_DUPFD_CLOEXEC, 3);
	if (out->host_fd < 0)
		out->host_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return out->host_fd < 0 ? -errno : 0;
}

static int reopen(const char *path, struct reader *in, struct made *out, struct failure *why)
{
	uint32_t flags = reader_u32(in), type = reader_u32(in);
	uint64_t size = reader_u64(in), offset = reader_u64(in);
	struct stat st;
	out->host_fd = open(path, (int)((flags & ~(uint32_t)FLAGS_ONCE) | O_CLOEXEC));
	if (out->host_fd < 0 || fstat(out->host_fd, &st) < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	/* Another writer may have appended meanwhile; what the program has seen must be there. */
	if ((st.st_mode & S_IFMT) != type || (S_ISREG(st.st_mode) && (uint64_t)st.st_size < size))
		return fail(why, -ESTALE,
			    "%s is another file here (%llu bytes there, %llu here); both hosts need the same "
			    "storage",
			    path, (unsigned long long)size, (unsigned long long)st.st_size);
	if (offset && lseek(out->host_fd, (off_t)offset, SEEK_SET) < 0)
		return fail(why, -errno, "%s: offset: %s", path, strerror(errno));
	int r = restore_locks(out->host_fd, in);
	return r ? fail(why, r, "%s: a lock the program holds cannot be taken here: %s", path, strerror(-r))
		 : 0;
}

int files_restore(enum record record, struct reader *in, struct made *out, struct failure *why)
{
	if (record == RECORD_STDIO) {
		int r = restore_stdio(in, out);
		return r ? fail(why, r, "standard streams: %s", strerror(-r)) : 0;
	}
	char *path = reader_string(in, CARRY_PATH_MAX);
	if (!path)
		return fail(why, in->error, "the state is damaged (a path)");
	out->file = fdtable_file(FILE_OPENED);
	int r = out->file ? reopen(path, in, out, why) : fail(why, -ENOMEM, "out of memory");
	free(path);
	return r;
}
