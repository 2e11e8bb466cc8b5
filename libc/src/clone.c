/* SPDX-License-Identifier: Apache-2.0
 *
 * A new thread is a new enclave thread. A new process (what posix_spawn asks for) cannot be.
 */
#include <errno.h>
#include <sched.h>
#include <stddef.h>

int __optmig_clone(int (*fn)(void *), void *stack, int flags, void *arg, int *ptid, void *tls, int *ctid);

/* musl declares it variadic; the seven arguments travel the same way. */
__attribute__((visibility("hidden"))) int __clone(int (*fn)(void *), void *stack, int flags, void *arg,
						  int *ptid, void *tls, int *ctid)
{
	if (!(flags & CLONE_THREAD))
		return -ENOSYS;
	return __optmig_clone(fn, stack, flags, arg, ptid, tls, ctid);
}
