/* SPDX-License-Identifier: Apache-2.0
 *
 * Files, directories, streams and pipes, and bytes that go from one to the other.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void check_files(void)
{
	char path[256], other[256], text[64];
	path_of("file", path);
	path_of("other", other);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
	struct stat st;

	CHECK(fd >= 0);
	CHECK(write(fd, "hello, world", 12) == 12);
	CHECK(lseek(fd, 7, SEEK_SET) == 7 && read(fd, text, 5) == 5 && !memcmp(text, "world", 5));
	CHECK(pwrite(fd, "W", 1, 7) == 1 && pread(fd, text, 12, 0) == 12 && !memcmp(text, "hello, World", 12));
	struct iovec vector[2] = {{text, 5}, {text + 32, 7}};
	CHECK(lseek(fd, 0, SEEK_SET) == 0 && readv(fd, vector, 2) == 12 && !memcmp(text + 32, ", World", 7));
	CHECK(writev(fd, vector, 2) == 12);
	CHECK(!fstat(fd, &st) && st.st_size == 24 && S_ISREG(st.st_mode));
	CHECK(!ftruncate(fd, 5) && !fstat(fd, &st) && st.st_size == 5);
	CHECK(!fsync(fd) && !fdatasync(fd));
	int copy = dup(fd);
	CHECK(copy > fd && lseek(copy, 0, SEEK_CUR) == lseek(fd, 0, SEEK_CUR) && !close(copy));
	CHECK(dup2(fd, 200) == 200 && !close(200));
	CHECK(fcntl(fd, F_GETFL) & O_RDWR);
	CHECK(!fcntl(fd, F_SETFD, FD_CLOEXEC) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	CHECK(!fcntl(fd, F_SETLK, &lock));
	CHECK(!close(fd) && close(fd) == -1 && errno == EBADF);
	CHECK(!rename(path, other) && access(path, F_OK) == -1 && errno == ENOENT && !access(other, R_OK | W_OK));
	CHECK(!chmod(other, 0600) && !stat(other, &st) && (st.st_mode & 0777) == 0600);
	CHECK(!symlink(other, path) && readlink(path, text, sizeof(text)) > 0 && !lstat(path, &st) && S_ISLNK(st.st_mode));
	CHECK(!unlink(path) && !unlink(other));
	CHECK(!mkfifo(path, 0600) && mkfifo(path, 0600) == -1 && errno == EEXIST && !lstat(path, &st) && S_ISFIFO(st.st_mode));
	fd = open(path, O_RDWR);
	CHECK(fd >= 0 && write(fd, "through", 7) == 7 && read(fd, text, sizeof(text)) == 7 && !close(fd) && !unlink(path));
	CHECK(open("/nonexistent/file", O_RDONLY) == -1 && errno == ENOENT);
}

static void check_directories(void)
{
	char path[256], cwd[512], before[512];
	path_of("dir", path);
	bool seen = false;

	CHECK(!mkdir(path, 0700) && getcwd(before, sizeof(before)) && !chdir(path) && getcwd(cwd, sizeof(cwd)));
	CHECK(strstr(cwd, "dir"));
	CHECK(!close(open("inside", O_CREAT | O_WRONLY, 0600)));
	DIR *d = opendir(path);
	CHECK(d);
	for (struct dirent *entry; (entry = readdir(d));)
		seen = seen || !strcmp(entry->d_name, "inside");
	CHECK(!closedir(d) && seen);
	CHECK(!unlink("inside") && !chdir(before) && !rmdir(path));
}

static void check_stdio(void)
{
	char path[256], line[200];
	path_of("stdio", path);
	FILE *f = fopen(path, "w+");
	int a;
	double b;

	CHECK(f);
	for (int i = 0; i < 3000; i++)
		CHECK(fprintf(f, "line %d %.17g %s\n", i, i / 7.0, "text") > 0);
	rewind(f);
	for (int i = 0; i < 3000; i++) {
		CHECK(fgets(line, sizeof(line), f));
		CHECK(sscanf(line, "line %d %lf", &a, &b) == 2 && a == i && b == i / 7.0);
	}
	CHECK(!fgets(line, sizeof(line), f) && feof(f) && !fclose(f) && !remove(path));
	f = tmpfile();
	CHECK(f && fputs("x", f) >= 0 && !fclose(f));
	char *grown = NULL;
	CHECK(asprintf(&grown, "%d", 42) == 2 && !strcmp(grown, "42"));
	free(grown);
}

static void check_pipes(void)
{
	int ends[2];
	char text[16];

	CHECK(!pipe(ends) && write(ends[1], "through", 7) == 7 && read(ends[0], text, sizeof(text)) == 7);
	CHECK(!fcntl(ends[0], F_SETFL, O_NONBLOCK) && read(ends[0], text, 1) == -1 && errno == EAGAIN);
	int waiting;
	CHECK(write(ends[1], "abc", 3) == 3 && !ioctl(ends[0], FIONREAD, &waiting) && waiting == 3);
	CHECK(!close(ends[1]) && read(ends[0], text, 16) == 3 && read(ends[0], text, 1) == 0 && !close(ends[0]));
	CHECK(!pipe2(ends, O_CLOEXEC | O_NONBLOCK) && !close(ends[0]));
	signal(SIGPIPE, SIG_IGN);
	CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE && !close(ends[1]));
}

/* A whole transfer in one call, as a kernel makes it for a regular file. */
static void check_large_transfers(void)
{
	enum { SIZE = 3 << 20 };
	char path[256], *out = malloc(SIZE), *in = calloc(1, SIZE);

	path_of("large", path);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	for (int i = 0; i < SIZE; i++)
		out[i] = (char)(i * 31 + i / 4096);
	CHECK(fd >= 0 && write(fd, out, SIZE) == SIZE && lseek(fd, 0, SEEK_SET) == 0);
	CHECK(read(fd, in, SIZE) == SIZE && !memcmp(in, out, SIZE) && read(fd, in, 1) == 0);
	memset(in, 0, SIZE);
	CHECK(pwrite(fd, out, SIZE, 5) == SIZE && pread(fd, in, SIZE + 10, 5) == SIZE && !memcmp(in, out, SIZE));
	struct iovec vector[3] = {{out, SIZE / 2}, {out, 0}, {out + SIZE / 2, SIZE / 2}}, back[2] = {{in, 100}, {in + 100, SIZE - 100}};
	memset(in, 0, SIZE);
	CHECK(lseek(fd, 3, SEEK_SET) == 3 && writev(fd, vector, 3) == SIZE && lseek(fd, 3, SEEK_SET) == 3);
	CHECK(readv(fd, back, 2) == SIZE && !memcmp(in, out, SIZE));
	memset(in, 0, SIZE);
	CHECK(pwritev(fd, vector, 3, 11) == SIZE && preadv(fd, back, 2, 11) == SIZE && !memcmp(in, out, SIZE));
	CHECK(!close(fd) && !unlink(path));
	int ends[2];
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && !fcntl(ends[0], F_SETFL, O_NONBLOCK));
	ssize_t part = writev(ends[0], vector, 3); /* what there is room for */
	CHECK(part > 0 && part < SIZE && write(ends[0], out, 1) == -1 && errno == EAGAIN);
	CHECK(recv(ends[1], in, (size_t)part, MSG_WAITALL) == part && !memcmp(in, out, (size_t)part));
	CHECK(!close(ends[0]) && !close(ends[1]));
	free(out);
	free(in);
}

