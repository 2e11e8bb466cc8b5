/* SPDX-License-Identifier: Apache-2.0
 *
 * The account of an enclave, written where SOFTSGX_STATS says.
 */
#ifndef SOFTSGX_STATS_H
#define SOFTSGX_STATS_H

#include "softsgx/enclave.h"

void stats_write(const struct enclave *e);

#endif
