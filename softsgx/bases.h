/* SPDX-License-Identifier: Apache-2.0
 *
 * The bases of FS and GS on a kernel that does not know of FSGSBASE: whenever a
 * thread gets a processor, it puts them back to what arch_prctl() was last told. (So
 * do old kernels, and guests whose hypervisor hides the feature.) There the kernel is
 * told of every change: by entries and exits, which then all trap, and by the
 * enclave's own WRFSBASE and WRGSBASE, for which INT3 stands (int3_site.h).
 */
#ifndef SOFTSGX_BASES_H
#define SOFTSGX_BASES_H

#include "softsgx/thread.h"

/* Before anything else: does this kernel have to be told? */
void bases_init(void);
int bases_are_told(void);

/* The calling thread's, outside. */
void bases_read(uint64_t *fs, uint64_t *gs);

/* Looks for instructions that write a base in pages that are about to become executable, or were written by a debugger. The
 * enclave is locked. */
void bases_look(struct enclave *e, size_t first, size_t count);

enum bases_result {
	BASES_OTHER, /* it is none of these instructions */
	BASES_DONE,
	BASES_FAULTS, /* with #GP */
};
/* t is inside, and trapped by a breakpoint or by #UD: carries out an instruction that reads or writes a base. */
enum bases_result bases_trap(struct thread *t, greg_t *registers, int is_breakpoint);

/* A handler is about to return: GS is what it must be there. (FS is entry.S's business.) */
void bases_tell_gs(struct thread *t);

#endif
