/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the peer of a handshake is. Evidence comes in kinds; what each proves ends
 * in the same question: does an enclave with exactly our identity say, on
 * hardware we believe, that it takes part in this handshake? Trusted side only.
 */
#ifndef ENCLAVE_ATTEST_H
#define ENCLAVE_ATTEST_H

#include <stddef.h>
#include <stdint.h>
#include "sgx/arch.h"

/* report.c: EREPORT for target (NULL: for nobody, to read one's own identity) over 64 bytes of data. */
void attest_report(const struct sgx_targetinfo *target, const uint8_t data[static 64],
		   struct sgx_report *report);

/* Checks the peer's struct evidence (a private copy): signature, root, identity equal to own (MRENCLAVE,
 * MRSIGNER, attributes, MISCSELECT, product, versions) and REPORTDATA equal to expected. -EBADMSG if anything
 * is malformed or untrue, -EKEYREJECTED if it is true of the same program signed otherwise, -EACCES if this
 * enclave's policy refuses evidence of that kind or a DEBUG peer. */
int attest_verify(const uint8_t *evidence, size_t size, const uint8_t expected[static 64]);

#endif
