/* SPDX-License-Identifier: Apache-2.0
 *
 * The platform's secrets (known to everybody: this is no protection) and what
 * EGETKEY and EREPORT make of them. Usable in a signal handler.
 */
#ifndef SOFTSGX_KEYS_H
#define SOFTSGX_KEYS_H

#include "softsgx/enclave.h"

/* Loads or makes the platform of SOFTSGX_STATE; 0 or -errno. */
int keys_init(void);

/* AES-128-CMAC, RFC 4493. */
void cmac(const uint8_t key[static 16], const void *data, size_t size, uint8_t mac[static 16]);

#define KEY_REQUEST_INVALID (-1) /* #GP */
/* EGETKEY: 0, an enum sgx_error or KEY_REQUEST_INVALID. */
int key_derive(const struct enclave *e, const struct sgx_keyrequest *request, uint8_t key[static 16]);

/* EREPORT of enclave e for a target. */
void report_make(const struct enclave *e, const struct sgx_targetinfo *target, const uint8_t data[static 64],
		 struct sgx_report *report);
/* Would target accept it? */
int report_check(const struct sgx_targetinfo *target, const struct sgx_report *report);

/* EVERIFYREPORT2: 0 or an enum sgx_error. */
int reportmac_check(const struct sgx_reportmacstruct *macstruct);

#endif
