/* SPDX-License-Identifier: Apache-2.0
 *
 * LD_PRELOAD: the C library's calls that can meet SGX, for programs that know
 * nothing of softsgx. Until a program opens the device everything is passed on.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "softsgx/cpuid.h"
#include "softsgx/device.h"
#include "softsgx/mm.h"
#include "softsgx/patch.h"
#include "softsgx/preload.h"
#include "softsgx/signals.h"
#include "softsgx/vdso.h"

#define EPC_SIZE_FILE "/sys/devices/system/node/node0/x86/sgx_total_bytes"
int preload_active;

static int to_errno(int result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

/* --- the nodes --- */

static int is_node(const char *path)
{
	return path && !strncmp(path, "/dev/sgx", 8) &&
	       (!strcmp(path, SGX_DEVICE_ENCLAVE) || !strcmp(path, SGX_DEVICE_PROVISION) ||
		!strcmp(path, "/dev/sgx/enclave") || !strcmp(path, "/dev/sgx/provision"));
}

static int is_provision_node(const char *path)
{
	return strstr(path, "provision") != NULL;
}

/* The same once more, for reading or for writing only, in place of fd. */
static int open_one_way(int fd, int flags)
{
	char path[32];
	long again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = SYS(SYS_openat, AT_FDCWD, path, flags & (O_ACCMODE | O_CLOEXEC), 0);
	softsgx_close(fd);
	return to_errno((int)again);
}

