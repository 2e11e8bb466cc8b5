/* SPDX-License-Identifier: Apache-2.0 */
#include "softsgx/softsgx.h"

/* The counterpart of foreign.c: the call of the library linked in. */
sgx_enter_enclave_fn test_enter_enclave = softsgx_enter_enclave;
