/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: image_parse(), image_derive(), image_measure(), image_function() on files nobody should
 * have made: each damage is refused with a reason, and random damage reads no
 * byte outside the file (built with sanitizers).
 */
#include <errno.h>
#include <stdio.h>
#include "host/image_symbols.h"
#include "tests/image/elf_build.h"

static int failures;

static void good(void)
{
	static struct elf_file f;
	struct image_options options = elf_options();
	struct failure why;
	struct image image;
	const struct image_config *c = &image.config;

	elf_build(&f);
	if (elf_parse(&f, sizeof(f), &image, &why) || image_derive(&image, &options, &why)) {
		printf("a good file is refused: %s\n", why.message);
		failures++;
		return;
	}
	/* the first page of data is read-only after relocation, so it is not the program's to write */
	if (c->range_count != 1 || c->range[0].start != APP_BASE + 0x3000 ||
	    c->range[0].end != APP_BASE + 0xc000 || c->small.start != APP_BASE + 0x3000 ||
	    c->small.end != APP_BASE + 0x4000 || c->phdr_count || c->tls_size != 208 ||
	    c->elrange_size != 1ull << 32 || c->slot_count != 2 + THREAD_SLOTS_SERVICE) {
		printf("a good file gives a wrong configuration\n");
		failures++;
	}
	for (size_t i = 0; i + 1 < image.run_count; i++) {
		if (image.run[i].start + image.run[i].count * PAGE_SIZE > image.run[i + 1].start) {
			printf("run %zu overlaps the next\n", i);
			failures++;
		}
	}
	image_close(&image);
}

/* Thread-local data end at the thread pointer, less what keeps their start as aligned as the template's is. */
static void tls_reaches_its_start(void)
{
	static struct elf_file f;
	struct image_options options = elf_options();
	struct image image;

	elf_build(&f);
	f.ph[PH_TLS].p_vaddr = APP_BASE + 0x554;
	f.ph[PH_TLS].p_memsz = 0x1b10;
	f.ph[PH_TLS].p_align = PAGE_SIZE;
	if (elf_parse(&f, sizeof(f), &image, NULL) || image_derive(&image, &options, NULL) ||
	    image.config.tls_size != 0x1b10 + 0xf9c) {
		printf("thread-local data aligned to pages: a wrong size\n");
		failures++;
	}
	image_close(&image);
}

