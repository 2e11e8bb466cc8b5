/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <dirent.h>
#include <stdlib.h>
#include "softsgx/bases.h"
#include "softsgx/illegal.h"
#include "softsgx/keys.h"
#include "softsgx/mm.h"
#include "softsgx/platform.h"
#include "softsgx/signals.h"
#include "softsgx/stats.h"
#include "softsgx/thread.h"

static struct lock table_lock;
static struct enclave *enclaves[ENCLAVES_MAX];
/* Identities of the program's descriptors. Looked up without the lock: whoever finds his own has it open, so
 * that its enclave stays; another's may be going. */
static uint64_t enclave_inos[ENCLAVES_MAX];
static uint32_t calls[ENCLAVES_MAX]; /* of this process, at work on each enclave */
static uint64_t provision_inos[ENCLAVES_MAX];
static dev_t token_dev;

static int32_t owner; /* whose table this is: not of a child of vfork(), which borrows our memory */
static int init_result;
static pthread_once_t init_once = PTHREAD_ONCE_INIT;

static void forked(void)
{
	table_lock = (struct lock){0};
	memset(calls, 0, sizeof(calls));
	owner = (int32_t)SYS(SYS_getpid);
	mm_forked();
}

static void init(void)
{
	owner = (int32_t)SYS(SYS_getpid);
	bases_init();
	init_result = mm_init();
	if (!init_result)
		init_result = keys_init();
	if (!init_result)
		init_result = thread_init();
	if (!init_result)
		init_result = signals_init();
	pthread_atfork(NULL, NULL, forked);
}

int device_init(void)
{
	pthread_once(&init_once, init);
	return init_result;
}

/* Descriptors are empty memory files, recognised by inode: dup, fork and close stay the kernel's business. */
static int token_make(const char *name, uint64_t *ino)
{
	struct stat st;
	long fd = SYS(SYS_memfd_create, name, MFD_CLOEXEC);

	if (fd < 0)
		return (int)fd;
	SYS(SYS_fstat, fd, &st);
	token_dev = st.st_dev;
	*ino = st.st_ino;
	return (int)fd;
}

static int token_ino(int fd, uint64_t *ino)
{
	struct stat st;

	if (!token_dev || SYS(SYS_fstat, fd, &st) || st.st_dev != token_dev)
		return 0;
	*ino = st.st_ino;
	return 1;
}

struct enclave *device_enclave(int fd)
{
	uint64_t ino;

	if (!token_ino(fd, &ino))
		return NULL;
	for (int i = 0; i < ENCLAVES_MAX; i++)
		if (__atomic_load_n(&enclave_inos[i], __ATOMIC_ACQUIRE) == ino)
			return enclaves[i];
	return NULL;
}

int device_is_provision(int fd)
{
	uint64_t ino;

	if (!token_ino(fd, &ino))
		return 0;
	for (int i = 0; i < ENCLAVES_MAX; i++)
		if (provision_inos[i] == ino)
			return 1;
	return 0;
}

static int enclave_make(struct enclave *e)
{
	long fd = SYS(SYS_memfd_create, "softsgx", MFD_CLOEXEC);
	long high;
	int error;

	if (fd < 0)
		return (int)fd;
	/* Out of the way of programs that count on low descriptors. */
	high = SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 512);
	if (high >= 0) {
		SYS(SYS_close, fd);
		fd = high;
	}
	e->backing_fd = (int)fd;
	error = mm_attach(e);
	if (error)
		SYS(SYS_close, fd);
	return error;
}

int softsgx_owns(int fd)
{
	return device_enclave(fd) || device_is_provision(fd);
}