static int open_node(const char *path, int flags)
{
	int fd = softsgx_open(path);

	if (fd < 0)
		return to_errno(fd);
	preload_active = 1;
	if ((flags & O_ACCMODE) != O_RDWR)
		return open_one_way(fd, flags);
	if (!(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return fd;
}

/* Files in which a program may look for SGX: a copy with it. -1 for all others. */
static int open_information(const char *path)
{
	if (path && !strcmp(path, "/proc/cpuinfo"))
		return cpuid_cpuinfo();
	if (path && !strcmp(path, EPC_SIZE_FILE))
		return cpuid_epc_size_file();
	if (path && !strcmp(path, "/proc/self/auxv"))
		return vdso_auxv_file();
	return -1;
}

static int open_ours(const char *path, int flags, int *fd)
{
	if (is_node(path)) {
		*fd = open_node(path, flags);
		return 1;
	}
	*fd = open_information(path);
	return *fd >= 0;
}

/* For what a path that is not ours means to others. */
static int opened(const char *path, int fd)
{
	preload_opened(path, fd);
	return fd;
}

static mode_t mode_argument(int flags, va_list list)
{
	return __OPEN_NEEDS_MODE(flags) ? va_arg(list, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                                    \
	EXPORT int name(const char *path, int flags, ...)                                                    \
	{                                                                                                    \
		va_list list;                                                                                \
		mode_t mode;                                                                                 \
		int fd;                                                                                      \
		va_start(list, flags);                                                                       \
		mode = mode_argument(flags, list);                                                           \
		va_end(list);                                                                                \
		return open_ours(path, flags, &fd) ? fd : opened(path, NEXT(name)(path, flags, mode));       \
	}
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                                                  \
	EXPORT int name(int dir, const char *path, int flags, ...)                                           \
	{                                                                                                    \
		va_list list;                                                                                \
		mode_t mode;                                                                                 \
		int fd;                                                                                      \
		va_start(list, flags);                                                                       \
		mode = mode_argument(flags, list);                                                           \
		va_end(list);                                                                                \
		return open_ours(path, flags, &fd) ? fd : opened(path, NEXT(name)(dir, path, flags, mode));  \
	}
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* What -D_FORTIFY_SOURCE makes of open() without a mode. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
	int fd;

	return open_ours(path, flags, &fd) ? fd : opened(path, NEXT(__open_2)(path, flags));
}
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags)
{
	int fd;

	return open_ours(path, flags, &fd) ? fd : opened(path, NEXT(__open64_2)(path, flags));
}

static int fopen_ours(const char *path, const char *mode, FILE **file)
{
	int flags = strchr(mode, '+') ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY, fd;

	if (!open_ours(path, flags | (strchr(mode, 'e') ? O_CLOEXEC : 0), &fd))
		return 0;
	*file = fd < 0 ? NULL : fdopen(fd, mode);
	return 1;
}
EXPORT FILE *fopen(const char *path, const char *mode)
{
	FILE *file;

	return fopen_ours(path, mode, &file) ? file : NEXT(fopen)(path, mode);
}
EXPORT FILE *fopen64(const char *path, const char *mode)
{
	FILE *file;

	return fopen_ours(path, mode, &file) ? file : NEXT(fopen64)(path, mode);
}

EXPORT int close(int fd)
{
	preload_closed(fd);
	if (preload_active && softsgx_owns(fd))
		return to_errno(softsgx_close(fd));
	return NEXT(close)(fd);
}

/* A descriptor that goes because another takes its place. */
static void replaced(int fd)
{
	preload_closed(fd);
	if (preload_active && softsgx_owns(fd))
		softsgx_close(fd);
}
EXPORT int dup2(int from, int to)
{
	if (from != to && fcntl(from, F_GETFD) >= 0)
		replaced(to);
	return NEXT(dup2)(from, to);
}
EXPORT int dup3(int from, int to, int flags)
{
	if (from != to && fcntl(from, F_GETFD) >= 0)
		replaced(to);
	return NEXT(dup3)(from, to, flags);
}

EXPORT int ioctl(int fd, unsigned long request, ...);
EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (preload_active && softsgx_owns(fd))
		return to_errno(softsgx_ioctl(fd, request, argument));
	return NEXT(ioctl)(fd, request, argument);
}

/* Nodes may be read and written, not run; the file in sysfs may be read. */
static int access_ours(const char *path, int mode, int *result)
{
	if (!is_node(path) && (!path || strcmp(path, EPC_SIZE_FILE)))
		return 0;
	*result = mode & (is_node(path) ? X_OK : X_OK | W_OK) ? to_errno(-EACCES) : 0;
	return 1;
}
EXPORT int access(const char *path, int mode)
{
	int result;

	return access_ours(path, mode, &result) ? result : NEXT(access)(path, mode);
}
EXPORT int eaccess(const char *path, int mode)
{
	int result;

	return access_ours(path, mode, &result) ? result : NEXT(eaccess)(path, mode);
}
EXPORT int euidaccess(const char *path, int mode)
{
	int result;

	return access_ours(path, mode, &result) ? result : NEXT(euidaccess)(path, mode);
}
EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
	int result;

	return access_ours(path, mode, &result) ? result : NEXT(faccessat)(dir, path, mode, flags);
}

static int stat_node(int provision, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFCHR | (provision ? 0660 : 0666);
	st->st_nlink = 1;
	st->st_rdev = makedev(10, provision ? 126 : 125);
	st->st_blksize = 4096;
	return 0;
}
EXPORT int stat(const char *path, struct stat *st)
{
	return is_node(path) ? stat_node(is_provision_node(path), st) : NEXT(stat)(path, st);
}
EXPORT int stat64(const char *path, struct stat64 *st)
{
	return is_node(path) ? stat_node(is_provision_node(path), (struct stat *)st) : NEXT(stat64)(path, st);
}
EXPORT int lstat(const char *path, struct stat *st)
{
	return is_node(path) ? stat_node(is_provision_node(path), st) : NEXT(lstat)(path, st);
}
EXPORT int lstat64(const char *path, struct stat64 *st)
{
	return is_node(path) ? stat_node(is_provision_node(path), (struct stat *)st)
			     : NEXT(lstat64)(path, st);
}
EXPORT int fstat(int fd, struct stat *st)
{
	return preload_active && softsgx_owns(fd) ? stat_node(device_is_provision(fd), st)
						  : NEXT(fstat)(fd, st);
}
EXPORT int fstat64(int fd, struct stat64 *st)
{
	return preload_active && softsgx_owns(fd) ? stat_node(device_is_provision(fd), (struct stat *)st)
						  : NEXT(fstat64)(fd, st);
}

