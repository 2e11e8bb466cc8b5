/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: those without a name arrive with their content, locks without a moment
 * in which others could have them; what is not the same file at the other side,
 * or means something at this one only, is refused in preparation.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/carry/meeting.h"
#include "tests/carry/program.h"
#include "tests/carry/testbed.h"

static char directory[] = "/tmp/optmig-test-XXXXXX";
static char path[64];
static struct program a, b;
static const struct carry_options nothing_special, with_locks = {.file_locks = true};

static void begin(void)
{
	program_open(&a);
	program_open(&b);
}

static void end(void)
{
	program_close(&a);
	program_close(&b);
	unlink(path);
}

/* Both are open twice, sparse, and found at their offsets; the two descriptions go on sharing the file. */
static void without_a_name(const struct carry_options *options)
{
	static const off_t far_away = 1ll << 32;
	char text[16] = {0};
	begin();
	int fd = (int)CALL(&a, SYS_open, path, O_CREAT | O_RDWR | O_EXCL, 0640);
	int again = (int)CALL(&a, SYS_open, path, O_RDONLY | O_NONBLOCK);
	CHECK(CALL(&a, SYS_write, fd, "0123456789", 10) == 10 &&
	      CALL(&a, SYS_lseek, again, 3, SEEK_SET) == 3);
	CHECK(CALL(&a, SYS_pwrite64, fd, "end", 3, far_away) == 3);
	CHECK(CALL(&a, SYS_unlink, path) == 0);
	int never = (int)CALL(&a, SYS_open, directory, O_TMPFILE | O_RDWR, 0600);
	CHECK(never >= 0 && CALL(&a, SYS_write, never, "never", 5) == 5);
	int memory = (int)CALL(&a, SYS_memfd_create, "name", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	CHECK(CALL(&a, SYS_write, memory, "memory", 6) == 6 &&
	      CALL(&a, SYS_fcntl, memory, F_ADD_SEALS, F_SEAL_GROW) == 0);
	program_move_here(&a, &b, options);
	CHECK(CALL(&b, SYS_read, again, text, 4) == 4 && !memcmp(text, "3456", 4));
	CHECK(CALL(&b, SYS_fcntl, again, F_GETFL) & O_NONBLOCK);
	CHECK(CALL(&b, SYS_lseek, fd, 0, SEEK_CUR) == 10 && CALL(&b, SYS_write, fd, "abc", 3) == 3);
	CHECK(CALL(&b, SYS_pread64, again, text, 5, 9) == 5 && !memcmp(text, "9abc\0", 5));
	CHECK(CALL(&b, SYS_pread64, again, text, 9, far_away) == 3 && !memcmp(text, "end", 3));
	struct stat st;
	CHECK(CALL(&b, SYS_fstat, fd, &st) == 0 && st.st_nlink == 0 && st.st_size == far_away + 3 &&
	      st.st_blocks * 512 < 1 << 20);
	CHECK(CALL(&b, SYS_write, again, "x", 1) == -EBADF && access(path, F_OK) < 0);
	CHECK(CALL(&b, SYS_lseek, never, 0, SEEK_SET) == 0 && CALL(&b, SYS_read, never, text, 9) == 5);
	CHECK(CALL(&b, SYS_pread64, memory, text, 9, 0) == 6 && !memcmp(text, "memory", 6));
	CHECK(CALL(&b, SYS_write, memory, "x", 1) == -EPERM &&
	      CALL(&b, SYS_fcntl, memory, F_GETFD) == FD_CLOEXEC);
	end();
}

/* What fd refers to, beside a new file under its old name. */
static void renamed_over(void)
{
	char text[8], other[80];
	snprintf(other, sizeof(other), "%s.new", path);
	begin();
	int fd = (int)CALL(&a, SYS_open, path, O_CREAT | O_RDWR, 0600);
	CHECK(CALL(&a, SYS_write, fd, "old", 3) == 3);
	close(open(other, O_CREAT | O_RDWR, 0600));
	CHECK(rename(other, path) == 0);
	program_move_here(&a, &b, &nothing_special);
	CHECK(CALL(&b, SYS_pread64, fd, text, 8, 0) == 3 && !memcmp(text, "old", 3));
	end();
}

static int preflight(const struct carry_options *options, struct bytes *manifest, struct failure *why)
{
	struct carry_source *s;
	CHECK(carry_source_open(a.fds, options, &s, why) == 0);
	int r = carry_source_preflight(s, manifest, NULL, why);
	carry_source_close(s);
	return r;
}

static void refusals(void)
{
	begin();
	int fd = (int)CALL(&a, SYS_memfd_create, "large", 0);
	static char block[1 << 20];
	memset(block, 1, sizeof(block));
	for (int i = 0; i < 17; i++)
		CHECK(CALL(&a, SYS_write, fd, block, sizeof(block)) == sizeof(block));
	program_refused(&a, &nothing_special, -EFBIG, "no name");
	CALL(&a, SYS_close, fd);
	static const char *const own[] = {"/proc/self/fd", "/proc/1/stat", "/dev/kmsg"};
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		fd = (int)CALL(&a, SYS_open, own[i], O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			continue; /* this machine does not let us */
		program_refused(&a, &nothing_special, -ENOTSUP, "cannot move");
		CALL(&a, SYS_close, fd);
	}
	fd = (int)CALL(&a, SYS_open, path, O_CREAT | O_RDWR, 0600);
	CHECK(CALL(&a, SYS_flock, fd, LOCK_SH) == 0);
	program_refused(&a, &nothing_special, -EBUSY, "--file-locks");
	CHECK(CALL(&a, SYS_flock, fd, LOCK_UN) == 0);
	struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 200};
	CHECK(CALL(&a, SYS_fcntl, fd, F_SETLK, &range) == 0);
	program_refused(&a, &nothing_special, -EBUSY, "--file-locks");
	/* It has a name, but not the one by which the kernel knows it. */
	char other[80];
	snprintf(other, sizeof(other), "%s.other", path);
	range.l_type = F_UNLCK;
	CHECK(CALL(&a, SYS_fcntl, fd, F_SETLK, &range) == 0);
	CHECK(link(path, other) == 0 && unlink(path) == 0);
	program_refused(&a, &nothing_special, -ENOENT, "another name");
	CHECK(unlink(other) == 0);
	end();
}

