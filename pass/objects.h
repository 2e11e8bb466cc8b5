/* SPDX-License-Identifier: Apache-2.0
 *
 * What optmig-ld looks at in the files it links: whether an object was compiled
 * by the pass. Host side, trusts its input as any linker does.
 */
#ifndef PASS_OBJECTS_H
#define PASS_OBJECTS_H

enum object_kind {
	OBJECT_TRACKED, /* compiled by the pass */
	OBJECT_STALE,	/* compiled by the pass of another version of optmig-cc */
	OBJECT_FOREIGN, /* ELF without the pass's note */
	OBJECT_BITCODE, /* LLVM bitcode: -flto or -emit-llvm */
	OBJECT_OTHER,	/* neither; the linker knows best */
};

/* name is "file.o" or "archive.a(member.o)", as the linker prints it. 0 or -errno. */
int object_classify(const char *name, enum object_kind *kind);

#endif