/* fstatat() with an empty path is fstat(). 1 if it is one of ours. */
static int stat_at(int dir, const char *path, int flags, struct stat *st)
{
	if (path && !*path && (flags & AT_EMPTY_PATH) && preload_active && softsgx_owns(dir))
		stat_node(device_is_provision(dir), st);
	else if (is_node(path))
		stat_node(is_provision_node(path), st);
	else
		return 0;
	return 1;
}
EXPORT int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	return stat_at(dir, path, flags, st) ? 0 : NEXT(fstatat)(dir, path, st, flags);
}
EXPORT int fstatat64(int dir, const char *path, struct stat64 *st, int flags)
{
	return stat_at(dir, path, flags, (struct stat *)st) ? 0 : NEXT(fstatat64)(dir, path, st, flags);
}
EXPORT int statx(int dir, const char *path, int flags, unsigned int mask, struct statx *out)
{
	struct stat st;

	if (!stat_at(dir, path, flags, &st))
		return NEXT(statx)(dir, path, flags, mask, out);
	*out = (struct statx){.stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK,
			      .stx_blksize = (uint32_t)st.st_blksize,
			      .stx_nlink = (uint32_t)st.st_nlink,
			      .stx_mode = (uint16_t)st.st_mode,
			      .stx_rdev_major = major(st.st_rdev),
			      .stx_rdev_minor = minor(st.st_rdev)};
	return 0;
}

/* What stat() was in programs built before glibc 2.33. */
#define DEFINE_XSTAT(name, type)                                                                             \
	EXPORT int name(int version, const char *path, type *st);                                            \
	EXPORT int name(int version, const char *path, type *st)                                             \
	{                                                                                                    \
		return is_node(path) ? stat_node(is_provision_node(path), (struct stat *)st)                 \
				     : NEXT(name)(version, path, st);                                        \
	}
#define DEFINE_FXSTAT(name, type)                                                                            \
	EXPORT int name(int version, int fd, type *st);                                                      \
	EXPORT int name(int version, int fd, type *st)                                                       \
	{                                                                                                    \
		return preload_active && softsgx_owns(fd)                                                    \
			   ? stat_node(device_is_provision(fd), (struct stat *)st)                           \
			   : NEXT(name)(version, fd, st);                                                    \
	}
DEFINE_XSTAT(__xstat, struct stat)
DEFINE_XSTAT(__xstat64, struct stat64)
DEFINE_XSTAT(__lxstat, struct stat)
DEFINE_XSTAT(__lxstat64, struct stat64)
DEFINE_FXSTAT(__fxstat, struct stat)
DEFINE_FXSTAT(__fxstat64, struct stat64)

/* --- memory --- */

static void *map_result(void *at)
{
	if (!sys_failed(at))
		return at;
	errno = (int)-(long)at;
	return MAP_FAILED;
}

EXPORT void *mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (!preload_active)
		return NEXT(mmap)(addr, size, prot, flags, fd, offset);
	return map_result(softsgx_mmap(addr, size, prot, flags, fd, offset));
}
EXPORT void *mmap64(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (!preload_active)
		return NEXT(mmap64)(addr, size, prot, flags, fd, offset);
	return map_result(softsgx_mmap(addr, size, prot, flags, fd, offset));
}
EXPORT int mprotect(void *addr, size_t size, int prot)
{
	return preload_active ? to_errno(softsgx_mprotect(addr, size, prot))
			      : NEXT(mprotect)(addr, size, prot);
}
EXPORT int munmap(void *addr, size_t size)
{
	return preload_active ? to_errno(softsgx_munmap(addr, size)) : NEXT(munmap)(addr, size);
}

