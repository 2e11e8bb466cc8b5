/* SPDX-License-Identifier: Apache-2.0
 *
 * Through process_vm_readv(), ptrace() and /proc/PID/mem a debug enclave's memory can
 * be read and written, by the program itself and by its parent; another's cannot.
 * Code that has run is seen as it was written.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern const uint8_t test_enclave_entry[];
static struct test_enclave t;

static ssize_t vm(int write, pid_t pid, void *local, uint64_t address, size_t size)
{
	struct iovec l = {local, size}, r = {(void *)address, size};

	return write ? process_vm_writev(pid, &l, 1, &r, 1, 0) : process_vm_readv(pid, &l, 1, &r, 1, 0);
}

/* Two words of data in the enclave, none of which the host has ever touched there. */
static void see(pid_t pid, int debug)
{
	uint64_t at = t.base + AT_DATA, word = 0, words[2] = {0}, ordinary = 0x1234, seen = 0;
	char path[64];
	int fd;

	if (debug) {
		uint8_t code[4096];

		CHECK_EQ(vm(0, pid, code, t.base + AT_CODE, sizeof(code)), sizeof(code));
		CHECK(!memcmp(code, test_enclave_entry, sizeof(code)));
		CHECK_EQ(vm(0, pid, words, at + 8, 16), 16);
		CHECK_EQ(words[0], 0x1111);
		CHECK_EQ(words[1], 0x2222);
		word = 0x3333;
		CHECK_EQ(vm(1, pid, &word, at + 16, 8), 8);
		/* It ends where there is no page. */
		CHECK_EQ(vm(0, pid, words, t.base + AT_FREE - 8, 8), -1);
		CHECK_EQ(errno, EFAULT);
		/* Of a TCS the debug flag can be set, and nothing else. */
		CHECK_EQ(vm(0, pid, words, t.base + AT_TCS(1), 16), 16);
		word = 1;
		CHECK_EQ(vm(1, pid, &word, t.base + AT_TCS(1) + 8, 8), 8);
		CHECK_EQ(vm(1, pid, &word, t.base + AT_TCS(1) + 16, 8), -1);
	} else {
		CHECK_EQ(vm(0, pid, words, at + 8, 16), -1);
		CHECK_EQ(errno, EFAULT);
		CHECK_EQ(vm(1, pid, &word, at + 16, 8), -1);
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(pread(fd, words, 16, (off_t)(at + 8)), debug ? 16 : -1);
	if (debug)
		CHECK_EQ(words[1], 0x3333);
	CHECK_EQ(lseek(fd, (off_t)(at + 16), SEEK_SET), at + 16);
	word = 0x2222;
	CHECK_EQ(write(fd, &word, 8), debug ? 8 : -1);
	CHECK_EQ(pread(fd, &seen, 8, (off_t)&ordinary), 8); /* the same place in both processes */
	close(fd);
	if (pid == getpid())
		CHECK_EQ(seen, 0x1234);
}

static void run_with(uint64_t attributes)
{
	struct test_options options = {.attributes = attributes};
	struct test_args args;
	int debug = !!attributes, status;
	pid_t child;

	test_build(&t, &options);
	args = (struct test_args){.rbx = t.base + AT_DATA + 8, .rax = 0x1111};
	test_call(&t, 0, OP_WRITE, &args);
	args = (struct test_args){.rbx = t.base + AT_DATA + 16, .rax = 0x2222};
	test_call(&t, 0, OP_WRITE, &args);
	see(getpid(), debug);

	child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	see(child, debug);
	errno = 0;
	CHECK_EQ(ptrace(PTRACE_PEEKDATA, child, (void *)(t.base + AT_DATA + 8), NULL), debug ? 0x1111 : -1);
	CHECK_EQ(errno, debug ? 0 : EIO);
	CHECK_EQ(ptrace(PTRACE_POKEDATA, child, (void *)(t.base + AT_DATA + 8), (void *)0x4444),
		 debug ? 0 : -1);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	args.rbx = t.base + AT_DATA + 8;
	test_call(&t, 0, OP_READ, &args);
	CHECK_EQ(args.rax, debug ? 0x4444 : 0x1111);
	test_destroy(&t);
}

/* Another file that takes the place of a process's memory is itself. */
static void replace(void)
{
	int memory = open("/proc/self/mem", O_RDONLY), ends[2];
	char byte = 0;

	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(dup2(ends[0], memory), memory);
	CHECK_EQ(write(ends[1], "x", 1), 1);
	CHECK_EQ(read(memory, &byte, 1), 1);
	CHECK_EQ(byte, 'x');
	close(memory);
}

int main(void)
{
	replace();
	run_with(0);
	replace();
	run_with(SGX_ATTR_DEBUG);
	return 0;
}
