/* SPDX-License-Identifier: Apache-2.0
 *
 * Instructions of an enclave for which INT3 stands, so that they trap. Only where the
 * enclave cannot write; who looks at the page as data by way of softsgx finds what was
 * there.
 *
 *   ENCLU   once it has been met. A hypervisor that intercepts #UD (KVM does, to
 *           emulate instructions) makes the trap of an unknown instruction several
 *           times as dear as a breakpoint's
 *   BASE    WRFSBASE and WRGSBASE, where the kernel has to be told (bases.h)
 *
 * The enclave is locked, but for int3_site().
 */
#ifndef SOFTSGX_INT3_SITE_H
#define SOFTSGX_INT3_SITE_H

#include "softsgx/enclave.h"

enum int3_kind { INT3_NONE, INT3_ENCLU, INT3_BASE };

/* What stands for what, at this offset in the enclave? */
enum int3_kind int3_site(const struct enclave *e, uint64_t offset);
/* Such an instruction begins here, an ENCLU without a prefix: makes it a site if it may be one. */
void int3_site_make(struct enclave *e, uint64_t offset, enum int3_kind kind);
/* Pages [first, first + count) get their instructions back, for good: they change, or are given up. */
void int3_site_drop(struct enclave *e, size_t first, size_t count);
/* ... a page, for as long as it is read as data; between the two the enclave may be unlocked. */
void int3_site_hide(struct enclave *e, size_t page);
void int3_site_show(struct enclave *e, size_t page);

#endif
