/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/objects.h"

#include <ar.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pass/version.h"

#define THIN_MAGIC "!<thin>\n"

struct bytes {
	const uint8_t *data;
	size_t size;
};

static int file_map(const char *path, struct bytes *file)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *map;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return -EINVAL;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	*file = (struct bytes){map, (size_t)st.st_size};
	return 0;
}

/* True if [offset, offset + size) lies within the bytes. */
static bool within(struct bytes b, uint64_t offset, uint64_t size)
{
	return offset <= b.size && size <= b.size - offset;
}

/* The section's content; data is NULL if there is none of that name. */
static struct bytes elf_section(struct bytes object, const char *wanted)
{
	static const struct bytes none;
	Elf64_Ehdr header;
	Elf64_Shdr names, section;

	memcpy(&header, object.data, sizeof(header));
	if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff == 0)
		return none;
	/* more sections than e_shnum can count (-ffunction-sections in a large file): section 0 has the
	 * numbers */
	if (!within(object, header.e_shoff, sizeof(section)))
		return none;
	memcpy(&section, object.data + header.e_shoff, sizeof(section));
	uint64_t count = header.e_shnum ? header.e_shnum : section.sh_size;
	uint64_t strings = header.e_shstrndx == SHN_XINDEX ? section.sh_link : header.e_shstrndx;

	if (count > object.size / sizeof(section) || strings >= count ||
	    !within(object, header.e_shoff, count * sizeof(section)))
		return none;
	memcpy(&names, object.data + header.e_shoff + strings * sizeof(names), sizeof(names));
	if (!within(object, names.sh_offset, names.sh_size))
		return none;
	for (uint64_t i = 0; i < count; i++) {
		memcpy(&section, object.data + header.e_shoff + i * sizeof(section), sizeof(section));
		if (section.sh_name < names.sh_size && names.sh_size - section.sh_name > strlen(wanted) &&
		    !strcmp((const char *)object.data + names.sh_offset + section.sh_name, wanted) &&
		    within(object, section.sh_offset, section.sh_size))
			return (struct bytes){object.data + section.sh_offset, section.sh_size};
	}
	return none;
}

/* One string an object; several, if `ld -r` has joined objects. */
static bool note_current(struct bytes note)
{
	size_t at = 0;

	for (; at + sizeof(PASS_NOTE) <= note.size; at += sizeof(PASS_NOTE))
		if (memcmp(note.data + at, PASS_NOTE, sizeof(PASS_NOTE)))
			return false;
	return at == note.size && at > 0;
}

static enum object_kind bytes_classify(struct bytes object)
{
	if (object.size >= 4 &&
	    (!memcmp(object.data, "BC\xc0\xde", 4) || !memcmp(object.data, "\xde\xc0\x17\x0b", 4)))
		return OBJECT_BITCODE;
	if (object.size < sizeof(Elf64_Ehdr) || memcmp(object.data, ELFMAG, SELFMAG))
		return OBJECT_OTHER;
	struct bytes note = elf_section(object, PASS_NOTE_SECTION);

	if (!note.data)
		return OBJECT_FOREIGN;
	return note_current(note) ? OBJECT_TRACKED : OBJECT_STALE;
}

/* Steps through an archive; *offset is 0 before the first member. False at the end. */
static bool archive_next(struct bytes archive, bool thin, size_t *offset, struct bytes *long_names,
			 char *name, size_t name_size, struct bytes *member)
{
	for (;;) {
		struct ar_hdr header;
		size_t at = *offset ? *offset : SARMAG;

		if (!within(archive, at, sizeof(header)))
			return false;
		memcpy(&header, archive.data + at, sizeof(header));
		char digits[sizeof(header.ar_size) + 1] = {0};
		memcpy(digits, header.ar_size, sizeof(header.ar_size));
		*member = (struct bytes){archive.data + at + sizeof(header), strtoull(digits, NULL, 10)};
		bool special =
		    header.ar_name[0] == '/' && (header.ar_name[1] < '0' || header.ar_name[1] > '9');
		size_t stored = thin && !special ? 0 : member->size;

		if (!within(archive, at + sizeof(header), stored))
			return false;
		*offset = at + sizeof(header) + stored + (stored & 1);
		if (special) {
			if (header.ar_name[1] == '/')
				*long_names = *member;
			continue;
		}
		if (header.ar_name[0] == '/') {
			size_t start = strtoull(header.ar_name + 1, NULL, 10), end = start;

			while (end < long_names->size && long_names->data[end] != '\n')
				end++;
			if (end > start && long_names->data[end - 1] == '/')
				end--;
			snprintf(name, name_size, "%.*s", (int)(end - start), long_names->data + start);
		} else {
			snprintf(name, name_size, "%.*s", (int)strcspn(header.ar_name, "/"), header.ar_name);
		}
		return true;
	}
}

/* The worst of all members of that name: names may repeat, and the linker does not say which it took. */
static int archive_classify(const char *path, const char *wanted, enum object_kind *kind)
{
	struct bytes archive, long_names = {0}, member;
	char name[4096], member_path[8192];
	size_t offset = 0;
	int ret = file_map(path, &archive);

	if (ret < 0)
		return ret;
	bool thin = archive.size >= SARMAG && !memcmp(archive.data, THIN_MAGIC, SARMAG);
	const char *slash = strrchr(path, '/');

	*kind = OBJECT_TRACKED;
	ret = -ENOENT;
	while (archive_next(archive, thin, &offset, &long_names, name, sizeof(name), &member)) {
		const char *base = strrchr(name, '/');
		enum object_kind found;

		if (strcmp(name, wanted) && strcmp(base ? base + 1 : name, wanted))
			continue;
		if (thin) {
			snprintf(member_path, sizeof(member_path), "%.*s%s",
				 slash && name[0] != '/' ? (int)(slash + 1 - path) : 0, path, name);
			ret = object_classify(member_path, &found);
			if (ret < 0)
				break;
		} else {
			found = bytes_classify(member);
			ret = 0;
		}
		if (found != OBJECT_TRACKED)
			*kind = found;
	}
	munmap((void *)archive.data, archive.size);
	return ret;
}

int object_classify(const char *name, enum object_kind *kind)
{
	const char *open = strrchr(name, '(');
	size_t length = strlen(name);
	struct bytes file;
	int ret = file_map(name, &file);

	if (ret < 0 && open && open > name && name[length - 1] == ')') {
		char path[4096], member[4096];

		snprintf(path, sizeof(path), "%.*s", (int)(open - name), name);
		snprintf(member, sizeof(member), "%.*s", (int)(length - (size_t)(open + 1 - name) - 1),
			 open + 1);
		return archive_classify(path, member, kind);
	}
	if (ret < 0)
		return ret;
	*kind = bytes_classify(file);
	munmap((void *)file.data, file.size);
	return 0;
}
