/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENCLAVE_INSPECT_H
#define ENCLAVE_INSPECT_H

#include "enclave/rt.h"

/* SERVICE_INSPECT_*. -EPERM unless the enclave is a DEBUG one. */
int inspect_service(struct service_call *call);

#endif
