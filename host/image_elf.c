/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "host/image.h"

/* The note's section. It is aligned to 8, and so, from its start, is the descriptor. */
struct note_section {
	Elf64_Nhdr header;
	char name[8];
	struct image_note note;
};
_Static_assert(offsetof(struct note_section, note) == 24, "descriptor of an 8-aligned note");

/* True if [offset, offset + size) lies in the file. No sum here can wrap. */
static bool in_file(const struct image *image, uint64_t offset, uint64_t size)
{
	return offset <= image->file_size && size <= image->file_size - offset;
}

/* Copies out, so that nothing depends on the alignment a hostile file chose. */
static bool copy_from_file(const struct image *image, uint64_t offset, void *out, size_t size)
{
	if (!in_file(image, offset, size))
		return false;
	memcpy(out, image->file + offset, size);
	return true;
}

static bool inside(uint64_t start, uint64_t end, uint64_t low, uint64_t high)
{
	return start >= low && end <= high;
}

static int segment_from_phdr(const Elf64_Phdr *ph, struct image_segment *out, struct failure *why)
{
	if (ph->p_memsz > ELRANGE_SIZE_MAX || ph->p_vaddr > ELRANGE_SIZE_MAX)
		return fail(why, -EINVAL, "segment at %#llx is outside the enclave's address range",
			    (unsigned long long)ph->p_vaddr);
	*out = (struct image_segment){
	    .start = ph->p_vaddr,
	    .end = ph->p_vaddr + ph->p_memsz,
	    .file_offset = ph->p_offset,
	    .file_size = ph->p_filesz,
	    .flags = (ph->p_flags & PF_R ? SGX_SECINFO_R : 0) | (ph->p_flags & PF_W ? SGX_SECINFO_W : 0) |
		     (ph->p_flags & PF_X ? SGX_SECINFO_X : 0),
	};
	return 0;
}

static int load_add(struct image *image, const Elf64_Phdr *ph, struct failure *why)
{
	struct image_segment segment;
	uint64_t start, end;
	unsigned at;
	int rc;

	if (!ph->p_memsz || inside(ph->p_vaddr, ph->p_vaddr + ph->p_memsz, OUTSIDE_BASE, OUTSIDE_END))
		return 0;
	rc = segment_from_phdr(ph, &segment, why);
	if (rc)
		return rc;
	start = page_down(segment.start);
	end = page_up(segment.end);
	if (segment.file_size > ph->p_memsz || !in_file(image, segment.file_offset, segment.file_size))
		return fail(why, -EINVAL, "segment at %#llx: its bytes are not in the file (truncated?)",
			    (unsigned long long)start);
	if (!inside(start, end, RUNTIME_BASE, RUNTIME_END) && !inside(start, end, APP_BASE, APP_END))
		return fail(why, -EINVAL,
			    "segment at %#llx is outside the image's ranges: link with optmig-cc",
			    (unsigned long long)start);
	if (!(segment.flags & SGX_SECINFO_R))
		return fail(why, -EINVAL, "segment at %#llx is not readable", (unsigned long long)start);
	if (segment.flags & SGX_SECINFO_W && segment.flags & SGX_SECINFO_X)
		return fail(why, -EINVAL, "segment at %#llx is writable and executable",
			    (unsigned long long)start);
	if (image->segment_count == IMAGE_SEGMENTS_MAX)
		return fail(why, -EINVAL, "more than %d segments", IMAGE_SEGMENTS_MAX);
	for (at = 0; at < image->segment_count; at++)
		if (page_down(image->segment[at].start) >= end)
			break;
	if (at && page_up(image->segment[at - 1].end) > start)
		return fail(why, -EINVAL, "segment at %#llx shares a page with another",
			    (unsigned long long)start);
	memmove(&image->segment[at + 1], &image->segment[at],
		(image->segment_count - at) * sizeof(image->segment[0]));
	image->segment[at] = segment;
	image->segment_count++;
	return 0;
}

