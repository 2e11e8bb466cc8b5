/* SPDX-License-Identifier: Apache-2.0
 *
 * A node opened for reading or for writing only: commands work, mappings as of
 * any file.
 */
#include "tests/softsgx/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int map(int fd, int prot)
{
	void *at = mmap(NULL, 0x1000, prot, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? -errno : munmap(at, 0x1000);
}

static void opened(int flags, int readable, int writable)
{
	int fd = open(SGX_DEVICE_ENCLAVE, flags);

	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, flags & O_ACCMODE);
	CHECK_EQ(fcntl(fd, F_GETFD), flags & O_CLOEXEC ? FD_CLOEXEC : 0);
	CHECK_EQ(softsgx_ioctl(fd, SGX_IOC_ENCLAVE_CREATE, NULL), -EFAULT);
	CHECK_EQ(map(fd, PROT_READ), readable ? 0 : -EACCES);
	CHECK_EQ(map(fd, PROT_NONE), readable ? 0 : -EACCES);
	CHECK_EQ(map(fd, PROT_READ | PROT_WRITE), readable && writable ? 0 : -EACCES);
	CHECK_EQ(map(fd, PROT_READ | PROT_EXEC), readable ? 0 : -EACCES);
	CHECK_EQ(close(fd), 0);
}

int main(void)
{
	opened(O_RDWR, 1, 1);
	opened(O_RDWR | O_CLOEXEC, 1, 1);
	opened(O_RDONLY, 1, 0);
	opened(O_RDONLY | O_CLOEXEC, 1, 0);
	opened(O_WRONLY, 0, 1);
	return 0;
}