/* Does any descriptor of this process still stand for ino? */
static int token_is_open(uint64_t ino)
{
	char buffer[4096];
	long dir = SYS(SYS_open, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	long got;
	int found = dir < 0; /* unknown: keep the enclave */

	while (!found && (got = SYS(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < got;) {
			struct dirent64 *entry = (void *)(buffer + at);
			uint64_t other;

			at += entry->d_reclen;
			if (token_ino(atoi(entry->d_name), &other) && other == ino)
				found = 1;
		}
	}
	if (dir >= 0)
		SYS(SYS_close, dir);
	return found;
}

/* An enclave lives as long as a descriptor, a mapping or a call. e may be gone already: the last two of them
 * can go at once. */
static void release_if_unused(struct enclave *e)
{
	int i = 0;

	if (owner != (int32_t)SYS(SYS_getpid))
		return;
	lock_take(&table_lock);
	while (i < ENCLAVES_MAX && enclaves[i] != e)
		i++;
	if (i < ENCLAVES_MAX && !calls[i] && !mm_maps(e) && !thread_is_inside(e) &&
	    !token_is_open(enclave_inos[i])) {
		enclave_inos[i] = 0;
		enclaves[i] = NULL;
		if (e->creator == (int32_t)SYS(SYS_getpid)) {
			stats_write(e);
			mm_epc_release(epcm_used(&e->epcm));
		}
		mm_generation_bump();
		illegal_forget(e);
		mm_detach(e);
		SYS(SYS_close, e->backing_fd);
		if (e->view)
			SYS(SYS_munmap, e->view, e->size);
		epcm_destroy(&e->epcm);
		SYS(SYS_munmap, e, sizeof(*e));
	}
	lock_drop(&table_lock);
}

/* A call on a descriptor's enclave begins; another thread may close that meanwhile. NULL if it is none's. */
static struct enclave *call_begins(int fd)
{
	struct enclave *e;

	lock_take(&table_lock);
	e = device_enclave(fd);
	if (e)
		calls[e->index]++;
	lock_drop(&table_lock);
	return e;
}

static void call_ends(struct enclave *e, int fd)
{
	lock_take(&table_lock);
	calls[e->index]--;
	lock_drop(&table_lock);
	if (device_enclave(fd) != e)
		release_if_unused(e);
}

static void release_provisions(void)
{
	lock_take(&table_lock);
	for (int i = 0; i < ENCLAVES_MAX; i++)
		if (provision_inos[i] && !token_is_open(provision_inos[i]))
			provision_inos[i] = 0;
	lock_drop(&table_lock);
}

static int table_is_full(void)
{
	for (int i = 0; i < ENCLAVES_MAX; i++)
		if (!enclaves[i])
			return 0;
	return 1;
}

/* Descriptors may have gone without softsgx_close(). */
static void release_all_unused(void)
{
	for (int i = 0; i < ENCLAVES_MAX; i++)
		if (enclaves[i])
			release_if_unused(enclaves[i]);
	release_provisions();
}

static int open_enclave(void)
{
	struct enclave *e = sys_reserve(sizeof(*e), MAP_SHARED);
	int fd = -EMFILE, error;
	uint64_t ino;
	uint32_t i;

	if (sys_failed(e))
		return -ENOMEM;
	lock_take(&table_lock);
	for (i = 0; i < ENCLAVES_MAX && enclaves[i]; i++)
		;
	if (i < ENCLAVES_MAX) {
		e->index = i;
		e->creator = (int32_t)SYS(SYS_getpid);
		fd = token_make("sgx_enclave", &ino);
	}
	if (fd >= 0) {
		error = enclave_make(e);
		if (error) {
			SYS(SYS_close, fd);
			fd = error;
		} else {
			enclaves[i] = e;
			__atomic_store_n(&enclave_inos[i], ino, __ATOMIC_RELEASE);
		}
	}
	lock_drop(&table_lock);
	if (fd < 0)
		SYS(SYS_munmap, e, sizeof(*e));
	return fd;
}

static int open_provision(void)
{
	int fd = -EMFILE;

	lock_take(&table_lock);
	for (int i = 0; i < ENCLAVES_MAX; i++) {
		if (!provision_inos[i]) {
			fd = token_make("sgx_provision", &provision_inos[i]);
			break;
		}
	}
	lock_drop(&table_lock);
	return fd;
}

int softsgx_open(const char *path)
{
	int enclave = !strcmp(path, SGX_DEVICE_ENCLAVE) || !strcmp(path, "/dev/sgx/enclave");
	int provision = !strcmp(path, SGX_DEVICE_PROVISION) || !strcmp(path, "/dev/sgx/provision");
	uint64_t mask;
	int fd;

	if (!enclave && !provision)
		return -ENOENT;
	fd = device_init();
	if (fd)
		return fd;
	mask = signals_off();
	if (enclave && table_is_full())
		release_all_unused();
	fd = enclave ? open_enclave() : open_provision();
	signals_restore(mask);
	return fd;
}

__attribute__((destructor)) static void write_all_stats(void)
{
	for (int i = 0; i < ENCLAVES_MAX; i++)
		if (enclaves[i] && enclaves[i]->creator == (int32_t)SYS(SYS_getpid))
			stats_write(enclaves[i]);
}

int softsgx_close(int fd)
{
	struct enclave *e = device_enclave(fd);
	int provision = device_is_provision(fd);
	uint64_t mask = signals_off();
	int result = (int)SYS(SYS_close, fd);

	if (e)
		release_if_unused(e);
	if (provision)
		release_provisions();
	signals_restore(mask);
	return result;
}

int device_range_ok(const struct enclave *e, uint64_t offset, uint64_t length)
{
	if ((offset | length) & (SGX_PAGE_SIZE - 1) || !length)
		return 0;
	return offset + length > offset && offset + length - SGX_PAGE_SIZE < e->size;
}

static const struct command {
	unsigned long number;
	size_t size;
	long (*run)(struct enclave *, void *);
} commands[] = {
    {SGX_IOC_ENCLAVE_CREATE, sizeof(struct sgx_enclave_create), build_create},
    {SGX_IOC_ENCLAVE_ADD_PAGES, sizeof(struct sgx_enclave_add_pages), build_add_pages},
    {SGX_IOC_ENCLAVE_INIT, sizeof(struct sgx_enclave_init), build_init},
    {SGX_IOC_ENCLAVE_PROVISION, sizeof(struct sgx_enclave_provision), build_provision},
    {SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, sizeof(struct sgx_enclave_restrict_permissions), sgx2_restrict},
    {SGX_IOC_ENCLAVE_MODIFY_TYPES, sizeof(struct sgx_enclave_modify_types), sgx2_modify_types},
    {SGX_IOC_ENCLAVE_REMOVE_PAGES, sizeof(struct sgx_enclave_remove_pages), sgx2_remove},
};

/* Readiness comes before the argument is even looked at. 0 or -errno. */
static int command_ready(const struct enclave *e, unsigned long number)
{
	switch (number) {
	case SGX_IOC_ENCLAVE_CREATE:
		return e->created ? -EINVAL : 0;
	case SGX_IOC_ENCLAVE_ADD_PAGES:
	case SGX_IOC_ENCLAVE_INIT:
		return e->created && !e->initialised ? 0 : -EINVAL;
	case SGX_IOC_ENCLAVE_PROVISION:
		return 0;
	default:
		if (!platform_has_sgx2())
			return -ENODEV;
		return e->created && e->initialised ? 0 : -EINVAL;
	}
}

static long run_command(struct enclave *e, const struct command *command, void *u_arg)
{
	union {
		struct sgx_enclave_add_pages largest;
		uint64_t words[8];
	} arg = {0}, before;
	long result = command_ready(e, command->number);

	if (result)
		return result;
	if (sys_copy_in(&arg, u_arg, command->size))
		return -EFAULT;
	before = arg;
	result = command->run(e, &arg);
	/* Nothing is written where nothing was done: the structure may then be read-only. */
	if (memcmp(&arg, &before, command->size) && sys_copy_out(u_arg, &arg, command->size))
		return -EFAULT;
	return result;
}

static long ioctl_enclave(struct enclave *e, uint32_t number, void *u_arg, uint64_t blocked)
{
	long result = -ENOTTY;

	if (__atomic_exchange_n(&e->busy, 1, __ATOMIC_ACQUIRE))
		return -EBUSY;
	e->signals_blocked = blocked;
	enclave_count(&e->stats.ioctls);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].number == number)
			result = run_command(e, &commands[i], u_arg);
	__atomic_store_n(&e->busy, 0, __ATOMIC_RELEASE);
	return result;
}

