/* SPDX-License-Identifier: Apache-2.0
 *
 * syscalls [DIRECTORY]: one small check for each facility of the C library a
 * program may count on. Prints the name of what fails; the exit status says
 * whether anything did. Nothing here knows where it runs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/ioctl.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

static const char *directory = "/tmp";
static const char *current;
static int failures;

/* Ends the check it stands in. */
#define CHECK(condition)                                                                                             \
	do {                                                                                                         \
		errno = 0;                                                                                           \
		if (!(condition)) {                                                                                  \
			printf("FAILED %s: line %d: %s (%s)\n", current, __LINE__, #condition, strerror(errno));      \
			failures++;                                                                                  \
			return;                                                                                      \
		}                                                                                                    \
	} while (0)

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void path_of(const char *name, char out[256])
{
	snprintf(out, 256, "%s/syscalls.%d.%s", directory, (int)getpid(), name);
}

/* ---- memory ---- */

static void check_malloc(void)
{
	enum { COUNT = 500 };
	unsigned char *block[COUNT];

	for (int i = 0; i < COUNT; i++) {
		CHECK(block[i] = malloc((size_t)i * 37 + 1));
		memset(block[i], i, (size_t)i * 37 + 1);
	}
	for (int i = 0; i < COUNT; i += 2)
		free(block[i]);
	for (int i = 1; i < COUNT; i += 2) {
		CHECK(block[i] = realloc(block[i], (size_t)i * 100));
		for (size_t k = 0; k < (size_t)i * 37 + 1; k++)
			CHECK(block[i][k] == (unsigned char)i);
		free(block[i]);
	}
	void *big = calloc(1, 64 << 20);
	CHECK(big && ((char *)big)[(64 << 20) - 1] == 0);
	free(big);
	void *aligned;
	CHECK(!posix_memalign(&aligned, 65536, 100) && (uintptr_t)aligned % 65536 == 0);
	free(aligned);
}

static void check_mmap(void)
{
	char *p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 16 * 4096; i++)
		CHECK(p[i] == 0);
	memset(p, 7, 16 * 4096);
	CHECK(!munmap(p + 4 * 4096, 4 * 4096)); /* a hole in the middle */
	CHECK(p[4 * 4096 - 1] == 7 && p[8 * 4096] == 7);
	char *q = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(q != MAP_FAILED && q[0] == 0 && q[4 * 4096 - 1] == 0);
	CHECK(!mprotect(q, 4096, PROT_READ));
	CHECK(!mprotect(q, 4096, PROT_READ | PROT_WRITE));
	q[0] = 1;
	CHECK(!madvise(q, 4096, MADV_DONTNEED));
	CHECK(!munmap(p, 4 * 4096) && !munmap(p + 8 * 4096, 8 * 4096) && !munmap(q, 4 * 4096));
}

static void check_brk(void)
{
	/* musl has no sbrk() that grows; a C library that has one must give memory */
	void *before = sbrk(0);

	CHECK(before != (void *)-1);
}

static void check_mmap_file(void)
{
	char path[256];
	path_of("mmap", path);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, "mapped text", 11) == 11);
	unlink(path);
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED && !memcmp(p, "mapped text", 11) && p[11] == 0);
	p[0] = 'M'; /* private: the file keeps its own */
	char c;
	CHECK(pread(fd, &c, 1, 0) == 1 && c == 'm');
	CHECK(!munmap(p, 4096) && !close(fd));
}

/* ---- files ---- */

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

static void check_printf(void)
{
	char text[200];

	snprintf(text, sizeof(text), "%.3f|%e|%g|%a|%10.2f|%-8d|%+d|%#x|%c|%5s|%lld|%zu", 3.14159, 12345.678, 0.0001, 1.0,
		 2.5, 42, 7, 255, 'c', "ab", -1234567890123ll, (size_t)99);
	CHECK(!strcmp(text, "3.142|1.234568e+04|0.0001|0x1p+0|      2.50|42      |+7|0xff|c|   ab|-1234567890123|99"));
	CHECK(strtod("1.7976931348623157e308", NULL) == 1.7976931348623157e308);
	CHECK(strtoull("18446744073709551615", NULL, 10) == UINT64_MAX);
}

/* ---- pipes, eventfd, timerfd, sockets, epoll, poll, select ---- */

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

static void check_signalfd(void)
{
	struct signalfd_siginfo info[3];
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 12};
	struct itimerspec soon = {{0, 0}, {0, 2000000}};
	struct timespec none = {0, 0};
	sigset_t set, old, other;
	timer_t timer;
	char little[8];

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGWINCH); /* ignored, unless it is blocked */
	sigaddset(&set, SIGRTMIN);
	CHECK(!sigprocmask(SIG_BLOCK, &set, &old));
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(read(fd, info, sizeof(info)) == -1 && errno == EAGAIN && poll(&p, 1, 0) == 0);
	CHECK(!kill(getpid(), SIGUSR1) && !raise(SIGWINCH) && poll(&p, 1, 0) == 1);
	CHECK(read(fd, little, sizeof(little)) == -1 && errno == EINVAL && write(fd, info, sizeof(info)) == -1 && errno == EINVAL);
	CHECK(read(fd, info, sizeof(info)) == 2 * sizeof(info[0]) && info[0].ssi_signo + info[1].ssi_signo == SIGUSR1 + SIGWINCH &&
	      info[0].ssi_pid == (uint32_t)getpid());
	CHECK(poll(&p, 1, 0) == 0 && read(fd, info, sizeof(info)) == -1 && errno == EAGAIN);

	int copy = dup(fd), epoll = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = 99};
	CHECK(copy >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, copy, &e) && epoll_wait(epoll, &e, 1, 0) == 0);
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &soon, NULL));
	CHECK(epoll_wait(epoll, &e, 1, 5000) == 1 && e.data.fd == 99 && !close(fd));
	CHECK(read(copy, info, sizeof(info)) == sizeof(info[0]) && info[0].ssi_signo == (uint32_t)SIGRTMIN &&
	      info[0].ssi_code == SI_TIMER && info[0].ssi_int == 12 && !timer_delete(timer));

	/* another mask; what was blocked by it stays pending */
	sigemptyset(&other);
	sigaddset(&other, SIGWINCH);
	CHECK(signalfd(copy, &other, 0) == copy && !kill(getpid(), SIGUSR1));
	p.fd = copy;
	CHECK(poll(&p, 1, 0) == 0 && signalfd(copy, &set, 0) == copy && poll(&p, 1, 0) == 1);
	CHECK(sigtimedwait(&set, NULL, &none) == SIGUSR1 && read(copy, info, sizeof(info)) == -1 && errno == EAGAIN);
	CHECK(signalfd(epoll, &set, 0) == -1 && errno == EINVAL && signalfd(-1, &set, 1) == -1 && errno == EINVAL);
	CHECK(signalfd(1000, &set, 0) == -1 && errno == EBADF);
	CHECK(!close(copy) && !close(epoll) && !sigprocmask(SIG_SETMASK, &old, NULL));
}

