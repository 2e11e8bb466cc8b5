/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/sys.h"

#include <errno.h>
#include <sys/uio.h>

/* The kernel does the copy, so that a bad pointer is an error here and not a fault. */
static int copy_by_kernel(long call, void *local, const void *remote, size_t size)
{
	while (size) {
		struct iovec l = {local, size}, r = {(void *)remote, size};
		long done = SYS(call, SYS(SYS_getpid), &l, 1, &r, 1, 0);

		if (done <= 0)
			return -EFAULT;
		local = (char *)local + done;
		remote = (const char *)remote + done;
		size -= (size_t)done;
	}
	return 0;
}

int sys_copy_in(void *to, const void *from, size_t size)
{
	return copy_by_kernel(SYS_process_vm_readv, to, from, size);
}

int sys_copy_out(void *to, const void *from, size_t size)
{
	return copy_by_kernel(SYS_process_vm_writev, (void *)from, to, size);
}
