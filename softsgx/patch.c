/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/patch.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include "softsgx/decode.h"
#include "softsgx/sys.h"

#define PATCHES_MAX 256

static const uint8_t cpuid_bytes[2] = {0x0f, 0xa2}, ud2_bytes[2] = {0x0f, 0x0b};
static uint64_t patches[PATCHES_MAX];
static int patch_count;

/* An object that is loaded. */
struct object {
	uint64_t bias;
	const uint8_t *frames; /* .eh_frame_hdr */
	const uint8_t *code;
	size_t code_size;
	long memory; /* /proc/self/mem */
};

int patch_is_cpuid(uint64_t address)
{
	for (int i = 0; i < patch_count; i++)
		if (patches[i] == address)
			return 1;
	return 0;
}

/* The table that unwinders search: functions by address. */
struct frame_table {
	uint8_t version, frame_encoding, count_encoding, table_encoding;
	int32_t frames;
	uint32_t count;
	struct {
		int32_t function, description;
	} entry[];
};
enum { ENCODED_UDATA4 = 0x03, ENCODED_PC_SDATA4 = 0x1b, ENCODED_DATA_SDATA4 = 0x3b };

/* The beginning of the function that address is in, or NULL. */
static const uint8_t *function_of(const struct object *o, const uint8_t *address)
{
	const struct frame_table *table = (const void *)o->frames;
	const uint8_t *function;
	size_t low = 0, high;
	uint32_t size;

	if (!table || table->version != 1 || table->frame_encoding != ENCODED_PC_SDATA4 ||
	    table->count_encoding != ENCODED_UDATA4 || table->table_encoding != ENCODED_DATA_SDATA4)
		return NULL;
	for (high = table->count; low < high;) {
		size_t mid = (low + high) / 2;

		if (o->frames + table->entry[mid].function > address)
			high = mid;
		else
			low = mid + 1;
	}
	if (!low)
		return NULL;
	function = o->frames + table->entry[low - 1].function;
	/* Length, common entry, begin, size: of four bytes each as all compilers write them. */
	memcpy(&size, o->frames + table->entry[low - 1].description + 12, sizeof(size));
	return (size_t)(address - function) < size ? function : NULL;
}

/* Is it an instruction, seen from one that surely begins at start? */
static int is_instruction(const uint8_t *start, const uint8_t *at, const uint8_t *end)
{
	while (start < at) {
		size_t length = decode_length(start, (size_t)(end - start));

		if (!length)
			return 0;
		start += length;
	}
	return start == at;
}

/* Writes past the protection of the page, into the process's private copy. */
static void patch(const struct object *o, const uint8_t *at)
{
	if (patch_count == PATCHES_MAX)
		return;
	SYS(SYS_pwrite64, o->memory, ud2_bytes, sizeof(ud2_bytes), at);
	if (!memcmp(at, ud2_bytes, sizeof(ud2_bytes)))
		patches[patch_count++] = (uint64_t)at;
}

static void patch_code(const struct object *o)
{
	const uint8_t *end = o->code + o->code_size;

	for (const uint8_t *at = o->code; (at = memmem(at, (size_t)(end - at), cpuid_bytes, 2)); at++) {
		/* Without the table, from the beginning of it all. */
		const uint8_t *start = o->frames ? function_of(o, at) : o->code;

		if (start && is_instruction(start, at, end))
			patch(o, at);
	}
}

/* The program itself, and libraries that have to do with SGX by their names or their symbols': searching all
 * the code of all others would cost every program that never asks. */
static int is_searched(const struct dl_phdr_info *info)
{
	const size_t strings_max = 1 << 20;
	const char *strings = NULL;
	size_t size = 0;

	if (!*info->dlpi_name)
		return 1;
	if (strstr(info->dlpi_name, "libsoftsgx"))
		return 0;
	if (strstr(info->dlpi_name, "sgx"))
		return 1;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Dyn *dynamic = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);

		for (; info->dlpi_phdr[i].p_type == PT_DYNAMIC && dynamic->d_tag != DT_NULL; dynamic++) {
			if (dynamic->d_tag == DT_STRTAB)
				strings = (const char *)dynamic->d_un.d_ptr;
			else if (dynamic->d_tag == DT_STRSZ)
				size = dynamic->d_un.d_val;
		}
	}
	/* The vDSO's table is an offset still. */
	return strings > (const char *)info->dlpi_addr && size <= strings_max &&
	       memmem(strings, size, "sgx_", 4);
}

static int patch_object(struct dl_phdr_info *info, size_t size, void *memory)
{
	struct object o = {.bias = info->dlpi_addr, .memory = *(long *)memory};

	if (!is_searched(info))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
			o.frames = (const uint8_t *)(o.bias + info->dlpi_phdr[i].p_vaddr);
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *segment = &info->dlpi_phdr[i];

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
			continue;
		o.code = (const uint8_t *)(o.bias + segment->p_vaddr);
		o.code_size = segment->p_filesz;
		patch_code(&o);
	}
	return 0;
}

int patch_cpuid(void)
{
	long memory = SYS(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);

	if (memory < 0)
		return (int)memory;
	dl_iterate_phdr(patch_object, &memory);
	SYS(SYS_close, memory);
	return patch_count;
}
