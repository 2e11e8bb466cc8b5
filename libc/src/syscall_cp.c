/* SPDX-License-Identifier: Apache-2.0
 *
 * Cancellation points in an enclave: a blocked call returns -EINTR for the cancelling signal and musl's caller
 * tests again. A thread that may be cancelled anywhere is sent to __cp_cancel by musl's handler. Outside an
 * enclave, where musl compares the interrupted program counter with __cp_begin and __cp_end, libc/native has the
 * function and the labels.
 */
#define hidden __attribute__((visibility("hidden")))

long __optmig_syscall(long n, long a, long b, long c, long d, long e, long f);
hidden long __cancel(void);

hidden long __syscall_cp_asm(volatile int *cancel, long n, long a, long b, long c, long d, long e, long f)
{
	if (*cancel)
		return __cancel();
	return __optmig_syscall(n, a, b, c, d, e, f);
}

hidden long __cp_cancel(void)
{
	return __cancel();
}