static int relro_add(struct image *image, const Elf64_Phdr *ph, struct failure *why)
{
	if (image->relro_count == IMAGE_SEGMENTS_MAX)
		return fail(why, -EINVAL, "more than %d read-only-after-relocation ranges",
			    IMAGE_SEGMENTS_MAX);
	return segment_from_phdr(ph, &image->relro[image->relro_count++], why);
}

static int tls_set(struct image *image, const Elf64_Phdr *ph, struct failure *why)
{
	uint64_t align = ph->p_align ? ph->p_align : 1;

	if (image->tls_size)
		return fail(why, -EINVAL, "more than one TLS segment");
	if (align & (align - 1) || align > PAGE_SIZE || ph->p_memsz > APP_END - APP_BASE)
		return fail(why, -EINVAL, "TLS segment of %llu bytes, aligned to %llu, is not acceptable",
			    (unsigned long long)ph->p_memsz, (unsigned long long)align);
	/* It ends at the thread pointer but for what keeps its start aligned as the template's is. */
	image->tls_size = ph->p_memsz + (-(ph->p_vaddr + ph->p_memsz) & (align - 1));
	return 0;
}

/* Does this segment begin with a copy of the program headers? A strip may have moved what they point to in the file. */
static bool phdr_copied(const struct image *image, const Elf64_Ehdr *eh, const struct image_segment *s)
{
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr own, copy;

		if ((i + 1) * sizeof(copy) > s->file_size ||
		    !copy_from_file(image, s->file_offset + i * sizeof(copy), &copy, sizeof(copy)) ||
		    !copy_from_file(image, eh->e_phoff + i * sizeof(own), &own, sizeof(own)) || copy.p_type != own.p_type ||
		    copy.p_vaddr != own.p_vaddr || copy.p_memsz != own.p_memsz)
			return false;
	}
	return true;
}

/* Where the program headers are loaded (for AT_PHDR), they or optmig-ld's copy; stays 0 if no segment has them. */
static void phdr_locate(struct image *image, const Elf64_Ehdr *eh)
{
	uint64_t size = (uint64_t)eh->e_phnum * sizeof(Elf64_Phdr);

	for (unsigned i = 0; i < image->segment_count; i++) {
		const struct image_segment *s = &image->segment[i];

		if (s->start == APP_BASE && phdr_copied(image, eh, s))
			image->phdr = APP_BASE;
		else if (s->start >= APP_BASE && eh->e_phoff >= s->file_offset && size <= s->file_size &&
			 eh->e_phoff - s->file_offset <= s->file_size - size)
			image->phdr = s->start + (eh->e_phoff - s->file_offset);
		else
			continue;
		image->phdr_count = eh->e_phnum;
		return;
	}
}

static bool executable_at(const struct image *image, uint64_t address)
{
	for (unsigned i = 0; i < image->segment_count; i++) {
		const struct image_segment *s = &image->segment[i];

		if (address >= s->start && address < s->end)
			return s->flags & SGX_SECINFO_X;
	}
	return false;
}

static int segments_parse(struct image *image, const Elf64_Ehdr *eh, struct failure *why)
{
	int rc;

	if (eh->e_phentsize != sizeof(Elf64_Phdr) || !eh->e_phnum)
		return fail(why, -ENOEXEC, "no program headers");
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph;

		/* e_phoff + i * size cannot wrap once e_phoff is in the file */
		if (!in_file(image, eh->e_phoff, 0) ||
		    !copy_from_file(image, eh->e_phoff + i * sizeof(ph), &ph, sizeof(ph)))
			return fail(why, -EINVAL, "program headers are not in the file (truncated?)");
		switch (ph.p_type) {
		case PT_LOAD:
			rc = load_add(image, &ph, why);
			break;
		case PT_GNU_RELRO:
			rc = relro_add(image, &ph, why);
			break;
		case PT_TLS:
			rc = tls_set(image, &ph, why);
			break;
		case PT_INTERP:
		case PT_DYNAMIC:
			rc = fail(why, -ENOEXEC,
				  "dynamically linked: an image is static, link with optmig-cc");
			break;
		default:
			rc = 0;
		}
		if (rc)
			return rc;
	}
	if (!executable_at(image, RUNTIME_BASE))
		return fail(why, -ENOEXEC, "holds no enclave runtime: link with optmig-cc");
	phdr_locate(image, eh);
	return 0;
}