static void process_files(void)
{
	char text[64], expected[64];
	begin();
	int stat = (int)CALL(&a, SYS_open, "/proc/self/stat", O_RDONLY);
	int null = (int)CALL(&a, SYS_open, "/dev/null", O_RDWR),
	    zero = (int)CALL(&a, SYS_open, "/dev/zero", O_RDONLY);
	int random = (int)CALL(&a, SYS_open, "/dev/urandom", O_RDONLY);
	CHECK(stat >= 0 && null >= 0 && zero >= 0 && random >= 0);
	program_move_here(&a, &b, &nothing_special);
	snprintf(expected, sizeof(expected), "%d (", (int)getpid());
	CHECK(CALL(&b, SYS_read, stat, text, 20) == 20 && !strncmp(text, expected, strlen(expected)));
	CHECK(CALL(&b, SYS_write, null, "x", 1) == 1 && CALL(&b, SYS_read, zero, text, 8) == 8 &&
	      text[7] == 0);
	CHECK(CALL(&b, SYS_read, random, text, 8) == 8);
	/* the program's numbers, not the host's */
	CHECK(CALL(&b, SYS_dup2, null, 70) == 70);
	int by_number = (int)CALL(&b, SYS_open, "/proc/self/fd/70", O_WRONLY),
	    other = (int)CALL(&b, SYS_open, "/dev/fd/70", O_WRONLY);
	CHECK(by_number >= 0 && other >= 0 && CALL(&b, SYS_open, "/proc/self/fd/71", O_RDONLY) == -ENOENT);
	CHECK(CALL(&b, SYS_readlink, "/proc/self/fd/70", text, sizeof(text)) == 9 &&
	      !memcmp(text, "/dev/null", 9));
	end();
}

/* The file between preflight and the destination's look. */
static int prepared_after(void (*change)(void), const struct carry_options *options, struct failure *why)
{
	struct bytes manifest = {0}, answer = {0};
	struct carry_destination *d = NULL;
	CHECK(preflight(options, &manifest, why) == 0);
	change();
	int r = carry_destination_prepare(b.fds, manifest.data, manifest.size, &answer, &d, why);
	carry_destination_discard(d);
	bytes_free(&manifest);
	bytes_free(&answer);
	return r;
}

