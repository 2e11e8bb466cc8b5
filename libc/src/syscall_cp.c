/* SPDX-License-Identifier: Apache-2.0
 *
 * Cancellation points. musl closes the window between the test and the system
 * call by comparing the interrupted program counter with __cp_begin and
 * __cp_end; here a blocked call returns -EINTR instead and musl's caller tests
 * again, so the three labels only have to exist (no code lies between them).
 */
#define hidden __attribute__((visibility("hidden")))

long __optmig_syscall(long n, long a, long b, long c, long d, long e, long f);
hidden long __cancel(void);

hidden const char __cp_begin[1], __cp_end[1], __cp_cancel[1];

hidden long __syscall_cp_asm(volatile int *cancel, long n, long a, long b, long c, long d, long e, long f)
{
	if (*cancel)
		return __cancel();
	return __optmig_syscall(n, a, b, c, d, e, f);
}
