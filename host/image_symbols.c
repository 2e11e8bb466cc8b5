/* SPDX-License-Identifier: Apache-2.0 */
#include "host/image_symbols.h"
#include <ctype.h>
#include <elf.h>
#include <string.h>

/* A copy of what lies there, so that nothing depends on its alignment. No sum here can wrap. */
static bool get(const struct image *image, uint64_t offset, void *out, size_t size)
{
	if (offset > image->file_size || size > image->file_size - offset)
		return false;
	memcpy(out, image->file + offset, size);
	return true;
}

static bool holds(const Elf64_Sym *symbol, uint64_t address)
{
	return ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && address >= symbol->st_value &&
	       address - symbol->st_value < symbol->st_size;
}

static bool name_get(const struct image *image, const Elf64_Shdr *strings, uint32_t at, char *name, size_t size)
{
	size_t used = 0;
	char c;

	while (used + 1 < size && at < strings->sh_size && get(image, strings->sh_offset + at++, &c, 1) && c)
		name[used++] = isalnum((unsigned char)c) || strchr("_.$", c) ? c : '?';
	name[used] = 0;
	return used != 0;
}

bool image_function(const struct image *image, uint64_t address, char *name, size_t size)
{
	Elf64_Ehdr eh;
	Elf64_Shdr table, strings;
	Elf64_Sym symbol;

	if (!get(image, 0, &eh, sizeof(eh)) || eh.e_shentsize != sizeof(table) || eh.e_shoff > image->file_size)
		return false;
	for (unsigned i = 0; i < eh.e_shnum; i++) {
		if (!get(image, eh.e_shoff + i * sizeof(table), &table, sizeof(table)))
			return false;
		if (table.sh_type != SHT_SYMTAB || table.sh_offset > image->file_size || table.sh_size > image->file_size ||
		    !get(image, eh.e_shoff + (uint64_t)table.sh_link * sizeof(strings), &strings, sizeof(strings)) ||
		    strings.sh_offset > image->file_size)
			continue;
		for (uint64_t at = 0; at + sizeof(symbol) <= table.sh_size; at += sizeof(symbol))
			if (get(image, table.sh_offset + at, &symbol, sizeof(symbol)) && holds(&symbol, address))
				return name_get(image, &strings, symbol.st_name, name, size);
	}
	return false;
}
