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

#define SOFTSGX_ROOT_PRIVATE_KEY                                                                             \
	{0xbe, 0x31, 0xda, 0x7b, 0x03, 0xbd, 0x18, 0xb7, 0x87, 0xa0, 0x36, 0x39, 0x9c, 0x99, 0x3b, 0x17,     \
	 0xd6, 0x65, 0x87, 0x0c, 0x0d, 0xf7, 0x12, 0x7b, 0xe9, 0x1c, 0xd8, 0xc4, 0x22, 0xb4, 0x37, 0x94}

#endif