/* Each case damages one thing in a good file. */
#define CASES(X)                                                                                             \
	X(not_elf, f->eh.e_ident[0] = 'x')                                                                   \
	X(elf32, f->eh.e_ident[EI_CLASS] = ELFCLASS32)                                                       \
	X(other_machine, f->eh.e_machine = EM_AARCH64)                                                       \
	X(pie, f->eh.e_type = ET_DYN)                                                                        \
	X(no_program_headers, f->eh.e_phnum = 0)                                                             \
	X(program_headers_outside, f->eh.e_phoff = sizeof(*f))                                               \
	X(program_headers_wrap, f->eh.e_phoff = UINT64_MAX - 8)                                              \
	X(many_program_headers, f->eh.e_phnum = 0xffff)                                                      \
	X(odd_program_header_size, f->eh.e_phentsize = 32)                                                   \
	X(dynamic, f->ph[PH_RELRO].p_type = PT_DYNAMIC)                                                      \
	X(interpreter, f->ph[PH_RELRO].p_type = PT_INTERP)                                                   \
	X(writable_code, f->ph[PH_TEXT].p_flags = PF_R | PF_W | PF_X)                                        \
	X(unreadable, f->ph[PH_TEXT].p_flags = PF_X)                                                         \
	X(overlap, f->ph[PH_TEXT].p_vaddr = APP_BASE)                                                        \
	X(share_a_page, f->ph[PH_RODATA].p_memsz = 4097)                                                     \
	X(bytes_beyond_file, f->ph[PH_DATA].p_offset = sizeof(*f) - 100)                                     \
	X(offset_wraps, f->ph[PH_DATA].p_offset = UINT64_MAX - 100)                                          \
	X(file_larger_than_memory, f->ph[PH_DATA].p_memsz = 100)                                             \
	X(memory_wraps, f->ph[PH_DATA].p_memsz = UINT64_MAX)                                                 \
	X(address_wraps, f->ph[PH_DATA].p_vaddr = UINT64_MAX - 4095)                                         \
	X(in_thread_slots, f->ph[PH_RT_DATA].p_vaddr = THREADS_BASE)                                         \
	X(over_the_marks, f->ph[PH_DATA].p_vaddr = MARKS_BASE)                                               \
	X(in_the_heap, f->ph[PH_DATA].p_vaddr = HEAP_BASE)                                                   \
	X(runs_into_the_heap, f->ph[PH_DATA].p_vaddr = APP_END - 8192)                                       \
	X(no_runtime, f->ph[PH_RT_TEXT].p_type = PT_NULL)                                                    \
	X(runtime_not_code, f->ph[PH_RT_TEXT].p_flags = PF_R)                                                \
	X(entry_in_data, f->eh.e_entry = APP_BASE + 0x3000)                                                  \
	X(entry_in_runtime, f->eh.e_entry = RUNTIME_BASE)                                                    \
	X(tls_alignment_odd, f->ph[PH_TLS].p_align = 24)                                                     \
	X(tls_alignment_huge, f->ph[PH_TLS].p_align = 1ull << 40)                                            \
	X(tls_huge, f->ph[PH_TLS].p_memsz = UINT64_MAX - 2)                                                  \
	X(two_tls, f->ph[PH_RELRO] = f->ph[PH_TLS])                                                          \
	X(section_headers_outside, f->eh.e_shoff = sizeof(*f))                                               \
	X(section_headers_wrap, f->eh.e_shoff = UINT64_MAX - 8)                                              \
	X(no_section_names, f->eh.e_shstrndx = 9)                                                            \
	X(section_names_outside, f->sh[2].sh_offset = sizeof(*f))                                            \
	X(section_names_wrap, f->sh[2].sh_size = UINT64_MAX)                                                 \
	X(section_name_outside, f->sh[1].sh_name = 63)                                                       \
	X(no_note, f->names[3] = 'x')                                                                        \
	X(note_not_note, f->sh[1].sh_type = SHT_PROGBITS)                                                    \
	X(note_short, f->sh[1].sh_size -= 8)                                                                 \
	X(note_loaded, f->sh[1].sh_flags = SHF_ALLOC)                                                        \
	X(note_outside, f->sh[1].sh_offset = sizeof(*f) - 8)                                                 \
	X(note_of_another, f->note.name[0] = 'G')                                                            \
	X(note_other_type, f->note.header.n_type = 2)                                                        \
	X(small_in_code, f->note.note.link.small_start = APP_BASE + 0x1000)                                  \
	X(small_backwards, f->note.note.link.small_end = APP_BASE + 0x3000)                                  \
	X(small_in_relro, f->note.note.link.small_start = APP_BASE + 0x2000)

#define DEFINE(name, damage)                                                                                 \
	static void name(struct elf_file *f)                                                                 \
	{                                                                                                    \
		damage;                                                                                      \
	}
CASES(DEFINE)
#define ENTRY(name, damage) {#name, name},
static const struct {
	const char *name;
	void (*damage)(struct elf_file *f);
} cases[] = {CASES(ENTRY)};

static int read_whole(const void *file, size_t size, struct failure *why)
{
	struct image_options options = elf_options();
	struct image image;
	char name[16];
	int rc = elf_parse(file, size, &image, why);

	if (rc)
		return rc;
	image_function(&image, APP_BASE + 0x1100, name, sizeof(name));
	rc = image_derive(&image, &options, why);
	image_close(&image);
	return rc;
}

static bool function_is(const struct image *image, uint64_t address, const char *expected)
{
	char name[6] = "";

	return image_function(image, address, name, sizeof(name)) ? expected && !strcmp(name, expected) : !expected;
}

/* A name is looked for in functions only, and is nothing that a terminal obeys. */
static void names_functions(void)
{
	static struct elf_file f;
	struct image image;

	elf_build(&f);
	if (elf_parse(&f, sizeof(f), &image, NULL) || !function_is(&image, APP_BASE + 0x1100, "run?") ||
	    !function_is(&image, APP_BASE + 0x111f, "run?") || !function_is(&image, APP_BASE + 0x1120, NULL) ||
	    !function_is(&image, APP_BASE + 0x10ff, NULL)) {
		printf("functions are not named as the image's table does\n");
		failures++;
	}
	image_close(&image);
}

