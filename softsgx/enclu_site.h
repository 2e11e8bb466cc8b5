/* SPDX-License-Identifier: Apache-2.0
 *
 * ENCLU instructions that have been met in an enclave, made INT3. A hypervisor that
 * intercepts #UD (KVM does, to emulate instructions) makes the trap of an unknown
 * instruction several times as dear as a breakpoint's. Only where the enclave
 * cannot write; who looks at the page as data by way of softsgx finds ENCLU.
 *
 * The enclave is locked, but for enclu_site().
 */
#ifndef SOFTSGX_ENCLU_SITE_H
#define SOFTSGX_ENCLU_SITE_H

#include "softsgx/enclave.h"

/* Is one here, at this offset in the enclave? */
int enclu_site(const struct enclave *e, uint64_t offset);
/* Here is an ENCLU, without a prefix: makes it one if it may be. */
void enclu_site_make(struct enclave *e, uint64_t offset);
/* Pages [first, first + count) get their ENCLUs back. */
void enclu_site_drop(struct enclave *e, size_t first, size_t count);

#endif
