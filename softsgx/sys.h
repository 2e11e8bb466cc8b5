/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls without libc: they may run in a signal handler, must not touch
 * errno, and must not meet our own interposed wrappers. Return value or -errno.
 */
#ifndef SOFTSGX_SYS_H
#define SOFTSGX_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static inline long sys_call(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define SYS_PICK(_1, _2, _3, _4, _5, _6, _7, name, ...) name
#define sys1(n) sys_call(n, 0, 0, 0, 0, 0, 0)
#define sys2(n, a) sys_call(n, (long)(a), 0, 0, 0, 0, 0)
#define sys3(n, a, b) sys_call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys4(n, a, b, c) sys_call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys5(n, a, b, c, d) sys_call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys6(n, a, b, c, d, e) sys_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define sys7(n, a, b, c, d, e, f)                                                                            \
	sys_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(...) SYS_PICK(__VA_ARGS__, sys7, sys6, sys5, sys4, sys3, sys2, sys1)(__VA_ARGS__)

static inline void *sys_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	return (void *)SYS(SYS_mmap, addr, size, prot, flags, fd, offset);
}

/* The kernel answers -4095..-1 for errors. */
static inline int sys_failed(const void *result)
{
	return (uintptr_t)result >= (uintptr_t)-4095;
}

/* Pages that cost nothing until they are written. */
static inline void *sys_reserve(size_t size, int sharing)
{
	return sys_mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* Copies from our own process without faulting: 0 or -EFAULT. */
int sys_copy_in(void *to, const void *from, size_t size);
int sys_copy_out(void *to, const void *from, size_t size);

#endif
