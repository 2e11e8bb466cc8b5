/* SPDX-License-Identifier: Apache-2.0
 *
 * What of the processor an image was signed for.
 */
#ifndef HOST_CPU_H
#define HOST_CPU_H

#include <stdint.h>
#include "host/failure.h"

/* Can this processor run an enclave with that XFRM and the kernels it chooses by it? -ENOTSUP, why says what lacks. */
int cpu_check(uint64_t xfrm, struct failure *why);

#endif
