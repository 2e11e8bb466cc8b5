/* SPDX-License-Identifier: Apache-2.0
 *
 * Where enclaves come from: the kernel's /dev/sgx_enclave and vDSO, or softsgx
 * where there is none. The same calls with the same arguments; this is the only
 * file of the host that knows there are two.
 */
#ifndef HOST_DEVICE_H
#define HOST_DEVICE_H

#include <stdbool.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "host/failure.h"
#include "sgx/uapi.h"

/* 0 or -errno, also for mmap (as a pointer). */
struct device_ops {
	int (*open)(const char *path);
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long cmd, void *arg);
	void *(*mmap)(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *addr, size_t size);
	sgx_enter_enclave_fn enter;
	/* enclave memory as a debugger gets it: of debug enclaves only */
	int (*peek)(uint64_t address, void *out, size_t size);
	/* for signals that may arrive while a thread is inside */
	int (*sigaction)(int signal, const struct sigaction *action, struct sigaction *old);
};

struct device {
	struct device_ops op;
	bool software;
	int fd; /* one open file is one enclave */
};

/* Is there an SGX device on this machine? */
bool device_is_hardware(void);
int device_open(struct device *device, struct failure *why);
void device_close(struct device *device);

#endif