static void check_eventfd(void)
{
	int fd = eventfd(3, EFD_NONBLOCK);
	uint64_t n = 4;

	CHECK(fd >= 0 && write(fd, &n, 8) == 8 && read(fd, &n, 8) == 8 && n == 7);
	CHECK(read(fd, &n, 8) == -1 && errno == EAGAIN && !close(fd));
}

static void check_timerfd(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec in_20_ms = {.it_value = {0, 20000000}};
	uint64_t n = 0, start = now_ns(CLOCK_MONOTONIC);

	CHECK(fd >= 0 && !timerfd_settime(fd, 0, &in_20_ms, NULL) && read(fd, &n, 8) == 8 && n == 1);
	CHECK(now_ns(CLOCK_MONOTONIC) - start >= 19000000 && !close(fd));
}

static void *echo_once(void *argument)
{
	int listener = *(int *)argument;
	char text[64];
	int fd = accept(listener, NULL, NULL);
	ssize_t n = fd >= 0 ? recv(fd, text, sizeof(text), 0) : -1;

	if (n > 0 && send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0)
		perror("send");
	close(fd);
	return NULL;
}

static void check_tcp(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	pthread_t thread;
	char text[64];

	CHECK(listener >= 0 && fd >= 0);
	CHECK(!setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	CHECK(!bind(listener, (struct sockaddr *)&address, size) && !listen(listener, 4));
	CHECK(!getsockname(listener, (struct sockaddr *)&address, &size) && address.sin_port);
	CHECK(!pthread_create(&thread, NULL, echo_once, &listener));
	CHECK(!connect(fd, (struct sockaddr *)&address, sizeof(address)));
	CHECK(!setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one)));
	struct iovec vector = {"over tcp", 8};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	CHECK(sendmsg(fd, &message, 0) == 8);
	vector = (struct iovec){text, sizeof(text)};
	CHECK(recvmsg(fd, &message, 0) == 8 && !memcmp(text, "over tcp", 8));
	CHECK(recv(fd, text, sizeof(text), 0) == 0);
	CHECK(!pthread_join(thread, NULL) && !close(fd));
	/* nobody listens any more */
	CHECK(!close(listener) && (fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1 && errno == ECONNREFUSED && !close(fd));
}

static void check_udp(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char text[16];

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size));
	CHECK(!getsockname(fd, (struct sockaddr *)&address, &size));
	CHECK(sendto(fd, "datagram", 8, 0, (struct sockaddr *)&address, size) == 8);
	CHECK(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&from, &size) == 8);
	CHECK(from.sin_port == address.sin_port && !memcmp(text, "datagram", 8) && !close(fd));
}

static void check_socketpair(void)
{
	int ends[2];
	char text[8];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && write(ends[0], "pair", 4) == 4);
	CHECK(read(ends[1], text, 8) == 4 && !shutdown(ends[0], SHUT_WR) && read(ends[1], text, 8) == 0);
	CHECK(!close(ends[0]) && !close(ends[1]));
}

static void check_epoll(void)
{
	int set = epoll_create1(EPOLL_CLOEXEC), ends[2];
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0xfeedfacecafebeefu}, got[4];
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	CHECK(set >= 0 && !pipe(ends) && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
	CHECK(epoll_wait(set, got, 4, 20) == 0 && now_ns(CLOCK_MONOTONIC) - start >= 19000000);
	CHECK(write(ends[1], "x", 1) == 1 && epoll_wait(set, got, 4, -1) == 1);
	CHECK(got[0].events == EPOLLIN && got[0].data.u64 == 0xfeedfacecafebeefu);
	CHECK(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event) == -1 && errno == EEXIST);
	CHECK(!epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL) && epoll_wait(set, got, 4, 0) == 0);
	CHECK(!close(set) && !close(ends[0]) && !close(ends[1]));
}

static void check_poll_select(void)
{
	int ends[2];
	fd_set set;
	struct timeval soon = {0, 10000};

	CHECK(!pipe(ends));
	struct pollfd p[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}};
	CHECK(poll(p, 2, 0) == 1 && p[0].revents == 0 && p[1].revents == POLLOUT);
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	CHECK(select(ends[0] + 1, &set, NULL, NULL, &soon) == 0);
	CHECK(write(ends[1], "x", 1) == 1);
	FD_SET(ends[0], &set);
	CHECK(select(ends[0] + 1, &set, NULL, NULL, NULL) == 1 && FD_ISSET(ends[0], &set));
	CHECK(poll(p, 1, -1) == 1 && p[0].revents == POLLIN && !close(ends[0]) && !close(ends[1]));
}

/* ---- threads ---- */

static _Thread_local int thread_local_number = 5;
static _Thread_local char thread_local_zeroes[5000];

static void *add_one(void *argument)
{
	bool is_fresh = thread_local_number == 5;

	for (size_t i = 0; i < sizeof(thread_local_zeroes); i++)
		is_fresh = is_fresh && !thread_local_zeroes[i];
	thread_local_number = 6;
	memset(thread_local_zeroes, 1, sizeof(thread_local_zeroes));
	return is_fresh ? (char *)argument + 1 : NULL;
}

