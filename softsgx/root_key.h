/* SPDX-License-Identifier: Apache-2.0
 *
 * The ECDSA P-256 key of software evidence. Both halves are public knowledge:
 * what it signs shows that software SGX is at work, not that anybody may trust it.
 */
#ifndef SOFTSGX_ROOT_KEY_H
#define SOFTSGX_ROOT_KEY_H

#include <stdint.h>

#define SOFTSGX_ROOT_PUBLIC_KEY_SIZE 64
extern const uint8_t softsgx_root_public_key[SOFTSGX_ROOT_PUBLIC_KEY_SIZE]; /* X || Y, big-endian */

#endif
