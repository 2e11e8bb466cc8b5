/* SPDX-License-Identifier: Apache-2.0
 *
 * The image signer's key: RSA, 3072 bits, exponent 3, as SGX demands, in a PEM file.
 */
#ifndef HOST_KEY_H
#define HOST_KEY_H

#include <mbedtls/pk.h>
#include "host/failure.h"

#define KEY_BITS 3072
#define KEY_EXPONENT 3

/* Makes a key and writes it to a new file of mode 0600. -EEXIST rather than overwrite one. */
int key_generate(const char *path, struct failure *why);
/* The caller frees with mbedtls_pk_free(), also after a failure. */
int key_load(const char *path, mbedtls_pk_context *key, struct failure *why);

/* mbedTLS's random source signature, from getrandom(). */
int key_random(void *unused, unsigned char *out, size_t size);

#endif
