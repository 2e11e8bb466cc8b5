/* SPDX-License-Identifier: Apache-2.0
 *
 * The note that turns an ELF file into an image (abi/image.h). Linked into every
 * enclave program; `optmig sign` fills what is zero here.
 */
#include <elf.h>
#include "abi/image.h"

extern char small_start[] __asm__("__optmig_small_start");
extern char program_entry[] __asm__("_start");
extern char small_end[] __asm__("__optmig_small_end");

struct {
	Elf64_Nhdr header;
	char name[8];
	struct image_note note;
} image_note_section __attribute__((section(IMAGE_NOTE_SECTION), used)) = {
    .header = {.n_namesz = sizeof(IMAGE_NOTE_NAME),
	       .n_descsz = sizeof(struct image_note),
	       .n_type = IMAGE_NOTE_TYPE},
    .name = IMAGE_NOTE_NAME,
    .note.link.small_start = (uint64_t)small_start,
    .note.link.small_end = (uint64_t)small_end,
    .note.link.entry = (uint64_t)program_entry,
    .note.link.abi = ABI_VERSION,
};