/* The file's own entry point is for running outside an enclave, where the note names another. */
static int entry_set(struct image *image, const Elf64_Ehdr *eh, struct failure *why)
{
	image->entry = image->note.link.entry ? image->note.link.entry : eh->e_entry;
	if (image->entry < APP_BASE || !executable_at(image, image->entry))
		return fail(why, -EINVAL, "entry point %#llx is not in the program's code",
			    (unsigned long long)image->entry);
	return 0;
}

/* True if the section's name is the note's. strings is the section name table. */
static bool section_is_note(const struct image *image, const Elf64_Shdr *strings, const Elf64_Shdr *section)
{
	char name[sizeof(IMAGE_NOTE_SECTION)];

	if (section->sh_type != SHT_NOTE || strings->sh_size < sizeof(name) ||
	    section->sh_name > strings->sh_size - sizeof(name) ||
	    !in_file(image, strings->sh_offset, strings->sh_size))
		return false;
	return copy_from_file(image, strings->sh_offset + section->sh_name, name, sizeof(name)) &&
	       !memcmp(name, IMAGE_NOTE_SECTION, sizeof(name));
}

/* First of all: in an image of another ABI, nothing else need be where it is looked for. */
static int abi_check(const struct image *image, const Elf64_Shdr *section, struct failure *why)
{
	struct {
		Elf64_Nhdr header;
		char name[8];
		struct image_link link;
	} start;

	if (!copy_from_file(image, section->sh_offset, &start, sizeof(start)))
		return fail(why, -EINVAL, "section " IMAGE_NOTE_SECTION " is not in the file (truncated?)");
	if (start.header.n_namesz != sizeof(IMAGE_NOTE_NAME) || start.header.n_type != IMAGE_NOTE_TYPE ||
	    memcmp(start.name, IMAGE_NOTE_NAME, sizeof(IMAGE_NOTE_NAME)))
		return fail(why, -EINVAL, "section " IMAGE_NOTE_SECTION " holds another note");
	if (start.link.abi != ABI_VERSION)
		return fail(why, -ESTALE,
			    "built for runtime ABI %llu, this optmig speaks %d: link it again with optmig-cc",
			    (unsigned long long)start.link.abi, ABI_VERSION);
	return 0;
}

static int note_read(struct image *image, const Elf64_Shdr *section, struct failure *why)
{
	struct note_section *n;
	int rc = abi_check(image, section, why);

	if (rc)
		return rc;
	if (section->sh_size != sizeof(*n) || section->sh_flags & SHF_ALLOC)
		return fail(why, -EINVAL,
			    "section " IMAGE_NOTE_SECTION " is %llu bytes, expected %zu, not loaded",
			    (unsigned long long)section->sh_size, sizeof(*n));
	n = malloc(sizeof(*n));
	if (!n)
		return fail(why, -ENOMEM, "out of memory");
	if (!copy_from_file(image, section->sh_offset, n, sizeof(*n))) {
		rc = fail(why, -EINVAL, "section " IMAGE_NOTE_SECTION " is not in the file (truncated?)");
	} else if (n->header.n_descsz != sizeof(n->note)) {
		rc = fail(why, -EINVAL, "section " IMAGE_NOTE_SECTION " holds another note");
	} else {
		image->note_offset = section->sh_offset + offsetof(struct note_section, note);
		image->note = n->note;
	}
	free(n);
	return rc;
}

