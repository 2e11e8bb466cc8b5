/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/patch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "softsgx/decode.h"
#include "softsgx/sys.h"

#define PATCHES_MAX 64

extern unsigned long __getauxval(unsigned long);

static const uint8_t cpuid_bytes[2] = {0x0f, 0xa2}, ud2_bytes[2] = {0x0f, 0x0b};
static uint64_t patches[PATCHES_MAX];
static int patch_count;

int patch_is_cpuid(uint64_t address)
{
	for (int i = 0; i < patch_count; i++)
		if (patches[i] == address)
			return 1;
	return 0;
}

/* The section .text of the program's file: its place in memory. */
static int find_text(const uint8_t *file, size_t size, const uint8_t **text, size_t *length)
{
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *sections;
	uint64_t bias, names;

	if (size < sizeof(*header) || memcmp(header->e_ident, ELFMAG, SELFMAG) || !header->e_shoff ||
	    header->e_shoff > size || header->e_shnum > (size - header->e_shoff) / sizeof(*sections) ||
	    header->e_shstrndx >= header->e_shnum)
		return -ENOENT;
	sections = (const void *)(file + header->e_shoff);
	names = sections[header->e_shstrndx].sh_offset;
	/* The program headers' address tells where the file was put. */
	bias = __getauxval(AT_PHDR) - header->e_phoff;
	for (int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *segment =
		    (const void *)(file + header->e_phoff + (size_t)i * sizeof(*segment));

		if (segment->p_type == PT_LOAD && segment->p_offset <= header->e_phoff &&
		    header->e_phoff < segment->p_offset + segment->p_filesz)
			bias =
			    __getauxval(AT_PHDR) - (segment->p_vaddr + header->e_phoff - segment->p_offset);
	}
	for (int i = 0; i < header->e_shnum; i++) {
		uint64_t name = names + sections[i].sh_name;

		if (name + 6 <= size && !memcmp(file + name, ".text", 6)) {
			*text = (const uint8_t *)(sections[i].sh_addr + bias);
			*length = sections[i].sh_size;
			return 0;
		}
	}
	return -ENOENT;
}

/* Writes past the protection of the page, into the program's private copy. */
static void write_code(long memory, const uint8_t *at, const uint8_t bytes[static 2])
{
	SYS(SYS_pwrite64, memory, bytes, 2, at);
}

static void patch_text(const uint8_t *text, size_t length, long memory)
{
	const uint8_t *last = text;

	/* How far it is worth walking. */
	for (const uint8_t *at = text; (at = memmem(at, length - (size_t)(at - text), cpuid_bytes, 2)); at++)
		last = at;
	for (const uint8_t *at = text; at <= last && last > text && patch_count < PATCHES_MAX;) {
		size_t size = decode_length(at, length - (size_t)(at - text));

		if (!size)
			return;
		if (size == 2 && !memcmp(at, cpuid_bytes, 2)) {
			write_code(memory, at, ud2_bytes);
			if (!memcmp(at, ud2_bytes, 2))
				patches[patch_count++] = (uint64_t)at;
		}
		at += size;
	}
}

int patch_cpuid(void)
{
	long fd = SYS(SYS_openat, AT_FDCWD, "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0), memory;
	const uint8_t *text = NULL;
	struct stat st = {0};
	size_t length = 0;
	void *file;
	int error;

	if (fd < 0)
		return (int)fd;
	SYS(SYS_fstat, fd, &st);
	file = sys_mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, (int)fd, 0);
	SYS(SYS_close, fd);
	if (sys_failed(file))
		return -ENOMEM;
	error = find_text(file, (size_t)st.st_size, &text, &length);
	SYS(SYS_munmap, file, st.st_size);
	memory = error ? -1 : SYS(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	if (memory < 0)
		return error ? error : (int)memory;
	patch_text(text, length, memory);
	SYS(SYS_close, memory);
	return patch_count;
}
