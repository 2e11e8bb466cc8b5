/* SPDX-License-Identifier: Apache-2.0
 *
 * Files opened by path, standard streams. A file is opened again by
 * its path: both hosts see the same storage, as with virtual machines. One that
 * has no name any more goes with its content, or, as one with locks
 * (host/carry/locks.c), as it is (host/carry/meeting.h).
 */
#include "host/carry/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host/carry/meeting.h"
#include "host/fdinfo.h"

#define MEMORY_MAJOR 1 /* /dev/null and its kin */
#define TMPFILE_FLAG (O_TMPFILE & ~O_DIRECTORY)
#define FLAGS_ONCE (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | O_CLOEXEC | TMPFILE_FLAG)
#define SETTLED_S 2	 /* a file that has been there for so long is no journal of the moment */
#define SHIP_MAX (16u << 20) /* content of files without a name: it is sent while the program stands still   \
			      */

/* What is read under /proc/self and means the same of the process at the other side. */
static const char *const of_process[] = {
    "stat",   "statm",	"status",    "cmdline", "comm",		 "environ", "maps", "smaps", "smaps_rollup",
    "limits", "mounts", "mountinfo", "cgroup",	"oom_score_adj", "io",	    "auxv", "exe",   NULL};

static bool in_list(const char *const *list, const char *name)
{
	while (*list && strcmp(*list, name))
		list++;
	return *list != NULL;
}

/* The process's own files are named by its number, which is another one there. */
static void proc_self(char path[PATH_MAX])
{
	char own[32], rest[PATH_MAX];
	int n = snprintf(own, sizeof(own), "/proc/%d/", (int)getpid());
	if (strncmp(path, own, (size_t)n) != 0)
		return;
	snprintf(rest, sizeof(rest), "%s", path + n);
	snprintf(path, PATH_MAX, "/proc/self/%.4000s", rest);
}

int files_path(int host_fd, char path[PATH_MAX])
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", host_fd);
	ssize_t size = readlink(link, path, PATH_MAX - 1);
	if (size < 0)
		return -errno;
	path[size] = 0;
	proc_self(path);
	return 0;
}

/* Contents of /proc and /sys are the host's own and have no size to compare. */
static bool is_kernel_file(const char *path)
{
	return strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0;
}

/* "/proc/17/stat": another process's. */
static bool is_of_process(const char *path)
{
	return strncmp(path, "/proc/", 6) == 0 && path[6] >= '0' && path[6] <= '9';
}

static bool is_memory_device(const struct stat *st)
{
	static const unsigned minors =
	    1u << 3 | 1u << 5 | 1u << 7 | 1u << 8 | 1u << 9; /* null zero full random urandom */
	return S_ISCHR(st->st_mode) && major(st->st_rdev) == MEMORY_MAJOR && minor(st->st_rdev) < 32 &&
	       minors >> minor(st->st_rdev) & 1;
}

static const char *kind_of(const struct stat *st)
{
	return S_ISREG(st->st_mode)    ? "file"
	       : S_ISDIR(st->st_mode)  ? "directory"
	       : S_ISFIFO(st->st_mode) ? "named pipe"
	       : S_ISCHR(st->st_mode)  ? "terminal or device"
				       : "device";
}

static bool has_name(const struct stat *st, const char *path)
{
	return st->st_nlink > 0 && path[0] == '/';
}

/* Its other names nobody can tell; made anew, it would be another file than they are. */
static bool has_other_name_only(const char *path)
{
	static const char removed[] = " (deleted)";
	size_t size = strlen(path), tail = sizeof(removed) - 1;
	struct stat st;
	return size > tail && strcmp(path + size - tail, removed) == 0 && lstat(path, &st) < 0;
}

/* ---- preflight ---- */

