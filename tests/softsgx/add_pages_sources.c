/* SPDX-License-Identifier: Apache-2.0
 *
 * ADD_PAGES' sources and interruptions: a noexec file system, untouched memory,
 * a signal in the middle, a second call at the same time.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct test_enclave t;
static struct sgx_secinfo secinfo = {.flags = 0x203};
static volatile int alarms, busy, stop;

static void on_alarm(int signal)
{
	alarms++;
}

static int add(void *src, uint64_t offset, uint64_t length, uint64_t flags, uint64_t *count)
{
	struct sgx_enclave_add_pages a = {.src = (uint64_t)src,
					  .offset = offset,
					  .length = length,
					  .secinfo = (uint64_t)&secinfo,
					  .flags = flags};
	int error = softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_ADD_PAGES, &a);

	*count = a.count;
	return error;
}

/* In a mount namespace of a child; 77 where that is not allowed. */
static int noexec(void)
{
	char dir[] = "/tmp/softsgx-noexec-XXXXXX", path[64];
	uint64_t count;
	int status, fd;
	pid_t child;

	CHECK(mkdtemp(dir));
	child = fork();
	if (!child) {
		void *at;

		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", dir, "tmpfs", MS_NOEXEC, NULL))
			_exit(77);
		snprintf(path, sizeof(path), "%s/file", dir);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		CHECK_EQ(ftruncate(fd, 4096), 0);
		at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
		CHECK_EQ(add(at, AT_FREE, 4096, 0, &count), -EACCES);
		CHECK_EQ(count, 0);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	rmdir(dir);
	CHECK(status == 0 || status == 77 << 8);
	return WEXITSTATUS(status);
}

static void *other_caller(void *unused)
{
	while (!stop) {
		struct sgx_enclave_init init = {.sigstruct = 8};

		if (softsgx_ioctl(t.fd, SGX_IOC_ENCLAVE_INIT, &init) == -EBUSY)
			busy = 1;
	}
	return NULL;
}

/* Islands in untouched memory arrive where they belong, measured or not. */
static void islands(void)
{
	const uint64_t pages = 400;
	struct test_options options = {.unsigned_only = 1};
	uint8_t *source =
	    mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *all = malloc(pages * 4096);

	source[5 * 4096] = 0x11;
	source[300 * 4096 + 4095] = 0x22;
	source[301 * 4096] = 0x33;
	for (int measure = 0; measure < 2; measure++) {
		test_build(&t, &options);
		CHECK_EQ(test_add_from(&t, source, AT_FREE, pages * 4096, 0x203, measure), 0);
		test_sign(&t, &t.sig);
		CHECK_EQ(test_init(&t, &t.sig), 0);
		CHECK_EQ(test_map(&t, AT_FREE, pages * 4096, PROT_READ | PROT_WRITE), 0);
		test_get(&t, AT_FREE, all, pages * 4096);
		CHECK(!memcmp(all, source, pages * 4096));
		test_destroy(&t);
	}
	free(all);
}

int main(void)
{
	struct test_options options = {.unsigned_only = 1, .size = 1ull << 32};
	struct itimerval timer = {.it_value = {0, 20000}, .it_interval = {0, 20000}};
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	const uint64_t size = 256 << 20;
	uint64_t count, done = 0;
	uint8_t *source = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;
	sigset_t only_alarm;
	int partial = 0, skipped;

	test_build(&t, &options);
	skipped = noexec();

	/* A signal ends a long call early, with success and less than asked. */
	CHECK_EQ(softsgx_sigaction(SIGALRM, &action, NULL), 0);
	setitimer(ITIMER_REAL, &timer, NULL);
	/* The alarm is this thread's: the other one would take it as well as any. */
	sigemptyset(&only_alarm);
	sigaddset(&only_alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &only_alarm, NULL);
	pthread_create(&thread, NULL, other_caller, NULL);
	pthread_sigmask(SIG_UNBLOCK, &only_alarm, NULL);
	while (done < size) {
		int error = add(source, (256ull << 20) + done, size - done, SGX_PAGE_MEASURE, &count);

		if (error == -EBUSY)
			continue;
		CHECK_EQ(error, 0);
		CHECK(count > 0);
		done += count;
		partial += done < size;
	}
	timer = (struct itimerval){0};
	setitimer(ITIMER_REAL, &timer, NULL);
	stop = 1;
	pthread_join(thread, NULL);
	CHECK(alarms > 0 && partial > 0);
	CHECK(busy);
	softsgx_munmap((void *)t.base, t.size);
	softsgx_close(t.fd);

	islands();
	if (skipped) {
		printf("no mount namespaces: noexec sources not tried\n");
		return 77;
	}
	return 0;
}