/* The kernel's mapping of an enclave can neither grow nor be dropped page by page. */
EXPORT void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
	va_list list;
	void *where;

	va_start(list, flags);
	where = va_arg(list, void *);
	va_end(list);
	if (preload_active && mm_overlaps((uint64_t)old, (uint64_t)old + old_size)) {
		errno = EFAULT;
		return MAP_FAILED;
	}
	return NEXT(mremap)(old, old_size, size, flags, where);
}
EXPORT int madvise(void *addr, size_t size, int advice)
{
	if (preload_active && mm_overlaps((uint64_t)addr, (uint64_t)addr + size) &&
	    (advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE)) {
		errno = EINVAL;
		return -1;
	}
	return NEXT(madvise)(addr, size, advice);
}

/* --- signals --- */

EXPORT int sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
	if (!signals_active())
		return NEXT(sigaction)(signal, action, old);
	return to_errno(softsgx_sigaction(signal, action, old));
}

static sighandler_t simple_handler(int signal, sighandler_t handler, int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;

	sigemptyset(&action.sa_mask);
	if (flags & SA_RESTART)
		sigaddset(&action.sa_mask, signal);
	return sigaction(signal, &action, &old) ? SIG_ERR : old.sa_handler;
}
EXPORT sighandler_t signal(int signal, sighandler_t handler)
{
	return simple_handler(signal, handler, SA_RESTART);
}
EXPORT sighandler_t bsd_signal(int signal, sighandler_t handler);
EXPORT sighandler_t bsd_signal(int signal, sighandler_t handler)
{
	return simple_handler(signal, handler, SA_RESTART);
}
EXPORT sighandler_t sysv_signal(int signal, sighandler_t handler)
{
	return simple_handler(signal, handler, (int)(SA_RESETHAND | SA_NODEFER));
}
EXPORT sighandler_t __sysv_signal(int signal, sighandler_t handler);
EXPORT sighandler_t __sysv_signal(int signal, sighandler_t handler)
{
	return sysv_signal(signal, handler);
}
EXPORT int siginterrupt(int signal, int interrupt)
{
	struct sigaction action;

	if (sigaction(signal, NULL, &action))
		return -1;
	action.sa_flags = interrupt ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
	return sigaction(signal, &action, NULL);
}

EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
	return softsgx_self ? to_errno(signals_altstack(stack, old)) : NEXT(sigaltstack)(stack, old);
}

/* Enclave code traps to us with signals that a program may want blocked. */
EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t open;

	if (set && signals_active() && how != SIG_UNBLOCK) {
		open = *set;
		signals_keep_ours(&open);
		set = &open;
	}
	return NEXT(sigprocmask)(how, set, old);
}
EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sigset_t open;

	if (set && signals_active() && how != SIG_UNBLOCK) {
		open = *set;
		signals_keep_ours(&open);
		set = &open;
	}
	return NEXT(pthread_sigmask)(how, set, old);
}

/* --- the same by number --- */

/* The kernel's struct sigaction. */
struct numbered_action {
	uint64_t handler, flags, restorer, mask;
};

static long sigaction_by_number(long signal, const struct numbered_action *new, struct numbered_action *old)
{
	struct sigaction action = {0}, was = {0};
	int result;

	if (new) {
		action.sa_handler = (sighandler_t) new->handler;
		action.sa_flags = (int)new->flags & ~0x04000000; /* SA_RESTORER */
		memcpy(&action.sa_mask, &new->mask, sizeof(new->mask));
	}
	result = sigaction((int)signal, new ? &action : NULL, &was);
	if (!result && old) {
		*old = (struct numbered_action){.handler = (uint64_t)was.sa_handler,
						.flags = (unsigned int)was.sa_flags};
		memcpy(&old->mask, &was.sa_mask, sizeof(old->mask));
	}
	return result;
}