static void write_file(const char *at, const char *text, time_t when)
{
	int fd = open(at, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	struct timespec times[2] = {{when, 0}, {when, 0}};
	CHECK(futimens(fd, times) == 0);
	close(fd);
}

static void nothing(void)
{
}

static void replace_by(const char *text, time_t when)
{
	char other[80];
	snprintf(other, sizeof(other), "%s.copy", path);
	write_file(other, text, when);
	CHECK(rename(other, path) == 0);
}

static void copy(void)
{
	replace_by("content", 1000);
}

static void same_size(void)
{
	replace_by("CONTENT", 2000);
}

static void other_size(void)
{
	replace_by("longer content", 1000);
}

static void append(void)
{
	write_file(path, "content and more", 3000);
}

static void older(void)
{
	write_file(path, "content", 500);
}

static void versions(void)
{
	static const struct carry_options ignore = {.files_ignore = true};
	struct failure why = {0};
	begin();
	write_file(path, "content", 1000);
	CHECK(CALL(&a, SYS_open, path, O_RDONLY) >= 0);
	CHECK(prepared_after(nothing, &nothing_special, &why) == 0);
	CHECK(prepared_after(append, &nothing_special, &why) == 0);
	write_file(path, "content", 1000);
	CHECK(prepared_after(older, &nothing_special, &why) == -ESTALE &&
	      strstr(why.message, "--files ignore"));
	CHECK(prepared_after(older, &ignore, &why) == 0);
	end();
	static const struct {
		void (*change)(void);
		int result;
	} copies[] = {{copy, 0}, {same_size, -ESTALE}, {other_size, -ESTALE}};
	for (unsigned i = 0; i < 3; i++) {
		begin();
		write_file(path, "content", 1000);
		CHECK(CALL(&a, SYS_open, path, O_RDONLY) >= 0);
		CHECK(prepared_after(copies[i].change, &nothing_special, &why) == copies[i].result);
		end();
	}
}

/* ---- locks ---- */

static bool get(int fd, int command, short type, off_t start)
{
	struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1};
	if (command == LOCK_EX)
		return flock(fd, LOCK_EX | LOCK_NB) == 0;
	return fcntl(fd, command, &range) == 0;
}

/* Another process that wants the locks all the time, and one that waits for them in the kernel. Ends with 1
 * as soon as either gets one. */
static pid_t contender(bool waits)
{
	pid_t pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = open(path, O_RDWR);
	if (waits)
		_exit(get(fd, F_SETLKW, F_WRLCK, 105));
	for (;;)
		if (get(fd, F_SETLK, F_WRLCK, 105) || get(fd, F_SETLK, F_WRLCK, 30000) ||
		    get(fd, F_SETLK, F_RDLCK, 105) || get(fd, LOCK_EX, 0, 0) ||
		    get(fd, F_OFD_SETLK, F_WRLCK, 301))
			_exit(1);
}

static void take_locks(struct program *p, int *fd, int *other)
{
	*fd = (int)CALL(p, SYS_open, path, O_CREAT | O_RDWR, 0600);
	*other = (int)CALL(p, SYS_open, path, O_RDWR);
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 10};
	CHECK(CALL(p, SYS_fcntl, *fd, F_SETLK, &range) == 0);
	range = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 200};
	CHECK(CALL(p, SYS_fcntl, *other, F_SETLK, &range) == 0); /* one owner: the program */
	CHECK(CALL(p, SYS_flock, *fd, LOCK_EX) == 0 &&
	      CALL(p, SYS_flock, *other, LOCK_EX | LOCK_NB) == -EAGAIN);
}