static void check_threads(void)
{
	for (int round = 0; round < 20; round++) {
		pthread_t threads[4];
		for (uintptr_t i = 0; i < 4; i++)
			CHECK(!pthread_create(&threads[i], NULL, add_one, (void *)(i + 10)));
		for (uintptr_t i = 0; i < 4; i++) {
			void *result;
			CHECK(!pthread_join(threads[i], &result) && (uintptr_t)result == i + 11);
		}
	}
	CHECK(thread_local_number == 5);
}

static void *detached(void *argument)
{
	sem_post(argument);
	return NULL;
}

static void check_thread_attributes(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sem_t done;

	CHECK(!sem_init(&done, 0, 0) && !pthread_attr_init(&attributes));
	CHECK(!pthread_attr_setstacksize(&attributes, 256 << 10));
	CHECK(!pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
	CHECK(!pthread_create(&thread, &attributes, detached, &done) && !sem_wait(&done));
	CHECK(!pthread_attr_destroy(&attributes) && !sem_destroy(&done));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int shared_number;

static void *count_up(void *unused)
{
	(void)unused;
	for (int i = 0; i < 10000; i++) {
		pthread_mutex_lock(&lock);
		shared_number++;
		pthread_mutex_unlock(&lock);
	}
	pthread_mutex_lock(&lock);
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void check_mutex_and_condition(void)
{
	pthread_t threads[4];
	struct timespec soon;

	shared_number = 0;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, count_up, NULL));
	pthread_mutex_lock(&lock);
	while (shared_number < 40000)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(shared_number == 40000);
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 20000000;
	soon.tv_sec += soon.tv_nsec / 1000000000;
	soon.tv_nsec %= 1000000000;
	pthread_mutex_lock(&lock);
	int rc = pthread_cond_timedwait(&changed, &lock, &soon);
	pthread_mutex_unlock(&lock);
	CHECK(rc == ETIMEDOUT);
	pthread_mutexattr_t attributes;
	pthread_mutex_t recursive;
	CHECK(!pthread_mutexattr_init(&attributes) && !pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE));
	CHECK(!pthread_mutex_init(&recursive, &attributes));
	CHECK(!pthread_mutex_lock(&recursive) && !pthread_mutex_lock(&recursive) && !pthread_mutex_unlock(&recursive));
	CHECK(!pthread_mutex_unlock(&recursive) && !pthread_mutex_destroy(&recursive));
}

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;

static void *read_locked(void *unused)
{
	(void)unused;
	pthread_rwlock_rdlock(&rwlock);
	pthread_barrier_wait(&barrier); /* both readers hold it */
	pthread_rwlock_unlock(&rwlock);
	return NULL;
}

static void check_rwlock_and_barrier(void)
{
	pthread_t threads[2];

	CHECK(!pthread_barrier_init(&barrier, NULL, 2));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, read_locked, NULL));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(!pthread_rwlock_wrlock(&rwlock) && pthread_rwlock_tryrdlock(&rwlock) == EBUSY);
	CHECK(!pthread_rwlock_unlock(&rwlock) && !pthread_barrier_destroy(&barrier));
}

static void check_semaphore(void)
{
	sem_t s;
	struct timespec past = {1, 0};
	int value;

	CHECK(!sem_init(&s, 0, 2) && !sem_wait(&s) && !sem_trywait(&s) && sem_trywait(&s) == -1 && errno == EAGAIN);
	CHECK(sem_timedwait(&s, &past) == -1 && errno == ETIMEDOUT);
	CHECK(!sem_post(&s) && !sem_getvalue(&s, &value) && value == 1 && !sem_destroy(&s));
}

static atomic_int cleaned;

static void clean(void *unused)
{
	(void)unused;
	cleaned++;
}

static void *wait_forever(void *argument)
{
	char c;

	pthread_cleanup_push(clean, NULL);
	if (read(*(int *)argument, &c, 1) < 0)
		perror("read");
	pthread_cleanup_pop(0);
	return NULL;
}

static void check_cancel(void)
{
	pthread_t thread;
	int ends[2];
	void *result;
	struct timespec moment = {0, 20000000};

	cleaned = 0;
	CHECK(!pipe(ends) && !pthread_create(&thread, NULL, wait_forever, ends));
	nanosleep(&moment, NULL);
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED && cleaned == 1);
	CHECK(!close(ends[0]) && !close(ends[1]));
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static atomic_int once_count, destroyed;

static void at_once(void)
{
	once_count++;
}

static void destroy(void *value)
{
	destroyed += (int)(intptr_t)value;
}

static void *set_key(void *unused)
{
	pthread_once(&once, at_once);
	pthread_setspecific(key, (void *)(intptr_t)3);
	return unused;
}

static void check_once_and_keys(void)
{
	pthread_t thread;

	CHECK(!pthread_key_create(&key, destroy));
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&thread, NULL, set_key, NULL) && !pthread_join(thread, NULL));
	CHECK(once_count == 1 && destroyed == 9 && !pthread_key_delete(key));
}

static atomic_long atomic_sum;

static void *add_atomically(void *unused)
{
	for (int i = 0; i < 100000; i++)
		atomic_fetch_add(&atomic_sum, 1);
	return unused;
}

static void check_atomics(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&threads[i], NULL, add_atomically, NULL));
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(atomic_sum == 300000);
}

/* ---- clocks, randomness, time zones ---- */

static void check_clocks(void)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC), last = start;
	struct timespec pause = {0, 30000000}, resolution;
	struct timeval tv;

	for (int i = 0; i < 10000; i++) {
		uint64_t now = now_ns(CLOCK_MONOTONIC);
		CHECK(now >= last);
		last = now;
	}
	CHECK(!nanosleep(&pause, NULL) && now_ns(CLOCK_MONOTONIC) - start >= 30000000);
	CHECK(!gettimeofday(&tv, NULL) && tv.tv_sec > 1700000000 && labs(time(NULL) - tv.tv_sec) <= 1);
	CHECK(!clock_getres(CLOCK_MONOTONIC, &resolution) && resolution.tv_sec == 0);
	CHECK(!clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL));
	CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) > 0 && clock() != (clock_t)-1);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec -= 1;
	CHECK(!clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
}