int softsgx_ioctl(int fd, unsigned long cmd, void *arg)
{
	uint64_t mask = signals_off();
	struct enclave *e = call_begins(fd);
	long result;

	if (e) {
		/* The number as the kernel takes it: some callers extend a sign. */
		result = ioctl_enclave(e, (uint32_t)cmd, arg, mask);
		call_ends(e, fd);
	} else {
		result = device_is_provision(fd) ? -ENOTTY : -EBADF;
	}
	signals_restore(mask);
	return (int)result;
}

/* As of any file, by what the descriptor was opened for. */
static int may_map(int fd, int prot)
{
	long mode = SYS(SYS_fcntl, fd, F_GETFL) & O_ACCMODE;

	return mode != O_WRONLY && (mode != O_RDONLY || !(prot & PROT_WRITE));
}

static void *map_enclave(void *addr, size_t size, int prot, int flags, int fd)
{
	uint64_t mask = signals_off();
	struct enclave *e = call_begins(fd);
	void *at = (void *)-EBADF;

	if (e) {
		at = may_map(fd, prot) ? mm_map(e, addr, size, prot, flags) : (void *)-EACCES;
		call_ends(e, fd);
	}
	signals_restore(mask);
	return at;
}

void *softsgx_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	uint64_t mask;
	void *at;

	if (!(flags & MAP_ANONYMOUS) && device_enclave(fd))
		return map_enclave(addr, size, prot, flags, fd);
	at = sys_mmap(addr, size, prot, flags, fd, offset);
	if (!sys_failed(at) && mm_overlaps((uint64_t)at, (uint64_t)at + size)) {
		mask = signals_off();
		mm_forget((uint64_t)at, ((uint64_t)at + size + 4095) & ~4095ull);
		signals_restore(mask);
	}
	return at;
}

