/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/abort.h"

#include <stdlib.h>
#include "softsgx/mm.h"

#define RFLAGS_TF 0x100ll
#define TRAP_DEBUG 1

uint32_t abort_begin(struct thread *t, ucontext_t *context, uint64_t address, uint32_t error)
{
	enum mm_access access = mm_access_of(error);
	struct mm_page page;
	struct vma vma;
	uint32_t code;

	if (!mm_find(address, &vma) || !vma.enclave->created)
		return SGX_PF_U | access | MM_BUS;
	lock_take(&vma.enclave->lock);
	code = mm_present(vma.enclave, address, access, &page);
	/* Threads inside must not meet the ones: they get the page, and the host sees it. */
	if (!code && thread_is_inside(vma.enclave) && !mm_access(vma.enclave, address, access, &page)) {
		code = mm_install(&page) ? SGX_PF_U | access | MM_BUS : 0;
	} else if (!code) {
		if (t->abort_count == ABORT_PAGES_MAX || mm_shade(&page))
			code = SGX_PF_U | access | MM_BUS;
		else
			t->abort_pages[t->abort_count++] = address & ~(uint64_t)(SGX_PAGE_SIZE - 1);
		context->uc_mcontext.gregs[REG_EFL] |= RFLAGS_TF;
	}
	lock_drop(&vma.enclave->lock);
	return code;
}

int abort_end(struct thread *t, ucontext_t *context)
{
	for (; t->abort_count; t->abort_count--)
		mm_unshade(t->abort_pages[t->abort_count - 1]);
	context->uc_mcontext.gregs[REG_EFL] &= ~RFLAGS_TF;
	return context->uc_mcontext.gregs[REG_TRAPNO] == TRAP_DEBUG;
}

void abort_left(struct enclave *e)
{
	static int strict = -1;

	if (strict < 0)
		strict = getenv("SOFTSGX_STRICT") != NULL;
	if (strict && !thread_is_inside(e))
		mm_zap(e, 0, e->size / SGX_PAGE_SIZE);
}