/* A directory both sides see, where this side may make a socket: one of a file that the program writes. */
static void offer_meeting(int host_fd, const char *path, struct meeting *meeting)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int mode = fcntl(host_fd, F_GETFL) & O_ACCMODE;
	if (meeting->listener >= 0 || !slash || mode == O_RDONLY || is_kernel_file(path) ||
	    strncmp(path, "/dev/", 5) == 0)
		return;
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path), path);
	meeting_offer(meeting, directory);
}

static void put_version(struct bytes *out, const struct stat *st, const char *path, bool compare)
{
	bool regular = S_ISREG(st->st_mode) && !is_kernel_file(path);
	bytes_put_u8(out, compare && regular);
	bytes_put_u64(out, (uint64_t)st->st_size);
	bytes_put_u64(out, st->st_ino);
	bytes_put_u64(out, (uint64_t)st->st_mtim.tv_sec);
	bytes_put_u64(out, (uint64_t)st->st_mtim.tv_nsec);
}

/* Where a file system does not say when a file was made, none is. */
static bool is_settled(int host_fd)
{
	struct statx made;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return statx(host_fd, "", AT_EMPTY_PATH, STATX_BTIME, &made) == 0 && made.stx_mask & STATX_BTIME &&
	       made.stx_btime.tv_sec + SETTLED_S < now.tv_sec;
}

int files_check(const struct inventory_file *f, const struct hand_over *h, struct files_need *need,
		struct failure *why)
{
	struct stat st;
	struct fdinfo info;
	char path[PATH_MAX];
	if (f->file->kind == FILE_STDIO)
		return 0;
	int r = files_path(f->host_fd, path);
	if (!r)
		r = fdinfo_read(f->host_fd, &info);
	if (r || fstat(f->host_fd, &st) < 0)
		return fail(why, r ? r : -errno, "descriptor %d: the kernel does not tell its path", f->fd);
	r = locks_need(&info, h, path, need, why);
	if (r)
		return r;
	if (!has_name(&st, path)) {
		if (!S_ISREG(st.st_mode))
			return fail(why, -ENOTSUP, "descriptor %d: %s is a %s without a name and cannot move",
				    f->fd, path, kind_of(&st));
		need->unnamed++;
		need->unnamed_size += (uint64_t)st.st_blocks * 512;
		if (strncmp(path, "/memfd:", 7) != 0)
			offer_meeting(f->host_fd, path, h->offered);
		return 0;
	}
	if (!info.lock_count && has_other_name_only(path)) /* one with locks may be handed over */
		return fail(why, -ENOENT,
			    "descriptor %d: the name it was opened by is gone, and the file has another name: %s; it can move "
			    "once the program has closed it",
			    f->fd, path);
	const char *own = strncmp(path, "/proc/self/", 11) == 0 ? path + 11 : NULL;
	bool movable = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || is_memory_device(&st);
	if (!movable || is_of_process(path) || (own && !in_list(of_process, own)))
		return fail(why, -ENOTSUP, "descriptor %d: %s is a %s of this host and cannot move", f->fd,
			    path, kind_of(&st));
	if (h->file_locks && S_ISREG(st.st_mode))
		offer_meeting(f->host_fd, path, h->offered);
	need->path_count++;
	bytes_put_u32(&need->paths, st.st_mode & S_IFMT);
	bytes_put_string(&need->paths, path);
	put_version(&need->paths, &st, path, h->compare);
	bytes_put_u8(&need->paths, is_settled(f->host_fd));
	return need->paths.error;
}

