/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/syscall.h>

#define ARCH_SET_FS 0x1002

long __optmig_syscall(long n, long a, long b, long c, long d, long e, long f);

__attribute__((visibility("hidden"))) int __set_thread_area(void *thread)
{
	return (int)__optmig_syscall(SYS_arch_prctl, ARCH_SET_FS, (long)thread, 0, 0, 0, 0);
}
