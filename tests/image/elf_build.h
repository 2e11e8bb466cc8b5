/* SPDX-License-Identifier: Apache-2.0
 *
 * A small image file in memory, with everything a good one has, for tests that
 * then damage it.
 */
#ifndef TESTS_IMAGE_ELF_BUILD_H
#define TESTS_IMAGE_ELF_BUILD_H

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "abi/image.h"
#include "abi/layout.h"
#include "host/image.h"

enum { PH_RT_TEXT, PH_RT_DATA, PH_RODATA, PH_TEXT, PH_DATA, PH_TLS, PH_RELRO, PH_COUNT };

struct elf_file {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[PH_COUNT];
	Elf64_Shdr sh[5]; /* none, note, names, symbols, their names */
	char names[64];
	Elf64_Sym symbol[3];
	char symbol_names[32];
	uint8_t pad[4096 - sizeof(Elf64_Ehdr) - PH_COUNT * sizeof(Elf64_Phdr) - 5 * sizeof(Elf64_Shdr) - 64 -
		    3 * sizeof(Elf64_Sym) - 32];
	uint8_t rt_text[4096], rt_data[4096], rodata[4096], text[4096], data[8192];
	struct {
		Elf64_Nhdr header;
		char name[8];
		struct image_note note;
	} note;
};

static inline Elf64_Phdr elf_load(uint64_t address, uint64_t offset, uint64_t file_size, uint64_t size,
				  uint32_t flags)
{
	return (Elf64_Phdr){PT_LOAD, flags, offset, address, address, file_size, size, PAGE_SIZE};
}

#define ELF_OFFSET(member) offsetof(struct elf_file, member)

static inline void elf_build(struct elf_file *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->eh.e_ident, ELFMAG, SELFMAG);
	f->eh.e_ident[EI_CLASS] = ELFCLASS64;
	f->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	f->eh.e_type = ET_EXEC;
	f->eh.e_machine = EM_X86_64;
	f->eh.e_entry = APP_BASE + 0x1000;
	f->eh.e_phoff = ELF_OFFSET(ph);
	f->eh.e_phentsize = sizeof(Elf64_Phdr);
	f->eh.e_phnum = PH_COUNT;
	f->eh.e_shoff = ELF_OFFSET(sh);
	f->eh.e_shentsize = sizeof(Elf64_Shdr);
	f->eh.e_shnum = 5;
	f->eh.e_shstrndx = 2;
	f->ph[PH_RT_TEXT] = elf_load(RUNTIME_BASE, ELF_OFFSET(rt_text), 4096, 4096, PF_R | PF_X);
	f->ph[PH_RT_DATA] = elf_load(RUNTIME_BASE + 0x1000, ELF_OFFSET(rt_data), 100, 20000, PF_R | PF_W);
	f->ph[PH_RODATA] = elf_load(APP_BASE, ELF_OFFSET(rodata), 4096, 4096, PF_R);
	f->ph[PH_TEXT] = elf_load(APP_BASE + 0x1000, ELF_OFFSET(text), 4096, 4096, PF_R | PF_X);
	f->ph[PH_DATA] = elf_load(APP_BASE + 0x2000, ELF_OFFSET(data), 8192, 40000, PF_R | PF_W);
	f->ph[PH_TLS] = (Elf64_Phdr){PT_TLS, PF_R, ELF_OFFSET(rodata), APP_BASE, APP_BASE, 100, 200, 16};
	f->ph[PH_RELRO] = (Elf64_Phdr){
	    PT_GNU_RELRO, PF_R, ELF_OFFSET(data), APP_BASE + 0x2000, APP_BASE + 0x2000, 4096, 4096, 1};
	memset(f->rt_text, 0xcc, sizeof(f->rt_text));
	memset(f->rt_data, 0xaa, sizeof(f->rt_data));
	memset(f->data, 0x11, sizeof(f->data));
	memcpy(f->names, "\0" IMAGE_NOTE_SECTION, 1 + sizeof(IMAGE_NOTE_SECTION));
	f->sh[1].sh_name = 1;
	f->sh[1].sh_type = SHT_NOTE;
	f->sh[1].sh_offset = ELF_OFFSET(note);
	f->sh[1].sh_size = sizeof(f->note);
	f->sh[2].sh_type = SHT_STRTAB;
	f->sh[2].sh_offset = ELF_OFFSET(names);
	f->sh[2].sh_size = sizeof(f->names);
	memcpy(f->symbol_names, "\0table\0run\033", 12);
	f->symbol[1] = (Elf64_Sym){1, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 3, APP_BASE + 0x1000, 0x200};
	f->symbol[2] = (Elf64_Sym){7, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, 3, APP_BASE + 0x1100, 0x20};
	f->sh[3].sh_type = SHT_SYMTAB;
	f->sh[3].sh_offset = ELF_OFFSET(symbol);
	f->sh[3].sh_size = sizeof(f->symbol);
	f->sh[3].sh_link = 4;
	f->sh[4].sh_type = SHT_STRTAB;
	f->sh[4].sh_offset = ELF_OFFSET(symbol_names);
	f->sh[4].sh_size = sizeof(f->symbol_names);
	f->note.header = (Elf64_Nhdr){sizeof(IMAGE_NOTE_NAME), sizeof(struct image_note), IMAGE_NOTE_TYPE};
	memcpy(f->note.name, IMAGE_NOTE_NAME, sizeof(IMAGE_NOTE_NAME));
	f->note.note.link.small_start = APP_BASE + 0x3010;
	f->note.note.link.small_end = APP_BASE + 0x3020;
	f->note.note.link.abi = ABI_VERSION;
}

static inline struct image_options elf_options(void)
{
	return (struct image_options){
	    .heap_size = 64u << 20,
	    .heap_static = 1u << 20,
	    .stack_size = 1u << 20,
	    .thread_count = 2,
	    .xfrm = SGX_XFRM_AVX,
	};
}

/* image_parse() of a heap copy exactly as large as the file, so that a sanitizer sees a step outside it. */
static inline int elf_parse(const void *file, size_t size, struct image *image, struct failure *why)
{
	uint8_t *copy = malloc(size ? size : 1);

	memcpy(copy, file, size);
	return image_parse(copy, size, image, why);
}

#endif
