/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "host/enclave_private.h"
#include "host/enter.h"
#include "host/log.h"
#include "sgx/arch.h"

/* An entry or resumption that itself faulted: the enclave was not reached. */
static enum eexit entry_failed(struct enclave *e, unsigned slot, const struct sgx_enclave_run *run,
			       uint64_t *status)
{
	if (!atomic_load(&e->ending))
		log_line("cannot enter the enclave at slot %u: exception %u, error code %#x, address %#llx",
			 slot, run->exception_vector, run->exception_error_code,
			 (unsigned long long)run->exception_addr);
	*status = FATAL_INTERNAL;
	return EEXIT_FATAL;
}

/* The fault handler left a sentence in the call area before it gave up. Another thread may have told of the end already. */
static void fault_report(struct enclave *e, unsigned slot)
{
	const struct call_area *area = e->slot[slot].thread.area;

	if (area)
		log_line("in the program: %.*s", 160, (const char *)area->data);
}

enum eexit border_enter(struct enclave *e, unsigned slot, const uint64_t words[static 3], uint64_t *status)
{
	struct enter_words w = {words[0], words[1], words[2]};
	unsigned function = SGX_EENTER;

	for (;;) {
		struct sgx_enclave_run run = {.tcs = slot_tcs(slot)};
		int rc = enter_enclave(e->device.op.enter, &w, function, &run);

		if (rc) {
			log_line("entering the enclave failed: %s", strerror(-rc));
			*status = FATAL_INTERNAL;
			return EEXIT_FATAL;
		}
		if (run.function == SGX_EEXIT) {
			if (w.rdi == EEXIT_FATAL && (w.rsi & FATAL_TOLD)) {
				fault_report(e, slot);
				w.rsi &= ~FATAL_TOLD;
			}
			if (w.rdi != EEXIT_RESUME) {
				*status = w.rsi;
				return w.rdi;
			}
			if (w.rdx)
				page_wait(e, w.rdx);
			function = SGX_ERESUME;
			continue;
		}
		/* An exception inside: the enclave's own handler answers it, in the next SSA frame. One in
		 * that handler comes here again, until the frames are used up and EENTER itself fails. */
		if (run.function != SGX_ERESUME || atomic_load(&e->ending))
			return entry_failed(e, slot, &run, status);
		w = (struct enter_words){ECALL_FAULT, 0, 0};
		function = SGX_EENTER;
	}
}
