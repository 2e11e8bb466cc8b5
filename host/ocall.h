/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * The system calls the host makes for the enclave. One table: what each
 * argument is, whether it may block. File descriptor arguments are translated
 * through the fdtable.
 *
 * The contract of OCALL_SYSCALL, for the enclave's side:
 *   - nr and arg[] are Linux x86-64's, with the kernel's structure layouts and
 *     results (value or -errno). A call that is not in the table is -ENOSYS.
 *   - Every pointer argument, and every pointer inside a structure, is an
 *     address inside area->data (or 0 where Linux allows NULL). The enclave
 *     lays out inputs there before the call and copies outputs out after it.
 *   - Descriptors are the program's numbers, also in pollfd arrays, in what
 *     pipe and socketpair return, in dirfd arguments (AT_FDCWD passes).
 *
 * Pointers, by call. in: the enclave copies it out first; out: it reads it back after.
 *
 *   read pread64 recvfrom getdents64 readlink* getcwd
 *                        out: the buffer, `result` bytes (getcwd: with its NUL)
 *   write pwrite64 sendto
 *                        in: the buffer
 *   readv writev preadv pwritev
 *                        in: the iovec array, its bases inside data too; the buffers as of read and write
 *   open* stat* access* chdir rename* unlink* mkdir* rmdir symlink* link* chmod* chown* truncate statfs utimensat
 *                        in: each path, NUL terminated
 *   fstat stat lstat newfstatat 144, statx 256, statfs fstatfs 120, uname 390, sysinfo 112, getrusage 144,
 *   times 32, clock_* gettimeofday 16, time 8
 *                        out: that many bytes
 *   utimensat            in: struct timespec[2], 32, or 0
 *   sendfile             in and out: the offset, 8, or 0
 *   copy_file_range splice
 *                        in and out: each offset, 8, or 0
 *   fcntl F_*LK          in and out: struct flock, 32
 *   ioctl                FIONREAD FIONBIO TIOCOUTQ TIOCGPGRP 4, TC[GS]ET* 36 (the kernel's termios), TIOCGWINSZ 8,
 *                        SIOCGIF* 40
 *   pipe pipe2           out: int[2]
 *   socketpair           out: int[2] at arg[3]
 *   timerfd_settime      in: itimerspec, 32, at arg[2]; out: arg[3], 32, or 0. Absolute times are the host's clock's:
 *                        the enclave converts
 *   timerfd_gettime      out: 32
 *   poll ppoll           in and out: struct pollfd, 8 each, the host writes .revents only; ppoll: in: timespec, 16, or 0.
 *                        The signal mask is ignored
 *   epoll_ctl            in: struct epoll_event, 12 (packed)
 *   epoll_wait epoll_pwait epoll_pwait2
 *                        out: `result` * 12; pwait2: in: timespec, 16, or 0. Masks are ignored
 *   bind connect         in: the address, arg[2] bytes
 *   sendto               in: the address at arg[4], arg[5] bytes
 *   accept accept4 getsockname getpeername
 *                        in and out: socklen_t at arg[2], 4; out: the address at arg[1]
 *   recvfrom             in and out: socklen_t at arg[5], 4; out: the address at arg[4]
 *   setsockopt           in: arg[4] bytes at arg[3]
 *   getsockopt           in and out: socklen_t at arg[4]; out: arg[3]
 *   sendmsg recvmsg      struct msghdr, 56, whose name, control and iovec (with its bases) are inside data; recvmsg
 *                        changes namelen, controllen, flags. SCM_RIGHTS: the program's numbers, both ways
 *   getrlimit setrlimit prlimit64
 *                        struct rlimit, 16; prlimit64: pid 0 only. Only RLIMIT_NOFILE can be set
 *   sched_getaffinity    out: arg[1] bytes
 *   getgroups            out: arg[0] groups, 4 each
 *
 *   - A blocking call that a kick cut short has had no effect: result is
 *     -EINTR and area->interrupted is 1; the same call may be made again, on
 *     either host (with what remains of its timeout; a connect too). A call
 *     that had moved data before the kick returns its count, as always. A
 *     blocking read or write of a regular file, fsync and the like are not cut
 *     short.
 *   - /proc/self/fd/N and /dev/fd/N in open and readlink are the program's numbers; other paths there
 *     the host's.
 *   - inotify, fork, exec, mount: -ENOSYS.
 */
/* clang-format on */
#ifndef HOST_OCALL_H
#define HOST_OCALL_H

#include <stdatomic.h>
#include "host/enclave.h"

/* Serves OCALL_SYSCALL in t->area: sets .result and .interrupted. */
void ocall_syscall(struct host_thread *t, struct fdtable *fds);

/* host/kick.S: `syscall` unless *kicked; returns -EINTR with *kicked still set if it was cut short.
 * kick_signal_install() installs the signal handler (KICK_SIGNAL) that moves a thread out of the window. */
long kick_syscall(volatile uint32_t *kicked, long nr, long a, long b, long c, long d, long e, long f);
#define KICK_SIGNAL (SIGRTMIN + 3)
/* Of the calling thread: how many kicks have interrupted it. Where it was inside, its registers are in its SSA then. */
atomic_uint *kick_taken(void);
struct sigaction;
int kick_signal_install(int (*install)(int, const struct sigaction *,
				       struct sigaction *)); /* 0 or -errno, as install */

#endif