static void own_locks(void)
{
	int fd, other;
	begin();
	take_locks(&a, &fd, &other);
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 5};
	CHECK(CALL(&a, SYS_fcntl, other, F_SETLK, &range) == 0 &&
	      CALL(&a, SYS_fcntl, other, F_GETLK, &range) == 0 && range.l_type == F_UNLCK);
	CHECK(CALL(&a, SYS_lseek, fd, 100, SEEK_SET) == 100);
	int third = (int)CALL(&b, SYS_open, path, O_RDWR); /* another program */
	range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 105, .l_len = 1};
	CHECK(CALL(&b, SYS_fcntl, third, F_SETLK, &range) == -EAGAIN);
	CHECK(CALL(&b, SYS_fcntl, third, F_GETLK, &range) == 0 && range.l_type == F_WRLCK &&
	      range.l_start == 100 && range.l_len == 10);
	struct flock here = {.l_type = F_UNLCK, .l_whence = SEEK_CUR, .l_start = 5, .l_len = 1};
	CHECK(CALL(&a, SYS_fcntl, fd, F_SETLK, &here) == 0);
	range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 105, .l_len = 1};
	CHECK(CALL(&b, SYS_fcntl, third, F_SETLK, &range) == 0);
	int reading = (int)CALL(&a, SYS_open, path, O_RDONLY);
	CHECK(CALL(&a, SYS_fcntl, reading, F_SETLK, &range) == -EBADF);
	/* closing any of its descriptors gives all of the program's up */
	range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 5};
	CHECK(CALL(&b, SYS_fcntl, third, F_SETLK, &range) == -EAGAIN);
	CALL(&a, SYS_close, reading);
	CHECK(CALL(&b, SYS_fcntl, third, F_SETLK, &range) == 0);
	end();
}

static void locks_move(void)
{
	int fd, other, status;
	begin();
	take_locks(&a, &fd, &other);
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 300, .l_len = 3};
	CHECK(CALL(&a, SYS_fcntl, other, 37 /* F_OFD_SETLK */, &range) ==
	      -EAGAIN); /* against its own of 200 on */
	range = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 300, .l_len = 3};
	CHECK(CALL(&a, SYS_fcntl, fd, F_SETLK, &range) == 0);
	range.l_type = F_WRLCK;
	CHECK(CALL(&a, SYS_fcntl, other, 37, &range) == 0);
	pid_t impatient = contender(false), patient = contender(true);
	usleep(20000);
	struct program *here = &a, *there = &b, *swap;
	for (int i = 0; i < 60; i++) {
		if (i % 3 == 2) { /* the other side gives up */
			struct bytes manifest = {0}, answer = {0}, state = {0};
			struct carry_source *s;
			struct carry_destination *d;
			CHECK(carry_source_open(here->fds, &with_locks, &s, NULL) == 0 &&
			      carry_source_preflight(s, &manifest, NULL, NULL) == 0 &&
			      carry_destination_prepare(there->fds, manifest.data, manifest.size, &answer, &d,
							NULL) == 0 &&
			      carry_source_prepare(s, answer.data, answer.size, NULL) == 0 &&
			      carry_source_freeze(s, &state, NULL) == 0 &&
			      carry_destination_restore(d, &state, NULL) == 0);
			carry_destination_discard(d);
			CHECK(carry_source_undo(s, NULL) == 0);
			carry_source_close(s);
			bytes_free(&manifest);
			bytes_free(&answer);
			bytes_free(&state);
			continue;
		}
		program_move_here(here, there, &with_locks);
		swap = here;
		here = there;
		there = swap;
		program_close(there);
		program_open(there);
	}
	CHECK(waitpid(impatient, &status, WNOHANG) == 0 && waitpid(patient, &status, WNOHANG) == 0);
	kill(impatient, SIGKILL);
	waitpid(impatient, &status, 0);
	/* They are the program's still: it can give them up. */
	CHECK(CALL(here, SYS_flock, other, LOCK_EX | LOCK_NB) == -EAGAIN &&
	      CALL(here, SYS_flock, fd, LOCK_UN) == 0 &&
	      CALL(here, SYS_flock, other, LOCK_EX | LOCK_NB) == 0);
	range = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET};
	CHECK(CALL(here, SYS_fcntl, fd, F_SETLK, &range) == 0);
	CHECK(waitpid(patient, &status, 0) == patient && WEXITSTATUS(status) == 1);
	end();
	/* the place where the two met is gone */
	CHECK(rmdir(directory) == 0 && mkdir(directory, 0700) == 0);
}

/* ---- between two machines: nothing can be handed over ---- */

struct between {
	struct bytes manifest, answer, state;
	struct carry_source *s;
	struct carry_destination *d;
	struct failure why;
};

