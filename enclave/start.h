/* SPDX-License-Identifier: Apache-2.0
 *
 * Program start: arguments and environment onto the main thread's stack, as a
 * kernel would lay them out.
 */
#ifndef ENCLAVE_START_H
#define ENCLAVE_START_H

#include "enclave/rt.h"

int start_program(struct service_call *call); /* SERVICE_START */
int state_become_live(void);
uint64_t fault_count(void);
void gate_set_tracing(bool on);

#endif
