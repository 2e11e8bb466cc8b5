/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks on files. On one kernel the description that has them goes over as it
 * is (host/carry/meeting.h). Between two, the destination takes them while the
 * source still has them, and no process gets one in between:
 *
 *   each kernel keeps locks of its own (a copy, storage that does not pass
 *   locks on): they are taken there at once. That a lock for writing could be,
 *   while the source had it, is the proof.
 *   both share them (NFS and its like): one for reading both may have. One for
 *   writing has one owner at a time and the protocols know no way to change
 *   him; whatever lets it go, or turns it into one for reading first, lets
 *   somebody else in. It cannot be taken, and the move is undone.
 *
 * So there is one rule: what cannot be taken at once is not waited for. The
 * source lets go when it has committed, and not before.
 */
#include "host/carry/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "host/posix_locks.h"

#define FLOCK 'F' /* struct fdinfo_lock; others are of a range */
#define LOCK_BYTES 18

int locks_refuse(const struct fdinfo *info, const struct hand_over *h, const char *path, struct failure *why)
{
	if (!info->lock_count || h->file_locks)
		return 0;
	return fail(why, -EBUSY, "the program holds a lock on %s; use --file-locks to take it along", path);
}

void locks_put(const struct fdinfo *info, struct bytes *out)
{
	bytes_put_u32(out, info->lock_count);
	for (unsigned i = 0; i < info->lock_count; i++) {
		bytes_put_u8(out, (uint8_t)info->lock[i].kind);
		bytes_put_u8(out, info->lock[i].write);
		bytes_put_u64(out, (uint64_t)info->lock[i].start);
		bytes_put_u64(out, (uint64_t)info->lock[i].size);
	}
}

static struct fdinfo_lock get_lock(struct reader *in)
{
	struct fdinfo_lock lock = {.kind = (char)reader_u8(in)};
	lock.write = reader_u8(in) != 0;
	lock.start = (int64_t)reader_u64(in);
	lock.size = (int64_t)reader_u64(in);
	return lock;
}

int locks_need(const struct fdinfo *info, const struct hand_over *h, const char *path,
	       struct files_need *need, struct failure *why)
{
	int r = locks_refuse(info, h, path, why);
	if (r || !info->lock_count)
		return r;
	bytes_put_string(&need->locks, path);
	locks_put(info, &need->locks);
	need->lock_files++;
	return need->locks.error;
}

/* ---- at the destination ---- */

