/* SPDX-License-Identifier: Apache-2.0
 *
 * The harness's calls as a program makes them that knows only the kernel: for
 * the tests that run a second time under the preload library. Starts itself
 * again with it.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "softsgx/softsgx.h"

sgx_enter_enclave_fn test_enter_enclave;

static int result(int value)
{
	return value < 0 ? -errno : value;
}

int softsgx_open(const char *path)
{
	return result(open(path, O_RDWR));
}
int softsgx_close(int fd)
{
	return result(close(fd));
}
int softsgx_ioctl(int fd, unsigned long cmd, void *arg)
{
	return result(ioctl(fd, cmd, arg));
}
void *softsgx_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *at = mmap(addr, size, prot, flags, fd, offset);

	return at == MAP_FAILED ? (void *)(long)-errno : at;
}
int softsgx_mprotect(void *addr, size_t size, int prot)
{
	return result(mprotect(addr, size, prot));
}
int softsgx_munmap(void *addr, size_t size)
{
	return result(munmap(addr, size));
}
int softsgx_sigaction(int signal, const struct sigaction *action, struct sigaction *old)
{
	return result(sigaction(signal, action, old));
}

/* As the kernel's own self-test finds it. */
static void *find_in_vdso(const char *name)
{
	const char *base = (void *)getauxval(AT_SYSINFO_EHDR), *strings = NULL;
	const Elf64_Ehdr *header = (const void *)base;
	const Elf64_Phdr *segment = (const void *)(base + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const Elf64_Word *hash = NULL;

	for (int i = 0; i < header->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			dynamic = (const void *)(base + segment[i].p_offset);
	for (; dynamic && dynamic->d_tag; dynamic++) {
		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const void *)(base + dynamic->d_un.d_ptr);
		else if (dynamic->d_tag == DT_STRTAB)
			strings = base + dynamic->d_un.d_ptr;
		else if (dynamic->d_tag == DT_HASH)
			hash = (const void *)(base + dynamic->d_un.d_ptr);
	}
	for (Elf64_Word i = 0; hash && i < hash[1]; i++)
		if (!strcmp(strings + symbols[i].st_name, name))
			return (void *)(base + symbols[i].st_value);
	return NULL;
}

__attribute__((constructor)) static void start(int argc, char **argv)
{
	char path[PATH_MAX], library[PATH_MAX + 32];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (!getenv("LD_PRELOAD")) {
		path[length] = 0;
		snprintf(library, sizeof(library), "%s/../../libsoftsgx.so", dirname(path));
		setenv("LD_PRELOAD", library, 1);
		execv("/proc/self/exe", argv);
		perror("execv");
		exit(1);
	}
	test_enter_enclave = (sgx_enter_enclave_fn)find_in_vdso("__vdso_sgx_enter_enclave");
	if (!test_enter_enclave) {
		fprintf(stderr, "no __vdso_sgx_enter_enclave\n");
		exit(1);
	}
}