static void refuses(void)
{
	static struct elf_file f;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct failure why = {0};

		elf_build(&f);
		cases[i].damage(&f);
		if (!read_whole(&f, sizeof(f), &why)) {
			printf("%s: accepted\n", cases[i].name);
			failures++;
		} else if (!why.message[0]) {
			printf("%s: refused without a reason\n", cases[i].name);
			failures++;
		}
	}
	for (size_t size = 0; size < sizeof(f); size += 97) {
		elf_build(&f);
		if (!read_whole(&f, size, NULL)) {
			printf("truncated to %zu bytes: accepted\n", size);
			failures++;
		}
	}
}

/* Whatever else that ABI may have changed. */
static void names_another_abi(void)
{
	static struct elf_file f;
	char expected[100];

	snprintf(expected, sizeof(expected),
		 "built for runtime ABI %d, this optmig speaks %d: link it again with optmig-cc",
		 ABI_VERSION + 1, ABI_VERSION);
	for (unsigned changed = 0; changed < 4; changed++) {
		struct failure why = {0};

		elf_build(&f);
		f.note.note.link.abi = ABI_VERSION + 1;
		if (changed == 1)
			f.sh[1].sh_size = f.note.header.n_descsz -= 64;
		if (changed == 2)
			f.ph[PH_DATA].p_vaddr = HEAP_BASE;
		if (changed == 3)
			f.eh.e_entry = 0;
		if (read_whole(&f, sizeof(f), &why) != -ESTALE || strcmp(why.message, expected)) {
			printf("an image of another ABI (%u): %d, \"%s\"\n", changed, why.code, why.message);
			failures++;
		}
	}
}

static void refuses_options(void)
{
	static const struct image_options bad[] = {
	    {.heap_size = 4096, .stack_size = 1 << 20, .thread_count = 1, .xfrm = SGX_XFRM_AVX},
	    {.heap_size = 1ull << 40, .stack_size = 1 << 20, .thread_count = 1, .xfrm = SGX_XFRM_AVX},
	    {.heap_size = 1 << 24,
	     .heap_static = 1 << 25,
	     .stack_size = 1 << 20,
	     .thread_count = 1,
	     .xfrm = SGX_XFRM_AVX},
	    {.heap_size = (1 << 24) + 1, .stack_size = 1 << 20, .thread_count = 1, .xfrm = SGX_XFRM_AVX},
	    {.heap_size = 1 << 24, .stack_size = 1 << 24, .thread_count = 1, .xfrm = SGX_XFRM_AVX},
	    {.heap_size = 1 << 24, .stack_size = 1 << 20, .thread_count = 0, .xfrm = SGX_XFRM_AVX},
	    {.heap_size = 1 << 24, .stack_size = 1 << 20, .thread_count = 505, .xfrm = SGX_XFRM_AVX},
	    {.heap_size = 1 << 24, .stack_size = 1 << 20, .thread_count = 1, .xfrm = 3},
	    {.heap_size = 1 << 24,
	     .stack_size = 1 << 20,
	     .thread_count = 1,
	     .xfrm = SGX_XFRM_AVX,
	     .flags = 2},
	};
	static struct elf_file f;
	struct image image;

	elf_build(&f);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		elf_parse(&f, sizeof(f), &image, NULL);
		if (!image_derive(&image, &bad[i], NULL)) {
			printf("bad options %zu: accepted\n", i);
			failures++;
		}
		image_close(&image);
	}
}

static uint64_t random_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A few bytes of the headers or the note replaced, the same ones in every run. */
static void survives_random_damage(void)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x10, 0x20};
	static struct elf_file f;
	uint64_t state = 88172645463325252ull;
	int accepted = 0;

	for (int round = 0; round < 20000; round++) {
		uint8_t *bytes = (uint8_t *)&f;

		elf_build(&f);
		for (unsigned n = random_next(&state) % 4 + 1; n; n--) {
			size_t header = ELF_OFFSET(pad), note = sizeof(f.note);
			size_t at = random_next(&state) % (header + 64);

			at = at < header ? at : sizeof(f) - note + at % 64;
			bytes[at] = random_next(&state) % 2 ? values[random_next(&state) % sizeof(values)]
							    : (uint8_t)random_next(&state);
		}
		accepted += !read_whole(&f, sizeof(f), NULL);
	}
	printf("random damage: %d of 20000 still acceptable\n", accepted);
}

int main(void)
{
	good();
	tls_reaches_its_start();
	names_functions();
	refuses();
	names_another_abi();
	refuses_options();
	survives_random_damage();
	return failures != 0;
}