int softsgx_mprotect(void *addr, size_t size, int prot)
{
	uint64_t start = (uint64_t)addr, mask;
	int result;

	if (!mm_overlaps(start, start + size))
		return (int)SYS(SYS_mprotect, addr, size, prot);
	mask = signals_off();
	result = mm_protect(start, start + size, prot);
	signals_restore(mask);
	return result;
}

int softsgx_munmap(void *addr, size_t size)
{
	uint64_t start = (uint64_t)addr, end = start + size, mask;
	struct enclave *last = NULL;
	struct vma vma;
	int result = 0;

	if (!mm_overlaps(start, end))
		return (int)SYS(SYS_munmap, addr, size);
	mask = signals_off();
	/* Enclave by enclave, so that each can be let go. */
	while (!result && mm_next(start, &vma) && vma.start < end) {
		if (last && vma.enclave != last)
			release_if_unused(last);
		last = vma.enclave;
		result = mm_unmap(start, vma.end < end ? vma.end : end);
		start = vma.end;
	}
	if (!result && start < end)
		result = (int)SYS(SYS_munmap, start, end - start);
	if (last)
		release_if_unused(last);
	signals_restore(mask);
	return result;
}

int softsgx_stats(int fd, struct softsgx_stats *out)
{
	struct enclave *e = device_enclave(fd);

	if (!e)
		return -EBADF;
	*out = e->stats;
	return 0;
}
