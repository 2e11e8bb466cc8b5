/* SPDX-License-Identifier: Apache-2.0
 *
 * LD_PRELOAD, what debuggers use: process_vm_readv(), ptrace() and /proc/PID/mem.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>
#include "softsgx/inspect.h"
#include "softsgx/preload.h"

#define FILES_MAX 16

/* Open /proc/PID/mem, by descriptor. */
static struct memory_file {
	int fd; /* and one, so that zero is none */
	pid_t pid;
} files[FILES_MAX];
static int file_count;

/* "/proc/PID/mem" or "/proc/self/mem": the process, or 0. */
static pid_t memory_of(const char *path)
{
	char *end;
	long pid;

	if (strncmp(path, "/proc/", 6))
		return 0;
	if (!strcmp(path + 6, "self/mem") || !strcmp(path + 6, "thread-self/mem"))
		return getpid();
	pid = strtol(path + 6, &end, 10);
	return pid > 0 && !strcmp(end, "/mem") ? (pid_t)pid : 0;
}

void preload_opened(const char *path, int fd)
{
	pid_t pid = path && fd >= 0 ? memory_of(path) : 0;

	for (int i = 0; pid && i < FILES_MAX; i++) {
		int none = 0;

		if (__atomic_compare_exchange_n(&files[i].fd, &none, fd + 1, 0, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST)) {
			files[i].pid = pid;
			__atomic_add_fetch(&file_count, 1, __ATOMIC_SEQ_CST);
			return;
		}
	}
}

