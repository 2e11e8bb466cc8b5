/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "host/device.h"
#include "host/vdso.h"
#include "softsgx/softsgx.h"

static int kernel_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int kernel_close(int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

static int kernel_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

static void *kernel_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *mapped = mmap(addr, size, prot, flags, fd, offset);

	return mapped == MAP_FAILED ? (void *)(intptr_t)-errno : mapped;
}

static int kernel_munmap(void *addr, size_t size)
{
	return munmap(addr, size) < 0 ? -errno : 0;
}

static int kernel_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
	return sigaction(signal, action, old) < 0 ? -errno : 0;
}

static int kernel_peek(uint64_t address, void *out, size_t size)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, out, size, (off_t)address);

	if (fd >= 0)
		close(fd);
	return got == (ssize_t)size ? 0 : -EIO;
}

static const struct device_ops kernel_ops = {
    .open = kernel_open,
    .close = kernel_close,
    .ioctl = kernel_ioctl,
    .mmap = kernel_mmap,
    .munmap = kernel_munmap,
    .peek = kernel_peek,
    .sigaction = kernel_sigaction,
};

static const struct device_ops softsgx_ops = {
    .open = softsgx_open,
    .close = softsgx_close,
    .ioctl = softsgx_ioctl,
    .mmap = softsgx_mmap,
    .munmap = softsgx_munmap,
    .peek = softsgx_peek,
    .sigaction = softsgx_sigaction,
    .enter = softsgx_enter_enclave,
};

bool device_is_hardware(void)
{
	return !access(SGX_DEVICE_ENCLAVE, F_OK);
}

int device_open(struct device *device, struct failure *why)
{
	device->software = !device_is_hardware();
	device->op = device->software ? softsgx_ops : kernel_ops;
	if (!device->software)
		device->op.enter = (sgx_enter_enclave_fn)vdso_symbol("__vdso_sgx_enter_enclave");
	if (!device->op.enter)
		return fail(why, -ENOSYS,
			    "the kernel's vDSO cannot enter enclaves (needs Linux 5.11 with CONFIG_X86_SGX)");
	device->fd = device->op.open(SGX_DEVICE_ENCLAVE);
	if (device->fd >= 0)
		return 0;
	if (device->software && (device->fd == -EPERM || device->fd == -ENOSYS))
		return fail(why, device->fd,
			    "software SGX may not use userfaultfd here (%s): it needs Linux 5.14 or later, and in a "
			    "container a seccomp profile that allows it (docs/containers.md)",
			    strerror(-device->fd));
	return fail(why, device->fd, SGX_DEVICE_ENCLAVE ": %s%s", strerror(-device->fd),
		    device->fd == -EACCES ? " (is this user in the group sgx?)" : "");
}

void device_close(struct device *device)
{
	if (device->fd >= 0)
		device->op.close(device->fd);
	device->fd = -1;
}