const char *files_describe(const struct inventory_file *f, const struct hand_over *h, char *what, size_t size)
{
	static const char *const streams[] = {"standard input", "standard output", "standard error"};
	char path[PATH_MAX];
	struct stat st;
	struct fdinfo info;
	if (f->file->kind == FILE_STDIO) {
		snprintf(what, size, "%s", streams[f->file->creation % 3]);
		return "stays: there it is that of optmig receive";
	}
	if (files_path(f->host_fd, path) || fstat(f->host_fd, &st) < 0 || fdinfo_read(f->host_fd, &info)) {
		snprintf(what, size, "a file");
		return "not at all";
	}
	bool named = has_name(&st, path);
	snprintf(what, size, "%s%s", path, info.lock_count ? ", locked" : "");
	if (!S_ISREG(st.st_mode) || (named && !info.lock_count))
		return is_kernel_file(path) ? "opened again, that host's" : "opened again by its path";
	if (h->offered && h->offered->listener >= 0)
		return named ? "handed over, or opened again and its locks taken there"
			     : "handed over, or sent with its content";
	return named ? "opened again, its locks taken there" : "sent with its content";
}

int files_check_alone(const struct files_need *need, struct failure *why)
{
	if (need->unnamed_size > SHIP_MAX)
		return fail(why, -EFBIG,
			    "the program has files open that have no name any more (deleted, or never "
			    "named), %llu MB: "
			    "content goes along up to %u MB; close them first",
			    (unsigned long long)need->unnamed_size >> 20, SHIP_MAX >> 20);
	return 0;
}

/* The program runs on and may have removed a file it has just made (a database's journal). Where its directory is
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

/* What the program saw of the file at the source. */
struct version {
	uint8_t compare;
	uint64_t size, inode;
	struct timespec modified;
};

static struct version get_version(struct reader *in)
{
	struct version v = {.compare = reader_u8(in)};
	v.size = reader_u64(in);
	v.inode = reader_u64(in);
	v.modified.tv_sec = (time_t)reader_u64(in);
	v.modified.tv_nsec = (long)reader_u64(in);
	return v;
}

/* Is what is here the same file, as the program saw it or later? On shared storage it has the same number,
 * and others may have written to it since; a copy has the same time and size. (While the program still runs
 * it may itself shorten it.) */
static bool same_version(const struct version *v, const struct stat *st, bool standing_still)
{
	const struct timespec *seen = &v->modified, *here = &st->st_mtim;
	bool equal = seen->tv_sec == here->tv_sec && seen->tv_nsec == here->tv_nsec;
	bool later =
	    here->tv_sec > seen->tv_sec || (here->tv_sec == seen->tv_sec && here->tv_nsec >= seen->tv_nsec);
	bool long_enough = (uint64_t)st->st_size >= v->size;
	return !v->compare || (equal && (uint64_t)st->st_size == v->size) ||
	       (v->inode == st->st_ino && later && (long_enough || !standing_still));
}

static int another_file(const char *path, const struct version *v, const struct stat *st, struct failure *why)
{
	return fail(why, -ESTALE,
		    "%s is another file here (%llu bytes there, %llu here, %s); both hosts need the same "
		    "storage, or, "
		    "with --files ignore, files the program takes for the same",
		    path, (unsigned long long)v->size, (unsigned long long)st->st_size,
		    v->modified.tv_sec == st->st_mtim.tv_sec && v->modified.tv_nsec == st->st_mtim.tv_nsec
			? "of the same time"
		    : st->st_mtim.tv_sec < v->modified.tv_sec ? "older"
							      : "of another time");
}

int files_expect(struct reader *in, struct failure *why)
{
	uint32_t type = reader_u32(in);
	char *path = reader_string(in, CARRY_PATH_MAX);
	struct version v = get_version(in);
	bool passing = !reader_u8(in) && type == S_IFREG;
	if (!path || in->error) {
		free(path);
		return fail(why, -EBADMSG, "the manifest is damaged (a path)");
	}
	struct stat st = {0};
	int r = 0;
	if (stat(path, &st) < 0 && !(passing && may_be_gone(path)))
		r = fail(why, -errno,
			 "%s, which the program has open, is not here: %s; both hosts need the same storage",
			 path, strerror(errno));
	else if (st.st_mode && (st.st_mode & S_IFMT) != type)
		r = fail(why, -EINVAL,
			 "%s is not the same kind of file here; both hosts need the same storage", path);
	else if (st.st_mode && !same_version(&v, &st, false))
		r = another_file(path, &v, &st, why);
	free(path);
	return r;
}