static void check_time_zones(void)
{
	time_t summer = 1720000000; /* 2024-07-03 09:46:40 UTC */
	struct tm tm;
	char text[64];

	CHECK(gmtime_r(&summer, &tm) && tm.tm_hour == 9 && timegm(&tm) == summer);
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	CHECK(localtime_r(&summer, &tm) && tm.tm_hour == 11 && tm.tm_isdst == 1 && mktime(&tm) == summer);
	CHECK(strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm) && !strcmp(text, "2024-07-03 11:46:40 CEST"));
	if (!access("/usr/share/zoneinfo/America/New_York", R_OK)) {
		setenv("TZ", "America/New_York", 1);
		tzset();
		CHECK(localtime_r(&summer, &tm) && tm.tm_hour == 5 && tm.tm_min == 46);
	}
	unsetenv("TZ");
	tzset();
}

static bool is_random(const unsigned char *p, size_t size)
{
	unsigned ones = 0;

	for (size_t i = 0; i < size; i++)
		ones += (unsigned)__builtin_popcount(p[i]);
	return ones > size * 8 * 2 / 5 && ones < size * 8 * 3 / 5;
}

static void check_randomness(void)
{
	unsigned char a[256], b[256];
	int fd = open("/dev/urandom", O_RDONLY);

	CHECK(fd >= 0 && read(fd, a, sizeof(a)) == sizeof(a) && !close(fd) && is_random(a, sizeof(a)));
	CHECK(getrandom(b, sizeof(b), 0) == sizeof(b) && is_random(b, sizeof(b)) && memcmp(a, b, sizeof(a)));
	CHECK(!getentropy(a, 100) && is_random(a, sizeof(a)));
	FILE *f = fopen("/dev/urandom", "r");
	CHECK(f && fread(a, 1, sizeof(a), f) == sizeof(a) && memcmp(a, b, sizeof(a)) && !fclose(f));
}

/* ---- signals, jumps, the process ---- */

static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
	signals_seen += number == SIGUSR2;
}

static void check_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal}, old;
	sigset_t blocked, pending;

	signals_seen = 0;
	CHECK(!sigaction(SIGUSR2, &action, &old) && !raise(SIGUSR2) && signals_seen == 1);
	CHECK(!kill(getpid(), SIGUSR2));
	for (int i = 0; i < 1000 && signals_seen < 2; i++)
		usleep(1000);
	CHECK(signals_seen == 2);
	CHECK(!sigemptyset(&blocked) && !sigaddset(&blocked, SIGUSR2) && !pthread_sigmask(SIG_BLOCK, &blocked, NULL));
	CHECK(!raise(SIGUSR2) && signals_seen == 2 && !sigpending(&pending) && sigismember(&pending, SIGUSR2));
	CHECK(!pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) && signals_seen == 3);
	CHECK(!sigaction(SIGUSR2, &old, NULL));
	CHECK(signal(SIGTERM, SIG_IGN) != SIG_ERR && !raise(SIGTERM) && signal(SIGTERM, SIG_DFL) == SIG_IGN);
}

static jmp_buf jump;

__attribute__((noinline)) static void jump_back(int depth, volatile int *seen)
{
	volatile char frame[500];

	memset((char *)frame, depth, sizeof(frame));
	(*seen)++;
	if (depth == 0)
		longjmp(jump, 42);
	jump_back(depth - 1, seen);
	if (frame[0] != depth)
		abort();
}

static volatile sig_atomic_t alarms_seen, timer_value;

static void see_alarm(int number)
{
	(void)number;
	alarms_seen++;
}

static void see_timer(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	timer_value = info->si_code == SI_TIMER ? info->si_value.sival_int : -1;
}

static void wait_for(volatile sig_atomic_t *what, int at_least)
{
	for (int i = 0; *what < at_least && i < 5000; i++)
		usleep(1000);
}

