/* SPDX-License-Identifier: Apache-2.0
 *
 * The process: what it is given, who it is, what it may use, and a child of it.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

static void check_credentials(void)
{
	uid_t user[3];
	gid_t group[3], groups[512];
	int count = getgroups(0, NULL);

	CHECK(!getresuid(&user[0], &user[1], &user[2]) && user[0] == getuid() && user[1] == geteuid());
	CHECK(!getresgid(&group[0], &group[1], &group[2]) && group[0] == getgid() && group[1] == getegid());
	CHECK(count >= 0 && getgroups(512, groups) == count && getgroups(-1, groups) == -1 && errno == EINVAL);
	/* To become what one is: servers that are given a user do it and end if it fails. */
	CHECK(!setgid(getgid()) && !setuid(getuid()) && !setreuid((uid_t)-1, user[1]));
	CHECK(!setresuid(user[0], (uid_t)-1, user[2]) && !setresgid(group[0], group[1], (gid_t)-1));
	/* To be less, on the way to which root goes first: not in an enclave. Elsewhere this would change the process. */
	if (getpid() == 1) {
		CHECK(setuid(user[0] + 1) == -1 && errno == EPERM && setresgid((gid_t)-1, group[1] + 1, (gid_t)-1) == -1 &&
		      errno == EPERM && getuid() == user[0] && getegid() == group[1]);
		CHECK(sethostname("other", 5) == -1 && errno == EPERM);
	}
}

static volatile sig_atomic_t exceeded;

static void see_exceeded(int signum)
{
	exceeded = signum;
}

static void check_limits(void)
{
	struct rlimit before, limit, got;
	char path[256];

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
	path_of("limited", path);
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

/* A program that cannot start another one is told so; it does not hang or die. */
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

/* Servers give privileges up for good, and some say so if they cannot. */
static void check_no_new_privileges(void)
{
	errno = 0;
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == -1 && errno == EINVAL);
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

const struct check checks_of_process[] = {
	{"randomness", check_randomness},
	{"environment", check_environment},
	{"credentials", check_credentials},
	{"limits", check_limits},
	{"fork_or_enosys", check_fork_or_enosys},
	{"no_new_privileges", check_no_new_privileges},
	{0},
};
