/* SPDX-License-Identifier: Apache-2.0
 *
 * The public half of the key that signs software evidence, for enclaves: those
 * that accept such evidence link this and nothing else of softsgx.
 */
#include "softsgx/root_key.h"

const uint8_t softsgx_root_public_key[SOFTSGX_ROOT_PUBLIC_KEY_SIZE] = {
#include "softsgx/root_key.inc"
};