static void check_timers(void)
{
	struct sigaction action = {.sa_handler = see_alarm}, timed = {.sa_sigaction = see_timer, .sa_flags = SA_SIGINFO};
	struct itimerval every = {{0, 5000}, {0, 5000}}, once = {{0, 0}, {0, 5000}}, off = {{0, 0}, {0, 0}}, left;
	struct sigevent event = {
	    .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2, .sigev_value.sival_int = 99};
	struct itimerspec soon = {{0, 0}, {0, 5000000}}, later = {{1, 0}, {100, 0}}, at, before;
	timer_t timer, silent;

	CHECK(!sigaction(SIGALRM, &action, NULL) && !sigaction(SIGUSR2, &timed, NULL));
	alarms_seen = 0;
	CHECK(!setitimer(ITIMER_REAL, &every, NULL));
	wait_for(&alarms_seen, 5);
	CHECK(alarms_seen >= 5 && !setitimer(ITIMER_REAL, &off, &left) && left.it_interval.tv_usec == 5000);
	alarms_seen = 0;
	CHECK(!setitimer(ITIMER_REAL, &once, NULL));
	wait_for(&alarms_seen, 1);
	usleep(20000);
	CHECK(alarms_seen == 1 && !getitimer(ITIMER_REAL, &left) && left.it_value.tv_sec == 0 && left.it_value.tv_usec == 0);
	CHECK(alarm(100) == 0 && alarm(0) == 100 && ualarm(0, 0) == 0);
	CHECK(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000000}}, NULL) == -1 && errno == EINVAL);

	for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
		CHECK(!sigaction(which == ITIMER_PROF ? SIGPROF : SIGVTALRM, &action, NULL));
		alarms_seen = 0;
		clock_t begun = clock();
		CHECK(!setitimer(which, &every, NULL));
		usleep(100000);
		CHECK(alarms_seen <= 3); /* asleep, it hardly runs */
		while (alarms_seen < 5 && clock() - begun < 20 * CLOCKS_PER_SEC)
			;
		CHECK(alarms_seen >= 5 && clock() - begun >= 10000); /* a kernel counts by ticks */
		CHECK(!getitimer(which, &left) && left.it_value.tv_usec > 0 && left.it_value.tv_usec <= 5000);
		CHECK(!setitimer(which, &off, &left) && left.it_interval.tv_usec == 5000);
	}
	CHECK(setitimer(3, &off, NULL) == -1 && errno == EINVAL && getitimer(3, &left) == -1 && errno == EINVAL);

	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &soon, NULL));
	wait_for(&timer_value, 1);
	CHECK(timer_value == 99 && timer_getoverrun(timer) == 0);
	CHECK(!timer_settime(timer, 0, &later, NULL) && !timer_gettime(timer, &at) && at.it_interval.tv_sec == 1 &&
	      at.it_value.tv_sec >= 99 && at.it_value.tv_sec <= 100);
	timer_value = 0;
	clock_gettime(CLOCK_MONOTONIC, &soon.it_value);
	CHECK(!timer_settime(timer, TIMER_ABSTIME, &soon, &before) && before.it_interval.tv_sec == 1);
	wait_for(&timer_value, 1);
	CHECK(timer_value == 99 && !timer_delete(timer) && timer_gettime(timer, &at) == -1 && errno == EINVAL);
	event.sigev_notify = SIGEV_NONE;
	CHECK(!timer_create(CLOCK_REALTIME, &event, &silent) && !timer_settime(silent, 0, &later, NULL));
	CHECK(!timer_gettime(silent, &at) && at.it_value.tv_sec >= 99 && !timer_delete(silent));
	signal(SIGALRM, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

static void check_setjmp(void)
{
	volatile int seen = 0, result = setjmp(jump);
	sigjmp_buf with_mask;

	if (result == 0)
		jump_back(20, &seen);
	CHECK(result == 42 && seen == 21);
	result = sigsetjmp(with_mask, 1);
	if (result == 0)
		siglongjmp(with_mask, 7);
	CHECK(result == 7);
}

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void check_qsort(void)
{
	static int numbers[20000];

	for (int i = 0; i < 20000; i++)
		numbers[i] = (int)((unsigned)i * 2654435761u >> 4);
	qsort(numbers, 20000, sizeof(int), by_number);
	for (int i = 1; i < 20000; i++)
		CHECK(numbers[i - 1] <= numbers[i]);
	CHECK(bsearch(&numbers[777], numbers, 20000, sizeof(int), by_number));
}

static void check_strings(void)
{
	char text[100] = "one,two,,three", *rest = text;
	wchar_t wide[20];

	CHECK(!strcmp(strsep(&rest, ","), "one") && !strcmp(strsep(&rest, ","), "two") && *strsep(&rest, ",") == 0);
	CHECK(!strcmp(rest, "three") && strstr("haystack", "stack") && strrchr("a/b/c", '/')[1] == 'c');
	memmove(text + 3, text, 50);
	CHECK(!memcmp(text + 3, "one", 3) && memchr(text, 't', 20));
	CHECK(mbstowcs(wide, "wide", 20) == 4 && !wcscmp(wide, L"wide"));
	CHECK(!strcmp(strerror(ENOENT), "No such file or directory"));
}

static void check_math(void)
{
	CHECK(fabs(sin(1.0) - 0.8414709848078965) < 1e-15 && fabs(exp(1.0) - 2.718281828459045) < 1e-15);
	CHECK(pow(2, 100) == 1267650600228229401496703205376.0 && sqrt(2.0) * sqrt(2.0) - 2.0 < 1e-15);
	CHECK(fesetround(FE_UPWARD) == 0);
	volatile double one = 1, three = 3;
	volatile double up = one / three;
	CHECK(fesetround(FE_DOWNWARD) == 0);
	volatile double down = one / three;
	CHECK(fesetround(FE_TONEAREST) == 0 && up > down);
	CHECK(expl(1.0L) > 2.718281828459045L && expl(1.0L) < 2.718281828459046L);
}

static void check_environment(void)
{
	CHECK(!setenv("OPTMIG_TEST", "value", 1) && !strcmp(getenv("OPTMIG_TEST"), "value"));
	CHECK(!unsetenv("OPTMIG_TEST") && !getenv("OPTMIG_TEST"));
	CHECK(getpid() > 0 && getuid() == geteuid() && sysconf(_SC_PAGESIZE) == 4096 && sysconf(_SC_NPROCESSORS_ONLN) > 0);
	struct utsname name;
	CHECK(!uname(&name) && !strcmp(name.sysname, "Linux") && !strcmp(name.machine, "x86_64"));
	struct rlimit limit;
	CHECK(!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur >= 64);
	struct rusage usage;
	CHECK(!getrusage(RUSAGE_SELF, &usage));
	char host[256];
	CHECK(!gethostname(host, sizeof(host)));
}

/* A program that cannot start another one is told so; it does not hang or die. */
/* A whole transfer in one call, as a kernel makes it for a regular file. */
static void check_credentials(void)
{
	uid_t user[3];
	gid_t group[3];

	CHECK(!getresuid(&user[0], &user[1], &user[2]) && user[0] == getuid() && user[1] == geteuid());
	CHECK(!getresgid(&group[0], &group[1], &group[2]) && group[0] == getgid() && group[1] == getegid());
	/* To become what one is: servers that are given a user do it and end if it fails. */
	CHECK(!setgid(getgid()) && !setuid(getuid()) && !setreuid((uid_t)-1, user[1]));
	CHECK(!setresuid(user[0], (uid_t)-1, user[2]) && !setresgid(group[0], group[1], (gid_t)-1));
	/* To be less, on the way to which root goes first: not in an enclave. Elsewhere this would change the process. */
	if (getpid() == 1)
		CHECK(setuid(user[0] + 1) == -1 && errno == EPERM && setresgid((gid_t)-1, group[1] + 1, (gid_t)-1) == -1 &&
		      errno == EPERM && getuid() == user[0] && getegid() == group[1]);
}

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

static volatile sig_atomic_t exceeded;

static void see_exceeded(int signum)
{
	exceeded = signum;
}

static void check_limits(void)
{
	struct rlimit before, limit, got;
	char path[200];

	/* as it is set, so it is read, by each of the three calls; soft never above hard */
	for (int resource = 0; resource < RLIM_NLIMITS; resource++)
		CHECK(!getrlimit(resource, &limit) && limit.rlim_cur <= limit.rlim_max && !setrlimit(resource, &limit) &&
		      !prlimit(getpid(), resource, NULL, &got) && got.rlim_cur == limit.rlim_cur && got.rlim_max == limit.rlim_max);
	CHECK(getrlimit(RLIM_NLIMITS, &limit) == -1 && errno == EINVAL);
	CHECK(!getrlimit(RLIMIT_CORE, &before));
	limit = (struct rlimit){0, before.rlim_max};
	CHECK(!prlimit(0, RLIMIT_CORE, &limit, &got) && got.rlim_cur == before.rlim_cur && !getrlimit(RLIMIT_CORE, &got) &&
	      got.rlim_cur == 0 && got.rlim_max == before.rlim_max && !setrlimit(RLIMIT_CORE, &before));
	limit = (struct rlimit){2, 1};
	CHECK(setrlimit(RLIMIT_CORE, &limit) == -1 && errno == EINVAL);

	/* memory */
	CHECK(!getrlimit(RLIMIT_AS, &before));
	limit = (struct rlimit){1 << 20, before.rlim_max};
	CHECK(!setrlimit(RLIMIT_AS, &limit));
	void *p = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error = errno;
	CHECK(!setrlimit(RLIMIT_AS, &before) && p == MAP_FAILED && error == ENOMEM);
	p = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && !munmap(p, 8 << 20));

	/* files */
	snprintf(path, sizeof(path), "%s/limited", directory);
	int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	CHECK(fd >= 0 && !unlink(path) && !getrlimit(RLIMIT_FSIZE, &before));
	limit = (struct rlimit){100000, before.rlim_max};
	signal(SIGXFSZ, see_exceeded);
	exceeded = 0;
	CHECK(!setrlimit(RLIMIT_FSIZE, &limit) && pwrite(fd, path, 4, 99998) == 2 && !exceeded);
	CHECK(pwrite(fd, path, 1, 100000) == -1 && errno == EFBIG && exceeded == SIGXFSZ);
	exceeded = 0;
	CHECK(ftruncate(fd, 100001) == -1 && errno == EFBIG && exceeded == SIGXFSZ);
	CHECK(!setrlimit(RLIMIT_FSIZE, &before) && pwrite(fd, path, 1, 100000) == 1 && !close(fd));

	/* processor time */
	CHECK(!getrlimit(RLIMIT_CPU, &before));
	rlim_t used_s = (rlim_t)(clock() / CLOCKS_PER_SEC);
	limit = (struct rlimit){used_s + 1, before.rlim_max};
	signal(SIGXCPU, see_exceeded);
	exceeded = 0;
	CHECK(!setrlimit(RLIMIT_CPU, &limit));
	while (!exceeded && clock() / CLOCKS_PER_SEC < (clock_t)used_s + 10)
		;
	CHECK(!setrlimit(RLIMIT_CPU, &before) && exceeded == SIGXCPU); /* kernels count it by ticks */
	CHECK(clock() > (clock_t)used_s * CLOCKS_PER_SEC + CLOCKS_PER_SEC / 2);
}