/* Two that do not meet: the destination looks for a source that has gone. */
static int between_prepare(struct between *m)
{
	*m = (struct between){0};
	CHECK(carry_source_open(a.fds, &with_locks, &m->s, &m->why) == 0 &&
	      carry_source_preflight(m->s, &m->manifest, NULL, &m->why) == 0);
	carry_source_close(m->s);
	m->s = NULL;
	int r = carry_destination_prepare(b.fds, m->manifest.data, m->manifest.size, &m->answer, &m->d, &m->why);
	if (r)
		return r;
	bytes_clear(&m->manifest);
	CHECK(carry_source_open(a.fds, &with_locks, &m->s, &m->why) == 0 &&
	      carry_source_preflight(m->s, &m->manifest, NULL, &m->why) == 0 &&
	      carry_source_prepare(m->s, m->answer.data, m->answer.size, &m->why) == 0);
	return 0;
}

static int between_stop(struct between *m)
{
	int r = carry_source_freeze(m->s, &m->state, &m->why);
	return r ? r : carry_destination_restore(m->d, &m->state, &m->why);
}

static void between_end(struct between *m)
{
	carry_source_close(m->s);
	bytes_free(&m->manifest);
	bytes_free(&m->answer);
	bytes_free(&m->state);
}

static void between_undo(struct between *m)
{
	carry_destination_discard(m->d);
	CHECK(carry_source_undo(m->s, NULL) == 0);
	between_end(m);
}

static void between_commit(struct between *m)
{
	carry_source_forget(m->s);
	CHECK(carry_destination_release(m->d, &m->why) == 0);
	carry_destination_finish(m->d);
	between_end(m);
}

/* Locks for reading are had by both. */
static void locks_for_reading(void)
{
	struct between m;
	begin();
	int fd = (int)CALL(&a, SYS_open, path, O_CREAT | O_RDWR, 0600);
	int other = (int)CALL(&a, SYS_open, path, O_RDWR);
	struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 200, .l_len = 5};
	CHECK(CALL(&a, SYS_fcntl, fd, F_SETLK, &range) == 0 && CALL(&a, SYS_flock, other, LOCK_SH) == 0);
	CHECK(between_prepare(&m) == 0 && between_stop(&m) == 0);
	between_commit(&m);
	int third = open(path, O_RDWR);
	CHECK(!get(third, F_OFD_SETLK, F_WRLCK, 203) && get(third, F_OFD_SETLK, F_WRLCK, 205));
	CHECK(!get(third, LOCK_EX, 0, 0) && CALL(&b, SYS_flock, other, LOCK_UN) == 0 && get(third, LOCK_EX, 0, 0));
	close(third);
	end();
}

/* Whether another process could have the lock at 100, or that of the whole file. */
static bool free_lock(int third)
{
	bool one = get(third, F_OFD_SETLK, F_RDLCK, 100), all = flock(third, LOCK_SH | LOCK_NB) == 0;
	CHECK(one == all);
	struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	CHECK(fcntl(third, F_OFD_SETLK, &range) == 0 && flock(third, LOCK_UN) == 0);
	return one;
}

/* Both see one lock: it stays where it is, whether it was there in the preparation or came after. */
static void locks_both_share(void)
{
	struct between m;
	int fd, other, status;
	begin();
	take_locks(&a, &fd, &other);
	pid_t patient = contender(true);
	int third = open(path, O_RDWR);
	CHECK(between_prepare(&m) == -EBUSY && strstr(m.why.message, "share locks"));
	between_end(&m);
	CHECK(CALL(&a, SYS_flock, fd, LOCK_UN) == 0);
	for (int whole = 0; whole < 2; whole++) {
		struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
		CHECK(CALL(&a, SYS_fcntl, fd, F_SETLK, &range) == 0);
		if (!whole) {
			CHECK(waitpid(patient, &status, 0) == patient && WEXITSTATUS(status) == 1);
		}
		CHECK(free_lock(third) && between_prepare(&m) == 0);
		range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 10};
		CHECK((whole ? CALL(&a, SYS_flock, fd, LOCK_EX) : CALL(&a, SYS_fcntl, fd, F_SETLK, &range)) == 0);
		CHECK(between_stop(&m) == -EBUSY && strstr(m.why.message, "share locks"));
		between_undo(&m);
		CHECK(whole ? !get(third, LOCK_EX, 0, 0) : !get(third, F_OFD_SETLK, F_RDLCK, 100));
	}
	close(third);
	end();
}