void preload_closed(int fd)
{
	for (int i = 0; file_count && i < FILES_MAX; i++) {
		int mine = fd + 1;

		if (__atomic_compare_exchange_n(&files[i].fd, &mine, 0, 0, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			__atomic_sub_fetch(&file_count, 1, __ATOMIC_SEQ_CST);
	}
}

static pid_t memory_behind(int fd)
{
	for (int i = 0; file_count && i < FILES_MAX; i++)
		if (files[i].fd == fd + 1)
			return files[i].pid;
	return 0;
}

/* Part of an enclave, if the address is in one: bytes or -errno; else 0 and *size is how far the rest goes.
 */
static long copy_enclave(pid_t pid, uint64_t address, void *local, size_t *size, int write)
{
	int in_enclave;

	*size = inspect_span(pid, address, *size, &in_enclave);
	return in_enclave && *size ? inspect_copy(address, local, *size, write) : 0;
}

/* --- process_vm_readv, process_vm_writev --- */

typedef ssize_t vm_call(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long,
			unsigned long);

/* Piece by piece, each of one local and one remote element and either of an enclave or not. */
static ssize_t vm_pieces(vm_call *next, pid_t pid, const struct iovec *local, unsigned long local_count,
			 const struct iovec *remote, unsigned long remote_count, unsigned long flags,
			 int write)
{
	size_t l_at = 0, r_at = 0;
	ssize_t total = 0, got = 0;

	while (local_count && remote_count) {
		size_t l_left = local->iov_len - l_at, r_left = remote->iov_len - r_at;
		size_t size = l_left < r_left ? l_left : r_left, asked;
		struct iovec l = {(char *)local->iov_base + l_at, size};
		struct iovec r = {(char *)remote->iov_base + r_at, size};

		if (size) {
			got = copy_enclave(pid, (uint64_t)r.iov_base, l.iov_base, &size, write);
			asked = size;
			if (!got) {
				l.iov_len = r.iov_len = size;
				got = next(pid, &l, 1, &r, 1, flags);
			} else if (got < 0) {
				errno = (int)-got;
			}
			if (got <= 0)
				break;
			total += got;
			if ((size_t)got < asked)
				break;
			l_at += (size_t)got;
			r_at += (size_t)got;
		}
		if (l_at == local->iov_len) {
			local++;
			local_count--;
			l_at = 0;
		}
		if (r_at == remote->iov_len) {
			remote++;
			remote_count--;
			r_at = 0;
		}
	}
	return total ? total : got < 0 ? -1 : 0;
}

EXPORT ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long local_count,
				const struct iovec *remote, unsigned long remote_count, unsigned long flags)
{
	if (!preload_active || flags)
		return NEXT(process_vm_readv)(pid, local, local_count, remote, remote_count, flags);
	return vm_pieces(NEXT(process_vm_readv), pid, local, local_count, remote, remote_count, flags, 0);
}

EXPORT ssize_t process_vm_writev(pid_t pid, const struct iovec *local, unsigned long local_count,
				 const struct iovec *remote, unsigned long remote_count, unsigned long flags)
{
	if (!preload_active || flags)
		return NEXT(process_vm_writev)(pid, local, local_count, remote, remote_count, flags);
	return vm_pieces(NEXT(process_vm_writev), pid, local, local_count, remote, remote_count, flags, 1);
}

/* --- ptrace --- */

EXPORT long ptrace(enum __ptrace_request request, ...)
{
	va_list list;
	pid_t pid;
	void *address, *data;
	long word = 0, got = 0;
	size_t size = sizeof(word);
	int write = request == PTRACE_POKEDATA || request == PTRACE_POKETEXT;

	va_start(list, request);
	pid = va_arg(list, pid_t);
	address = va_arg(list, void *);
	data = va_arg(list, void *);
	va_end(list);
	if (preload_active && (write || request == PTRACE_PEEKDATA || request == PTRACE_PEEKTEXT)) {
		word = write ? (long)data : 0;
		got = copy_enclave(pid, (uint64_t)address, &word, &size, write);
	}
	if (!got)
		return NEXT(ptrace)(request, pid, address, data);
	if (got != sizeof(word)) {
		errno = EIO;
		return -1;
	}
	errno = 0;
	return write ? 0 : word;
}

/* --- /proc/PID/mem --- */

/* As the kernel's file: up to the first byte that cannot be had. */
static ssize_t memory_io(pid_t pid, void *buffer, size_t size, off_t offset, int write,
			 ssize_t (*plain)(int, void *, size_t, off_t), int fd)
{
	size_t done = 0;
	ssize_t got = 0;

	while (done < size) {
		size_t part = size - done;

		got = copy_enclave(pid, (uint64_t)offset + done, (char *)buffer + done, &part, write);
		if (!got)
			got = plain(fd, (char *)buffer + done, part, offset + (off_t)done);
		if (got < -1) {
			errno = EIO;
			got = -1;
		}
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done ? (ssize_t)done : got;
}

static ssize_t plain_read(int fd, void *buffer, size_t size, off_t offset)
{
	return NEXT(pread)(fd, buffer, size, offset);
}
static ssize_t plain_write(int fd, void *buffer, size_t size, off_t offset)
{
	return NEXT(pwrite)(fd, buffer, size, offset);
}

/* At the file's own offset. */
static ssize_t memory_stream(pid_t pid, int fd, void *buffer, size_t size, int write)
{
	off_t offset = lseek(fd, 0, SEEK_CUR);
	ssize_t got;

	if (offset < 0)
		return -1;
	got = memory_io(pid, buffer, size, offset, write, write ? plain_write : plain_read, fd);
	if (got > 0)
		lseek(fd, got, SEEK_CUR);
	return got;
}

#define DEFINE_AT(name, type, is_write, plain)                                                               \
	EXPORT ssize_t name(int fd, type buffer, size_t size, off_t offset)                                  \
	{                                                                                                    \
		pid_t pid = preload_active ? memory_behind(fd) : 0;                                          \
		return pid ? memory_io(pid, (void *)(uintptr_t)buffer, size, offset, is_write, plain, fd)    \
			   : NEXT(name)(fd, buffer, size, offset);                                           \
	}
DEFINE_AT(pread, void *, 0, plain_read)
DEFINE_AT(pread64, void *, 0, plain_read)
DEFINE_AT(pwrite, const void *, 1, plain_write)
DEFINE_AT(pwrite64, const void *, 1, plain_write)

EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
	pid_t pid = preload_active ? memory_behind(fd) : 0;

	return pid ? memory_stream(pid, fd, buffer, size, 0) : NEXT(read)(fd, buffer, size);
}
EXPORT ssize_t write(int fd, const void *buffer, size_t size)
{
	pid_t pid = preload_active ? memory_behind(fd) : 0;

	return pid ? memory_stream(pid, fd, (void *)(uintptr_t)buffer, size, 1)
		   : NEXT(write)(fd, buffer, size);
}