static void check_control_data(void)
{
	int ends[2], line[2], on = 1, got = -1;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(64)];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char text[8];
	_Alignas(struct cmsghdr) char large[2000] = {0};
	struct iovec part = {text, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_SPACE(sizeof(int))};

	/* a descriptor: the number is another, what it stands for the same */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends) && !pipe(line));
	memcpy(CMSG_DATA(&control.header), &line[1], sizeof(int));
	CHECK(sendmsg(ends[0], &message, 0) == 1 && !close(line[1]));
	memset(&control, 0, sizeof(control));
	message.msg_controllen = sizeof(control);
	CHECK(recvmsg(ends[1], &message, MSG_CMSG_CLOEXEC) == 1 && !(message.msg_flags & MSG_CTRUNC));
	CHECK(message.msg_controllen >= CMSG_LEN(sizeof(int)) && control.header.cmsg_level == SOL_SOCKET &&
	      control.header.cmsg_type == SCM_RIGHTS && control.header.cmsg_len == CMSG_LEN(sizeof(int)));
	memcpy(&got, CMSG_DATA(&control.header), sizeof(int));
	CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC && write(got, "y", 1) == 1 && read(line[0], text, 8) == 1 && text[0] == 'y');
	CHECK(!close(got) && read(line[0], text, 8) == 0 && !close(line[0]));

	/* no room for it: said, not silent */
	memset(&control, 0, sizeof(control));
	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &ends[0], sizeof(int));
	message.msg_controllen = CMSG_SPACE(sizeof(int));
	CHECK(sendmsg(ends[0], &message, 0) == 1);
	message.msg_control = NULL;
	message.msg_controllen = 0;
	CHECK(recvmsg(ends[1], &message, 0) == 1 && message.msg_flags & MSG_CTRUNC);
	message.msg_control = large;
	message.msg_controllen = sizeof(large);
	CHECK(sendmsg(ends[0], &message, 0) == -1);
	CHECK(!close(ends[0]) && !close(ends[1]));

	/* where a packet went to, and when it came */
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool target = false, moment = false;
	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size) && !getsockname(fd, (struct sockaddr *)&address, &size));
	CHECK(!setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) && !setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)));
	CHECK(sendto(fd, "z", 1, 0, (struct sockaddr *)&address, size) == 1);
	message = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = large, .msg_controllen = sizeof(large)};
	CHECK(recvmsg(fd, &message, 0) == 1 && !(message.msg_flags & MSG_CTRUNC));
	for (size_t at = 0; at + sizeof(struct cmsghdr) <= message.msg_controllen;) {
		const struct cmsghdr *c = (const struct cmsghdr *)(large + at);
		at += CMSG_ALIGN(c->cmsg_len);
		struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(c);
		struct timeval *when = (struct timeval *)CMSG_DATA(c);
		target |= c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
			  info->ipi_addr.s_addr == htonl(INADDR_LOOPBACK);
		moment |= c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMP && when->tv_sec >= time(NULL) - 60;
	}
	CHECK(target && moment && !close(fd));
}