static int note_parse(struct image *image, const Elf64_Ehdr *eh, struct failure *why)
{
	Elf64_Shdr strings, section;

	if (eh->e_shentsize != sizeof(Elf64_Shdr) || !in_file(image, eh->e_shoff, 0) ||
	    eh->e_shstrndx >= eh->e_shnum ||
	    !copy_from_file(image, eh->e_shoff + eh->e_shstrndx * sizeof(strings), &strings, sizeof(strings)))
		return fail(why, -EINVAL, "no section headers (stripped of them?)");
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		if (!copy_from_file(image, eh->e_shoff + i * sizeof(section), &section, sizeof(section)))
			return fail(why, -EINVAL, "section headers are not in the file (truncated?)");
		if (section_is_note(image, &strings, &section))
			return note_read(image, &section, why);
	}
	return fail(why, -ENOEXEC, "no section " IMAGE_NOTE_SECTION ": link with optmig-cc; llvm-strip needs --keep-section="
		    IMAGE_NOTE_SECTION);
}

int image_parse(uint8_t *file, size_t file_size, struct image *image, struct failure *why)
{
	Elf64_Ehdr eh;
	int rc;

	memset(image, 0, sizeof(*image));
	image->file = file;
	image->file_size = file_size;
	if (!copy_from_file(image, 0, &eh, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_machine != EM_X86_64)
		rc = fail(why, -ENOEXEC, "not an x86-64 ELF file");
	else if (eh.e_type != ET_EXEC)
		rc = fail(why, -ENOEXEC, "not a fixed-address executable: link with optmig-cc");
	else
		rc = note_parse(image, &eh, why);
	if (!rc)
		rc = segments_parse(image, &eh, why);
	if (!rc)
		rc = entry_set(image, &eh, why);
	if (rc)
		image_close(image);
	return rc;
}

static int file_read(int fd, uint8_t **out, size_t *out_size, struct failure *why)
{
	struct stat st;
	uint8_t *data;
	size_t done = 0;

	if (fstat(fd, &st) < 0)
		return fail(why, -errno, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(why, -EINVAL, "not a regular file");
	if (st.st_size < 1)
		return fail(why, -ENODATA, "the file is empty");
	if ((uint64_t)st.st_size > IMAGE_FILE_SIZE_MAX)
		return fail(why, -EFBIG, "larger than an image can be, which is %llu bytes",
			    (unsigned long long)IMAGE_FILE_SIZE_MAX);
	data = malloc(st.st_size);
	if (!data)
		return fail(why, -ENOMEM, "out of memory");
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, data + done, st.st_size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int rc = n < 0 ? -errno : -EIO;

			free(data);
			return fail(why, rc, "%s", strerror(-rc));
		}
		done += n;
	}
	*out = data;
	*out_size = done;
	return 0;
}

int image_open(const char *path, struct image *image, struct failure *why)
{
	struct failure inner;
	size_t size = 0;
	uint8_t *data = NULL;
	int fd, rc;

	memset(image, 0, sizeof(*image));
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a named pipe would wait for a writer */
	if (fd < 0)
		return fail(why, -errno, "%s: %s", path, strerror(errno));
	rc = file_read(fd, &data, &size, &inner);
	close(fd);
	if (!rc)
		rc = image_parse(data, size, image, &inner);
	if (rc)
		return fail(why, rc, "%s: %.300s", path, inner.message);
	return 0;
}

void image_close(struct image *image)
{
	free(image->file);
	free(image->run);
	free(image->page_buffer);
	memset(image, 0, sizeof(*image));
}

uint64_t image_page_flags(const struct image *image, const struct image_segment *segment, uint64_t page)
{
	if (segment->flags & SGX_SECINFO_W)
		for (unsigned i = 0; i < image->relro_count; i++)
			if (page >= image->relro[i].start && page + PAGE_SIZE <= image->relro[i].end)
				return segment->flags & ~SGX_SECINFO_W;
	return segment->flags;
}