static void check_copies_between_descriptors(void)
{
	char path[256], text[32];
	path_of("copies", path);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600), in[2], out[2], memory = memfd_create("memory", MFD_CLOEXEC);
	off_t at = 2;
	loff_t from = 4;

	CHECK(fd >= 0 && memory >= 0 && !pipe(in) && !pipe(out) && write(fd, "0123456789", 10) == 10 && !unlink(path));
	CHECK(sendfile(in[1], fd, &at, 3) == 3 && at == 5 && read(in[0], text, 32) == 3 && !memcmp(text, "234", 3));
	CHECK(splice(fd, &from, in[1], NULL, 4, 0) == 4 && from == 8 && tee(in[0], out[1], 4, 0) == 4);
	CHECK(read(in[0], text, 32) == 4 && read(out[0], text + 4, 8) == 4 && !memcmp(text, "45674567", 8));
	from = 1;
	loff_t to = 50;
	CHECK(copy_file_range(fd, &from, fd, &to, 5, 0) == 5 && to == 55 && pread(fd, text, 9, 50) == 5 && !memcmp(text, "12345", 5));
	CHECK(write(memory, "x", 1) == 1 && pread(memory, text, 9, 0) == 1);
	CHECK(!fallocate(fd, 0, 0, 100) && lseek(fd, 0, SEEK_END) == 100 && !posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	CHECK(!close(fd) && !close(memory) && !close(in[0]) && !close(in[1]) && !close(out[0]) && !close(out[1]));
}

static void check_own_descriptors(void)
{
	char path[64], text[16];
	int ends[2], again;

	CHECK(!pipe(ends) && dup2(ends[0], 300) == 300);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[1]);
	CHECK((again = open(path, O_WRONLY)) >= 0 && write(again, "by name", 7) == 7 && read(300, text, 16) == 7);
	CHECK(open("/dev/fd/301", O_RDONLY) == -1 && errno == ENOENT);
	CHECK(!ioctl(again, FIOCLEX) && fcntl(again, F_GETFD) == FD_CLOEXEC && !ioctl(again, FIONCLEX) && !fcntl(again, F_GETFD));
	CHECK(fcntl(again, F_GETPIPE_SZ) >= 4096 && !close(again) && !close(300) && !close(ends[0]) && !close(ends[1]));
}

const struct check checks_of_files[] = {
	{"files", check_files},
	{"directories", check_directories},
	{"stdio", check_stdio},
	{"pipes", check_pipes},
	{"large_transfers", check_large_transfers},
	{"copies_between_descriptors", check_copies_between_descriptors},
	{"own_descriptors", check_own_descriptors},
	{0},
};