static void check_many_messages(void)
{
	int ends[2];
	char text[4][8];
	struct iovec part[4];
	struct mmsghdr message[4] = {0};

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
	for (int i = 0; i < 4; i++) {
		part[i] = (struct iovec){text[i], (size_t)i + 1};
		memset(text[i], 'a' + i, 8);
		message[i].msg_hdr.msg_iov = &part[i];
		message[i].msg_hdr.msg_iovlen = 1;
	}
	CHECK(sendmmsg(ends[0], message, 4, 0) == 4 && message[3].msg_len == 4);
	for (int i = 0; i < 4; i++)
		part[i].iov_len = 8;
	memset(text, 0, sizeof(text));
	CHECK(recvmmsg(ends[1], message, 2, 0, NULL) == 2 && message[1].msg_len == 2 && !memcmp(text[1], "bb", 3));
	CHECK(recvmmsg(ends[1], message, 4, MSG_WAITFORONE, NULL) == 2 && message[1].msg_len == 4 && !memcmp(text[1], "dddd", 5));
	CHECK(recvmmsg(ends[1], message, 4, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN && !close(ends[0]) && !close(ends[1]));
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

static void check_remapping(void)
{
	size_t page = 4096;
	char *p = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q;

	CHECK(p != MAP_FAILED && strcpy(p, "first") && strcpy(p + 2 * page, "third"));
	CHECK(mremap(p, 3 * page, SIZE_MAX - page, MREMAP_MAYMOVE) == MAP_FAILED && !strcmp(p, "first"));
	CHECK(!munmap(p + page, page));
	CHECK(mremap(p + page, page, 2 * page, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	CHECK(mmap(p + page, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == p + page && p[page] == 0);
	CHECK(write(1, p + (1ul << 40), 1) == -1 && errno == EFAULT);
	q = mremap(p, 3 * page, 300 * page, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && !strcmp(q, "first") && !strcmp(q + 2 * page, "third") && q[299 * page] == 0);
	CHECK(!madvise(q, 3 * page, MADV_DONTNEED) && q[0] == 0 && q[2 * page] == 0 && !munmap(q, 300 * page));
}

static volatile int seen_code, seen_sender, seen_count;

static void note_info(int number, siginfo_t *info, void *context)
{
	(void)number, (void)context;
	seen_code = info->si_code;
	seen_sender = info->si_pid;
	seen_count++;
}

static void *signal_soon(void *argument)
{
	usleep(30000);
	pthread_kill(*(pthread_t *)argument, SIGUSR1);
	return NULL;
}

static void *write_later(void *argument)
{
	usleep(80000);
	if (write(*(int *)argument, "x", 1) != 1)
		perror("write");
	return NULL;
}

static void check_signals_in_calls(void)
{
	struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO | SA_RESTART};
	pthread_t self = pthread_self(), sender, writer;
	struct timespec wait_10_s = {10, 0}, left;
	int ends[2];
	char c;

	CHECK(!sigaction(SIGUSR1, &action, NULL) && !raise(SIGUSR1) && seen_count == 1 && seen_code == SI_TKILL);
	CHECK(!kill(getpid(), SIGUSR1) && seen_count == 2 && seen_code == SI_USER && seen_sender == getpid());
	CHECK(!pipe(ends) && !pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(!pthread_create(&writer, NULL, write_later, &ends[1]));
	CHECK(read(ends[0], &c, 1) == 1 && seen_count == 3); /* went on after the handler */
	pthread_join(sender, NULL);
	pthread_join(writer, NULL);
	CHECK(!pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(nanosleep(&wait_10_s, &left) == -1 && errno == EINTR && left.tv_sec == 9 && seen_count == 4);
	pthread_join(sender, NULL);
	CHECK(!close(ends[0]) && !close(ends[1]));
}

static void check_signal_masks_of_waits(void)
{
	struct sigaction action = {.sa_sigaction = note_info, .sa_flags = SA_SIGINFO};
	pthread_t self = pthread_self(), sender;
	struct timespec wait_10_s = {10, 0}, wait_20_ms = {0, 20000000};
	sigset_t usr1, before, now;
	siginfo_t info;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK(!sigaction(SIGUSR1, &action, NULL) && !pthread_sigmask(SIG_BLOCK, &usr1, &before));
	seen_count = 0;
	CHECK(!raise(SIGUSR1) && seen_count == 0);
	CHECK(ppoll(NULL, 0, &wait_20_ms, NULL) == 0 && seen_count == 0);
	CHECK(ppoll(NULL, 0, &wait_10_s, &before) == -1 && errno == EINTR && seen_count == 1);
	CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &now) && sigismember(&now, SIGUSR1));
	CHECK(!pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(pselect(0, NULL, NULL, NULL, &wait_10_s, &before) == -1 && errno == EINTR && seen_count == 2);
	pthread_join(sender, NULL);
	CHECK(!pthread_create(&sender, NULL, signal_soon, &self));
	CHECK(sigwaitinfo(&usr1, &info) == SIGUSR1 && info.si_signo == SIGUSR1 && seen_count == 2);
	pthread_join(sender, NULL);
	CHECK(sigtimedwait(&usr1, &info, &wait_20_ms) == -1 && errno == EAGAIN);
	CHECK(!pthread_sigmask(SIG_SETMASK, &before, NULL) && seen_count == 2);
}

static void check_interests(void)
{
	int set = epoll_create1(0), ends[2], other[2];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &set}, got[4];

	CHECK(set >= 0 && !pipe(ends) && !pipe(other) && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
	event.data.ptr = &ends;
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, other[0], &event) && write(ends[1], "x", 1) == 1);
	CHECK(epoll_wait(set, got, 4, -1) == 1 && got[0].data.ptr == &set && got[0].events == EPOLLIN);
	CHECK(write(other[1], "x", 1) == 1 && epoll_wait(set, got, 4, -1) == 2);
	event.data.ptr = &other;
	CHECK(!epoll_ctl(set, EPOLL_CTL_MOD, ends[0], &event) && !close(other[0]));
	CHECK(epoll_wait(set, got, 4, -1) == 1 && got[0].data.ptr == &other);
	/* The number comes again, its interest does not. */
	int again = dup(ends[0]);
	CHECK(again == other[0] && epoll_ctl(set, EPOLL_CTL_MOD, again, &event) == -1 && errno == ENOENT);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, again, &event) && epoll_wait(set, got, 4, -1) == 2);
	CHECK(!close(again) && !close(ends[0]) && !close(ends[1]) && !close(other[1]) && !close(set));
}

/* A set is one set by all its numbers; what is registered by a number stays while a dup of it is open. */
static void check_interests_of_dups(void)
{
	int set = epoll_create1(0), same = dup(set), ends[2], other[2];
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1}, got[4];

	CHECK(set >= 0 && same >= 0 && !pipe(ends) && !epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
	CHECK(epoll_ctl(same, EPOLL_CTL_ADD, ends[0], &event) == -1 && errno == EEXIST);
	event.data.u64 = 2;
	CHECK(!epoll_ctl(same, EPOLL_CTL_MOD, ends[0], &event) && write(ends[1], "x", 1) == 1);
	CHECK(epoll_wait(set, got, 4, -1) == 1 && got[0].data.u64 == 2);
	CHECK(epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);
	CHECK(!close(set) && epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);

	int copy = fcntl(ends[0], F_DUPFD, 50);
	CHECK(copy >= 50 && !close(ends[0]) && epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);
	/* the same numbers, other files */
	CHECK(!pipe(other) && epoll_wait(same, got, 4, 0) == 1 && got[0].data.u64 == 2);
	int reader = dup2(other[0], 60);
	event.data.u64 = 3;
	CHECK(reader == 60 && !epoll_ctl(same, EPOLL_CTL_ADD, reader, &event));
	CHECK(write(other[1], "x", 1) == 1 && epoll_wait(same, got, 4, -1) == 2);
	CHECK(dup2(copy, 60) == 60 && epoll_wait(same, got, 4, -1) == 2);
	CHECK(!close(other[0]) && epoll_wait(same, got, 4, -1) == 1 && got[0].data.u64 == 2);
	CHECK(!close(60) && epoll_wait(same, got, 4, -1) == 1);
	CHECK(!close(copy) && epoll_wait(same, got, 4, 0) == 0);
	close(ends[1]), close(other[1]), close(same);
}

/* Told at once, as by a kernel without it: programs look themselves then. */
static void check_inotify_or_enosys(void)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), error = errno;
	int old = inotify_init(), old_error = errno;

	CHECK(fd >= 0 ? old >= 0 && !close(fd) && !close(old) : error == ENOSYS && old == -1 && old_error == ENOSYS);
}