/* File systems whose locks the machines that have them mounted mostly share. */
static const char *shares_locks(int fd)
{
	static const struct {
		uint32_t magic;
		const char *name;
	} kinds[] = {{0x6969, "nfs"},	     {0xfe534d42, "smb"},   {0xff534d42, "cifs"},
		     {0x00c36400, "ceph"},   {0x7461636f, "ocfs2"}, {0x01161970, "gfs2"},
		     {0x0bd00bd0, "lustre"}, {0x65735546, "fuse"},  {0x01021997, "9p"}};
	struct statfs fs;
	for (unsigned i = 0; fstatfs(fd, &fs) == 0 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((uint32_t)fs.f_type == kinds[i].magic)
			return kinds[i].name;
	return NULL;
}

static struct flock range_of(const struct fdinfo_lock *lock)
{
	return (struct flock){.l_type = lock->write ? F_WRLCK : F_RDLCK,
			      .l_whence = SEEK_SET,
			      .l_start = (off_t)lock->start,
			      .l_len = (off_t)lock->size};
}

static int obstacle(int fd, const char *path, const struct fdinfo_lock *lock, int error, struct failure *why)
{
	const char *sharing = shares_locks(fd), *kind = lock->write ? "writing" : "reading";
	struct flock range = range_of(lock);
	if (error != -EAGAIN && error != -EACCES)
		return fail(why, error, "%s: the program's lock for %s cannot be taken here: %s", path, kind,
			    strerror(-error));
	if (lock->kind != FLOCK && fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK &&
	    range.l_pid > 0 && !sharing)
		return fail(
		    why, -EBUSY,
		    "%s: the program's lock for %s cannot be taken here: process %d has one; try again later",
		    path, kind, (int)range.l_pid);
	if (sharing && lock->write)
		return fail(
		    why, -EBUSY,
		    "%s: both machines share locks (%s), and one for writing cannot pass without a moment in "
		    "which it is nobody's; try again once the program has given it up",
		    path, sharing);
	return fail(
	    why, -EBUSY,
	    "%s: the program's lock for %s cannot be taken here: another process has one%s; try again later",
	    path, kind, lock->write ? ", or both machines share locks and it is the program's own" : "");
}

static int take(int fd, const struct fdinfo_lock *lock)
{
	struct flock range = range_of(lock);
	int r = lock->kind == FLOCK ? flock(fd, (lock->write ? LOCK_EX : LOCK_SH) | LOCK_NB)
				    : fcntl(fd, F_OFD_SETLK, &range);
	return r < 0 ? -errno : 0;
}

int locks_take(int host_fd, const char *path, struct reader *in, struct failure *why)
{
	for (uint32_t count = reader_count(in, LOCK_BYTES); count; count--) {
		struct fdinfo_lock lock = get_lock(in);
		int r = in->error ? in->error : take(host_fd, &lock);
		if (r)
			return obstacle(host_fd, path, &lock, r, why);
	}
	return in->error ? fail(why, in->error, "the state is damaged (locks)") : 0;
}

/* Of a range: looked at. Of a file as a whole: had for a moment, for there is no way to look. */
static int probe(int fd, const struct fdinfo_lock *lock)
{
	struct flock range = range_of(lock);
	if (lock->kind != FLOCK)
		return fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK ? -EAGAIN : 0;
	if (flock(fd, (lock->write ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : 0;
	flock(fd, LOCK_UN);
	return 0;
}

int locks_expect(bool met, struct reader *in, struct failure *why)
{
	struct stat st;
	char *path = reader_string(in, CARRY_PATH_MAX);
	int r = 0, fd = -1;
	if (path && !met && stat(path, &st) == 0 && S_ISREG(st.st_mode))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	for (uint32_t count = reader_count(in, LOCK_BYTES); count; count--) {
		struct fdinfo_lock lock = get_lock(in);
		if (!r && fd >= 0 && !in->error && probe(fd, &lock))
			r = obstacle(fd, path, &lock, -EAGAIN, why);
	}
	if (!r && in->error)
		r = fail(why, -EBADMSG, "the manifest is damaged (locks)");
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

/* ---- the program's POSIX locks ---- */

static int file_of(const struct inventory *v, int lock_fd, uint32_t *index)
{
	struct stat lock, st;
	if (fstat(lock_fd, &lock) < 0)
		return -errno;
	for (unsigned i = 0; i < v->file_count; i++)
		if (v->file[i].file->kind == FILE_OPENED && fstat(v->file[i].host_fd, &st) == 0 &&
		    st.st_ino == lock.st_ino && st.st_dev == lock.st_dev) {
			*index = i;
			return 0;
		}
	return -ENOENT;
}

int locks_check(struct posix_locks *locks, const struct hand_over *h, struct files_need *need,
		struct failure *why)
{
	struct fdinfo info;
	int fd;
	for (unsigned i = 0; (fd = posix_locks_at(locks, i)) >= 0; i++) {
		char path[PATH_MAX];
		if (fdinfo_read(fd, &info) || !info.lock_count || files_path(fd, path))
			continue;
		int r = locks_need(&info, h, path, need, why);
		if (r)
			return r;
	}
	return 0;
}

int locks_dump(struct posix_locks *locks, const struct inventory *v, struct hand_over *h, struct bytes *out,
	       struct failure *why)
{
	size_t count_at = out->size;
	uint32_t count = 0;
	int fd;
	bytes_put_u32(out, 0);
	for (unsigned i = 0; (fd = posix_locks_at(locks, i)) >= 0; i++) {
		struct fdinfo info;
		char path[PATH_MAX] = "a file";
		uint32_t index;
		files_path(fd, path);
		int r = fdinfo_read(fd, &info);
		if (!r && !info.lock_count)
			continue;
		if (!r && locks_refuse(&info, h, path, why))
			return why->code;
		if (!r)
			r = h->meeting >= 0 ? hand_over_add(h, fd, &index) : file_of(v, fd, &index);
		if (r)
			return fail(why, r, "%s: locks: %s", path, strerror(-r));
		bytes_put_u8(out, h->meeting >= 0);
		bytes_put_u32(out, index);
		if (h->meeting < 0) {
			bytes_put_string(out, path);
			locks_put(&info, out);
		}
		count++;
	}
	if (!out->error)
		memcpy(out->data + count_at, &count, sizeof(count));
	return out->error;
}

static int take_posix(struct posix_locks *locks, const struct made *made, struct reader *in,
		      struct failure *why)
{
	char *path = reader_string(in, CARRY_PATH_MAX);
	int fd = path ? posix_locks_of(locks, made->host_fd) : -EBADMSG;
	int r = fd < 0 ? fail(why, fd, "%s: a lock the program holds cannot be taken here: %s",
			      path ? path : "a file", strerror(-fd))
		       : locks_take(fd, path, in, why);
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

int locks_restore(struct restore *restore, const struct made *made, unsigned made_count, struct reader *in,
		  struct failure *why)
{
	struct posix_locks *locks = fdtable_posix_locks(restore->fds);
	int r = 0;
	for (uint32_t count = reader_count(in, 5); !r && count; count--) {
		bool handed = reader_u8(in);
		uint32_t index = reader_u32(in);
		if (in->error || (!handed && index >= made_count))
			return fail(why, -EBADMSG, "the state is damaged (locks)");
		if (!handed) {
			r = take_posix(locks, &made[index], in, why);
			continue;
		}
		int fd = files_handed(restore, index);
		r = fd < 0 ? fd : posix_locks_put(locks, fd);
		if (r)
			fail(why, r, "a lock the program holds did not arrive with the state: %s",
			     strerror(-r));
	}
	return r;
}
