/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include "host/vdso.h"

struct tables {
	const Elf64_Sym *symbols;
	const char *strings;
	uint64_t symbol_count;
};

static void tables_find(uintptr_t base, const Elf64_Dyn *dyn, struct tables *out)
{
	for (; dyn->d_tag != DT_NULL; dyn++) {
		switch (dyn->d_tag) {
		case DT_SYMTAB:
			out->symbols = (const Elf64_Sym *)(base + dyn->d_un.d_ptr);
			break;
		case DT_STRTAB:
			out->strings = (const char *)(base + dyn->d_un.d_ptr);
			break;
		case DT_HASH: /* nbucket, nchain: nchain is the number of symbols */
			out->symbol_count = ((const uint32_t *)(base + dyn->d_un.d_ptr))[1];
			break;
		}
	}
}

void *vdso_symbol(const char *name)
{
	uintptr_t base = getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *ph;
	struct tables t = {0};

	if (!base)
		return NULL;
	ph = (const Elf64_Phdr *)(base + eh->e_phoff);
	for (unsigned i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			tables_find(base, (const Elf64_Dyn *)(base + ph[i].p_vaddr), &t);
	if (!t.symbols || !t.strings)
		return NULL;
	for (uint64_t i = 0; i < t.symbol_count; i++)
		if (t.symbols[i].st_shndx != SHN_UNDEF && !strcmp(t.strings + t.symbols[i].st_name, name))
			return (void *)(base + t.symbols[i].st_value);
	return NULL;
}