/* Another machine's file of this name, the same by size and time. */
static void other_machine(unsigned n)
{
	char of_machine[80];
	snprintf(of_machine, sizeof(of_machine), "%s.%u", path, n);
	write_file(of_machine, "content", 1000);
	CHECK(mount(of_machine, path, NULL, MS_BIND, NULL) == 0);
}

/* Each has locks of its own: at every moment the lock is had on the one or the other
 * machine, and on both from before the program may run at the destination until the source forgets. */
enum outcome { MOVES, TAKEN, UNDONE };
static void locks_of_each(enum outcome outcome)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 10};
	int fd, other;
	unsigned moves = outcome == MOVES ? 5 : 1;
	begin();
	write_file(path, "content", 1000);
	take_locks(&a, &fd, &other);
	for (unsigned i = 0; i < moves; i++) {
		struct between m;
		int here = open(path, O_RDWR);
		other_machine(i);
		int there = open(path, O_RDWR);
		CHECK(!free_lock(here) && free_lock(there) && between_prepare(&m) == 0 && free_lock(there));
		if (outcome == TAKEN) /* since, by another process there */
			CHECK(get(there, F_OFD_SETLK, F_RDLCK, 105));
		int r = between_stop(&m);
		CHECK(r == (outcome == TAKEN ? -EBUSY : 0) && !free_lock(here));
		if (outcome == TAKEN) {
			between_undo(&m);
		} else {
			CHECK(!free_lock(there));
			outcome == UNDONE ? between_undo(&m) : between_commit(&m);
			CHECK(free_lock(outcome == UNDONE ? there : here) &&
			      !free_lock(outcome == UNDONE ? here : there));
		}
		if (outcome == MOVES) {
			struct program swap = a;
			a = b;
			b = swap;
			program_close(&b);
			program_open(&b);
		}
		CHECK(CALL(&a, SYS_fcntl, other, F_SETLK, &range) == 0 && CALL(&a, SYS_flock, fd, LOCK_EX | LOCK_NB) == 0 &&
		      CALL(&a, SYS_flock, other, LOCK_EX | LOCK_NB) == -EAGAIN);
		close(here);
		close(there);
	}
	program_close(&a);
	program_close(&b);
	while (moves--) {
		char of_machine[80];
		snprintf(of_machine, sizeof(of_machine), "%s.%u", path, moves);
		CHECK(umount2(path, MNT_DETACH) == 0 && unlink(of_machine) == 0);
	}
	unlink(path);
}

static int lowest_free(void)
{
	int fd = dup(0);
	close(fd);
	return fd;
}

/* One descriptor at a time crosses a meeting: of two, none stays behind with who refuses them. */
static void two_at_once_are_refused(void)
{
	char space[CMSG_SPACE(2 * sizeof(int))] = {0}, byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	int pair[2], fd = open(path, O_RDWR | O_CREAT, 0600), files[2] = {fd, fd};
	CHECK(fd >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	int lowest = lowest_free();
	*c = (struct cmsghdr){
	    .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(files))};
	memcpy(CMSG_DATA(c), files, sizeof(files));
	CHECK(sendmsg(pair[0], &message, 0) == 1);
	CHECK(meeting_take(pair[1]) == -EBADMSG && lowest_free() == lowest);
	CHECK(meeting_hand(pair[0], fd) == 0 && meeting_take(pair[1]) == lowest);
	close(lowest);
	close(pair[0]);
	close(pair[1]);
	close(fd);
	unlink(path);
}

int main(void)
{
	CHECK(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/file", directory);
	without_a_name(&nothing_special);
	without_a_name(&with_locks);
	renamed_over();
	refusals();
	process_files();
	versions();
	own_locks();
	locks_move();
	locks_for_reading();
	locks_both_share();
	two_at_once_are_refused();
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		rmdir(directory);
		printf("machines with locks of their own need root (mount namespaces)\n");
		return SKIP;
	}
	locks_of_each(MOVES);
	locks_of_each(TAKEN);
	locks_of_each(UNDONE);
	rmdir(directory);
	return 0;
}
