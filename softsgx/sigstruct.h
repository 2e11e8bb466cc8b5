/* SPDX-License-Identifier: Apache-2.0
 *
 * EINIT's look at a SIGSTRUCT by itself. 0 or an enum sgx_error.
 */
#ifndef SOFTSGX_SIGSTRUCT_H
#define SOFTSGX_SIGSTRUCT_H

#include "sgx/arch.h"

int sigstruct_check_form(const struct sgx_sigstruct *sig);
int sigstruct_check_signature(const struct sgx_sigstruct *sig);
/* SHA-256 of the modulus as stored. */
void sigstruct_mrsigner(const struct sgx_sigstruct *sig, uint8_t mrsigner[static 32]);

#endif