static void check_fork_or_enosys(void)
{
	fflush(stdout);
	pid_t child = fork();
	int error = errno;

	if (child == 0)
		_exit(9);
	if (child < 0) {
		CHECK(error == ENOSYS);
		return;
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 9);
}

static const struct {
	const char *name;
	void (*run)(void);
} checks[] = {
	{"malloc", check_malloc},
	{"mmap", check_mmap},
	{"brk", check_brk},
	{"mmap_file", check_mmap_file},
	{"files", check_files},
	{"directories", check_directories},
	{"stdio", check_stdio},
	{"printf", check_printf},
	{"pipes", check_pipes},
	{"eventfd", check_eventfd},
	{"signalfd", check_signalfd},
	{"timerfd", check_timerfd},
	{"tcp", check_tcp},
	{"udp", check_udp},
	{"socketpair", check_socketpair},
	{"interests of dups", check_interests_of_dups},
	{"epoll", check_epoll},
	{"poll_select", check_poll_select},
	{"threads", check_threads},
	{"thread_attributes", check_thread_attributes},
	{"mutex_and_condition", check_mutex_and_condition},
	{"rwlock_and_barrier", check_rwlock_and_barrier},
	{"semaphore", check_semaphore},
	{"cancel", check_cancel},
	{"once_and_keys", check_once_and_keys},
	{"atomics", check_atomics},
	{"clocks", check_clocks},
	{"time_zones", check_time_zones},
	{"randomness", check_randomness},
	{"signals", check_signals},
	{"timers", check_timers},
	{"setjmp", check_setjmp},
	{"qsort", check_qsort},
	{"strings", check_strings},
	{"math", check_math},
	{"environment", check_environment},
	{"credentials", check_credentials},
	{"large_transfers", check_large_transfers},
	{"copies_between_descriptors", check_copies_between_descriptors},
	{"limits", check_limits},
	{"control_data", check_control_data},
	{"many_messages", check_many_messages},
	{"own_descriptors", check_own_descriptors},
	{"remapping", check_remapping},
	{"signals_in_calls", check_signals_in_calls},
	{"signal_masks_of_waits", check_signal_masks_of_waits},
	{"interests", check_interests},
	{"inotify_or_enosys", check_inotify_or_enosys},
	{"fork_or_enosys", check_fork_or_enosys},
};

int main(int argc, char **argv)
{
	size_t count = sizeof(checks) / sizeof(*checks);

	if (argc > 1)
		directory = argv[1];
	for (size_t i = 0; i < count; i++) {
		current = checks[i].name;
		if (argc > 2 && strcmp(argv[2], current))
			continue;
		checks[i].run();
		fflush(stdout);
	}
	printf("%zu checks, %d failed\n", count, failures);
	return failures ? 1 : 0;
}