void names_put(struct fdtable *fds, bool compare, struct bytes *out)
{
	const char *name;
	uint32_t count = 0;
	while (compare && fdtable_name(fds, count))
		count++;
	bytes_put_u32(out, count);
	for (uint32_t i = 0; i < count && (name = fdtable_name(fds, i)); i++)
		bytes_put_string(out, name);
}

int names_expect(struct fdtable *fds, struct reader *in, struct failure *why)
{
	int r = 0;
	for (uint32_t count = reader_count(in, 4); !r && count; count--) {
		char *name = reader_string(in, CARRY_PATH_MAX);
		if (!name)
			return fail(why, -EBADMSG, "the manifest is damaged (a name)");
		if (access(name, R_OK) < 0)
			r = fail(why, -errno, "%s, which the program has read and may read again, is not here: %s", name,
				 strerror(errno));
		else
			fdtable_note_name(fds, name);
		free(name);
	}
	return r;
}

/* ---- at the source ---- */

int hand_over_add(struct hand_over *h, int fd, uint32_t *index)
{
	int *all = realloc(h->fd, (h->count + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	h->fd = all;
	*index = h->count;
	all[h->count++] = fd;
	return 0;
}

static int dump_handed(const struct inventory_file *f, struct hand_over *h, struct bytes *out)
{
	uint32_t index;
	int r = hand_over_add(h, f->host_fd, &index);
	bytes_put_u8(out, RECORD_HANDED);
	bytes_put_u32(out, index);
	return r ? r : out->error;
}

/* What is not a hole. */
static int dump_content(int fd, off_t size, uint64_t *shipped, struct bytes *out)
{
	size_t count_at = out->size;
	uint32_t count = 0;
	bytes_put_u32(out, 0);
	for (off_t at = 0, end; at < size; at = end) {
		at = lseek(fd, at, SEEK_DATA);
		if (at < 0)
			break; /* a hole to the end */
		end = lseek(fd, at, SEEK_HOLE);
		if (end < 0 || end > size)
			end = size;
		*shipped += (uint64_t)(end - at);
		if (*shipped > SHIP_MAX)
			return -EFBIG;
		bytes_put_u64(out, (uint64_t)at);
		bytes_put_u32(out, (uint32_t)(end - at));
		uint8_t *data = bytes_extend(out, (size_t)(end - at));
		if (!data)
			return out->error;
		if (pread(fd, data, (size_t)(end - at), at) != end - at)
			return -EIO;
		count++;
	}
	if (!out->error)
		memcpy(out->data + count_at, &count, sizeof(count));
	return out->error;
}

static bool seen_before(struct hand_over *h, const struct stat *st)
{
	for (unsigned i = 0; i < h->unnamed_count; i++)
		if (h->unnamed[i].inode == st->st_ino && h->unnamed[i].device == st->st_dev)
			return true;
	return false;
}

static int dump_unnamed(const struct inventory_file *f, const char *path, const struct stat *st,
			const struct fdinfo *info, struct hand_over *h, struct bytes *out)
{
	char directory[PATH_MAX] = "", link[64];
	const char *slash = strrchr(path, '/');
	bool memory = strncmp(path, "/memfd:", 7) == 0, again = seen_before(h, st);
	if (slash && !memory)
		snprintf(directory, sizeof(directory), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	bytes_put_u8(out, RECORD_UNNAMED);
	bytes_put_u64(out, st->st_dev);
	bytes_put_u64(out, st->st_ino);
	bytes_put_u32(out, info->flags & ~(uint32_t)(FLAGS_ONCE | O_DIRECTORY));
	bytes_put_u64(out, info->offset);
	bytes_put_u8(out, !again);
	if (again)
		return out->error;
	if (h->unnamed_count == UNNAMED_MAX)
		return -E2BIG;
	h->unnamed[h->unnamed_count++] = (struct unnamed){st->st_dev, st->st_ino, -1};
	int seals = fcntl(f->host_fd, F_GET_SEALS);
	bytes_put_string(out, directory);
	bytes_put_u32(out, st->st_mode & 0777);
	bytes_put_u32(out, memory && seals > 0 ? (uint32_t)seals : 0);
	bytes_put_u64(out, (uint64_t)st->st_size);
	/* Through a descriptor of our own: its offset moves, and the program's may be for writing only. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", f->host_fd);
	int fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = dump_content(fd, st->st_size, &h->shipped, out);
	close(fd);
	return r;
}

int files_dump(const struct inventory_file *f, struct hand_over *h, struct bytes *out, struct failure *why)
{
	if (f->file->kind == FILE_STDIO) {
		bytes_put_u8(out, RECORD_STDIO);
		bytes_put_u32(out, f->file->creation);
		return out->error;
	}
	char path[PATH_MAX];
	struct stat st;
	struct fdinfo info;
	int r = files_path(f->host_fd, path);
	if (!r)
		r = fdinfo_read(f->host_fd, &info);
	if (!r && fstat(f->host_fd, &st) < 0)
		r = -errno;
	if (r)
		return fail(why, r, "descriptor %d: state of the file cannot be read: %s", f->fd,
			    strerror(-r));
	r = locks_refuse(&info, h, path, why);
	if (r)
		return r;
	bool named = has_name(&st, path);
	if ((info.lock_count || !named) && S_ISREG(st.st_mode) && h->meeting >= 0) {
		r = dump_handed(f, h, out);
		return r ? fail(why, r, "descriptor %d: %s", f->fd, strerror(-r)) : 0;
	}
	if (!named) {
		r = S_ISREG(st.st_mode) ? dump_unnamed(f, path, &st, &info, h, out) : -ENOTSUP;
		if (!r)
			locks_put(&info, out);
		return r ? fail(why, r, "descriptor %d: %s has no name and cannot go along: %s", f->fd, path,
				strerror(-r))
			 : 0;
	}
	bytes_put_u8(out, RECORD_PATH);
	bytes_put_string(out, path);
	bytes_put_u32(out, info.flags & ~(uint32_t)FLAGS_ONCE);
	bytes_put_u32(out, st.st_mode & S_IFMT);
	put_version(out, &st, path, h->compare);
	bytes_put_u64(out, info.offset);
	locks_put(&info, out);
	return out->error;
}

/* ---- at the destination ---- */

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
	struct version v = get_version(in);
	uint64_t offset = reader_u64(in);
	struct stat st;
	if (in->error)
		return fail(why, in->error, "the state is damaged (a file)");
	out->host_fd = open(path, (int)((flags & ~(uint32_t)FLAGS_ONCE) | O_CLOEXEC));
	if (out->host_fd < 0 || fstat(out->host_fd, &st) < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	if ((st.st_mode & S_IFMT) != type || !same_version(&v, &st, true))
		return another_file(path, &v, &st, why);
	if (offset && lseek(out->host_fd, (off_t)offset, SEEK_SET) < 0)
		return fail(why, -errno, "%s: offset: %s", path, strerror(errno));
	return locks_take(out->host_fd, path, in, why);
}

static int make_unnamed(struct reader *in, int *out)
{
	char *directory = reader_string(in, CARRY_PATH_MAX);
	uint32_t mode = reader_u32(in), seals = reader_u32(in);
	uint64_t size = reader_u64(in);
	uint32_t count = reader_count(in, 12);
	if (in->error || size > INT64_MAX) {
		free(directory);
		return -EBADMSG;
	}
	int fd = directory[0] ? open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 0777) : -1, r = 0;
	free(directory);
	if (fd < 0) /* memory will do, if that directory or its kind is not here */
		fd = memfd_create("moved", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0)
		r = -errno;
	for (; !r && count; count--) {
		uint64_t at = reader_u64(in);
		size_t part;
		const uint8_t *data = reader_block(in, &part);
		if (in->error || at > size || part > size - at)
			r = -EBADMSG;
		else if (pwrite(fd, data, part, (off_t)at) != (ssize_t)part)
			r = -EIO;
	}
	if (!r && seals && fcntl(fd, F_ADD_SEALS, seals) < 0)
		r = -errno;
	if (r)
		close(fd);
	else
		*out = fd;
	return r;
}

static int restore_unnamed(struct restore *restore, struct reader *in, struct made *out)
{
	char link[64];
	struct unnamed u = {.device = reader_u64(in), .fd = -1};
	u.inode = reader_u64(in);
	uint32_t flags = reader_u32(in);
	uint64_t offset = reader_u64(in);
	bool first = reader_u8(in);
	if (in->error)
		return in->error;
	for (unsigned i = 0; i < restore->unnamed_count; i++)
		if (restore->unnamed[i].device == u.device && restore->unnamed[i].inode == u.inode)
			u.fd = restore->unnamed[i].fd;
	if (first != (u.fd < 0) || (first && restore->unnamed_count == UNNAMED_MAX))
		return -EBADMSG;
	int r = first ? make_unnamed(in, &u.fd) : 0;
	if (r)
		return r;
	if (first)
		restore->unnamed[restore->unnamed_count++] = u;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", u.fd);
	out->host_fd = open(link, (int)((flags & ~(uint32_t)(FLAGS_ONCE | O_DIRECTORY)) | O_CLOEXEC));
	if (out->host_fd < 0 || (offset && lseek(out->host_fd, (off_t)offset, SEEK_SET) < 0))
		return -errno;
	return 0;
}

int files_handed(struct restore *restore, uint32_t index)
{
	if (index >= restore->handed_count || restore->handed[index] < 0)
		return -EBADMSG;
	int fd = restore->handed[index];
	restore->handed[index] = -1;
	return fd;
}

int files_restore(struct restore *restore, enum record record, struct reader *in, struct made *out,
		  struct failure *why)
{
	int r;
	if (record == RECORD_STDIO) {
		r = restore_stdio(in, out);
		return r ? fail(why, r, "standard streams: %s", strerror(-r)) : 0;
	}
	out->file = fdtable_file(FILE_OPENED);
	if (!out->file)
		return fail(why, -ENOMEM, "out of memory");
	if (record == RECORD_HANDED) {
		out->host_fd = files_handed(restore, reader_u32(in));
		return out->host_fd < 0 ? fail(why, out->host_fd, "a file did not arrive with the state") : 0;
	}
	if (record == RECORD_UNNAMED) {
		r = restore_unnamed(restore, in, out);
		return r ? fail(why, r, "a file without a name cannot be made here: %s", strerror(-r))
			 : locks_take(out->host_fd, "a file without a name", in, why);
	}
	char *path = reader_string(in, CARRY_PATH_MAX);
	if (!path)
		return fail(why, in->error, "the state is damaged (a path)");
	r = reopen(path, in, out, why);
	free(path);
	return r;
}

void files_take(struct restore *restore, int meeting_fd)
{
	for (int fd; meeting_fd >= 0 && (fd = meeting_take(meeting_fd)) >= 0;) {
		int *all = realloc(restore->handed, (restore->handed_count + 1) * sizeof(*all));
		if (!all) {
			close(fd);
			return;
		}
		restore->handed = all;
		all[restore->handed_count++] = fd;
	}
}

void files_restored(struct restore *restore)
{
	for (unsigned i = 0; i < restore->handed_count; i++)
		if (restore->handed[i] >= 0)
			close(restore->handed[i]);
	free(restore->handed);
	restore->handed = NULL;
	restore->handed_count = 0;
	for (unsigned i = 0; i < restore->unnamed_count; i++)
		close(restore->unnamed[i].fd);
	restore->unnamed_count = 0;
}
