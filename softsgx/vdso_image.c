/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/vdso.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
#include "softsgx/softsgx.h"
#include "softsgx/sys.h"

extern const char softsgx_vdso_start[], softsgx_vdso_end[];

/* In the order of vdso.S's table. */
static const char *const names[] = {
    "__vdso_sgx_enter_enclave", "__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu",
    "__vdso_clock_getres",	"__vdso_getrandom"};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

static unsigned long image, kernel_image;

static long missing(void)
{
	return -ENOSYS;
}

/* A dynamic symbol of an image whose addresses are relative to its start. */
static unsigned long find_symbol(const char *start, const char *name)
{
	const Elf64_Ehdr *header = (const void *)start;
	const Elf64_Phdr *segment = (const void *)(start + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const Elf64_Word *hash = NULL, *gnu = NULL;
	const char *strings = NULL;
	size_t count = 0;

	for (int i = 0; i < header->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			dynamic = (const void *)(start + segment[i].p_offset);
	for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const void *)(start + dynamic->d_un.d_ptr);
		else if (dynamic->d_tag == DT_STRTAB)
			strings = start + dynamic->d_un.d_ptr;
		else if (dynamic->d_tag == DT_HASH)
			hash = (const void *)(start + dynamic->d_un.d_ptr);
		else if (dynamic->d_tag == DT_GNU_HASH)
			gnu = (const void *)(start + dynamic->d_un.d_ptr);
	}
	if (!symbols || !strings)
		return 0;
	if (hash) {
		count = hash[1];
	} else if (gnu) {
		const Elf64_Word *buckets = gnu + 4 + gnu[2] * 2, *chain = buckets + gnu[0];

		for (Elf64_Word i = 0; i < gnu[0]; i++)
			if (buckets[i] > count)
				count = buckets[i];
		while (count && !(chain[count - gnu[1]] & 1))
			count++;
		count++;
	}
	for (size_t i = 0; i < count; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(strings + symbols[i].st_name, name))
			return (unsigned long)(start + symbols[i].st_value);
	return 0;
}

static unsigned long make_image(void)
{
	size_t size = (size_t)(softsgx_vdso_end - softsgx_vdso_start);
	extern unsigned long __getauxval(unsigned long);
	unsigned long *table;
	char *at = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_failed(at))
		return 0;
	kernel_image = __getauxval(AT_SYSINFO_EHDR); /* as long as that has not been changed */
	memcpy(at, softsgx_vdso_start, size);
	table = (unsigned long *)find_symbol(at, "softsgx_vdso_table");
	table[0] = (unsigned long)softsgx_enter_enclave;
	for (size_t i = 1; i < NAME_COUNT; i++) {
		table[i] = kernel_image ? find_symbol((const char *)kernel_image, names[i]) : 0;
		if (!table[i])
			table[i] = (unsigned long)missing;
	}
	SYS(SYS_mprotect, at, size, PROT_READ | PROT_EXEC);
	return (unsigned long)at;
}

unsigned long vdso_image(void)
{
	if (!image)
		image = make_image();
	return image;
}

unsigned long vdso_kernel_image(void)
{
	return kernel_image;
}

int vdso_auxv_file(void)
{
	unsigned long pair[2];
	long from = SYS(SYS_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC, 0), to;

	if (from < 0)
		return (int)from;
	to = SYS(SYS_memfd_create, "auxv", MFD_CLOEXEC);
	while (to >= 0 && SYS(SYS_read, from, pair, sizeof(pair)) == sizeof(pair)) {
		if (pair[0] == AT_SYSINFO_EHDR && vdso_image())
			pair[1] = vdso_image();
		SYS(SYS_write, to, pair, sizeof(pair));
	}
	SYS(SYS_close, from);
	if (to >= 0)
		SYS(SYS_lseek, to, 0, SEEK_SET);
	return (int)to;
}