static long sigprocmask_by_number(long how, const uint64_t *new, uint64_t *old)
{
	sigset_t set, was;
	int result;

	sigemptyset(&set);
	sigemptyset(&was);
	if (new)
		memcpy(&set, new, sizeof(*new));
	result = sigprocmask((int)how, new ? &set : NULL, &was);
	if (!result && old)
		memcpy(old, &was, sizeof(*old));
	return result;
}

EXPORT long syscall(long number, ...)
{
	va_list list;
	long a[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	switch (number) {
	case SYS_open:
		return open((const char *)a[0], (int)a[1], (mode_t)a[2]);
	case SYS_openat:
		return openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
	case SYS_close:
		return close((int)a[0]);
	case SYS_ioctl:
		return ioctl((int)a[0], (unsigned long)a[1], (void *)a[2]);
	case SYS_mmap:
		return (long)mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
	case SYS_mprotect:
		return mprotect((void *)a[0], (size_t)a[1], (int)a[2]);
	case SYS_munmap:
		return munmap((void *)a[0], (size_t)a[1]);
	case SYS_access:
		return access((const char *)a[0], (int)a[1]);
	case SYS_sigaltstack:
		return sigaltstack((const stack_t *)a[0], (stack_t *)a[1]);
	case SYS_rt_sigaction:
		/* The C library keeps two for itself. */
		if (signals_active() && a[3] == 8 && a[0] != 32 && a[0] != 33)
			return sigaction_by_number(a[0], (void *)a[1], (void *)a[2]);
		break;
	case SYS_rt_sigprocmask:
		if (signals_active() && a[3] == 8)
			return sigprocmask_by_number(a[0], (void *)a[1], (void *)a[2]);
		break;
	}
	return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* --- what the kernel tells at start --- */

EXPORT unsigned long getauxval(unsigned long type)
{
	unsigned long image = type == AT_SYSINFO_EHDR ? vdso_image() : 0;

	return image ? image : NEXT(getauxval)(type);
}

struct phdr_walk {
	int (*callback)(struct dl_phdr_info *, size_t, void *);
	void *data;
};

static int see_object(struct dl_phdr_info *info, size_t size, void *walk)
{
	struct phdr_walk *w = walk;
	const Elf64_Ehdr *image = (const void *)vdso_image();
	struct dl_phdr_info ours = *info;

	if (!image || info->dlpi_addr != vdso_kernel_image())
		return w->callback(info, size, w->data);
	ours.dlpi_addr = (Elf64_Addr)image;
	ours.dlpi_phdr = (const void *)((const char *)image + image->e_phoff);
	ours.dlpi_phnum = image->e_phnum;
	return w->callback(&ours, size, w->data);
}

EXPORT int dl_iterate_phdr(int (*callback)(struct dl_phdr_info *, size_t, void *), void *data)
{
	struct phdr_walk walk = {callback, data};

	return NEXT(dl_iterate_phdr)(see_object, &walk);
}

/* For preload_entry.S, which must leave the caller's address where dlopen() looks for it. */
void *(*softsgx_next_dlopen)(const char *, int)__attribute__((visibility("hidden")));
const char *softsgx_dlopen_name(const char *name);
const char *softsgx_dlopen_name(const char *name)
{
	Dl_info self;

	softsgx_next_dlopen = NEXT(dlopen);
	if (name && !strcmp(name, "linux-vdso.so.1") && dladdr((void *)softsgx_dlopen_name, &self))
		return self.dli_fname;
	return name;
}

/* For programs that walk the auxiliary vector themselves. */
static void patch_auxv(char **environment)
{
	unsigned long *at, image = vdso_image();

	while (*environment)
		environment++;
	for (at = (unsigned long *)(environment + 1); at[0] != AT_NULL; at += 2)
		if (at[0] == AT_SYSINFO_EHDR && image)
			at[1] = image;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
	patch_auxv(environment);
	/* Signals only; what else there is to set up waits for the first open. */
	if (!cpuid_fault_start()) {
		if (signals_init())
			cpuid_fault_stop();
	} else if (patch_cpuid() > 0) {
		signals_init();
	}
}
