/* SPDX-License-Identifier: Apache-2.0
 *
 * Enclave memory as a debugger gets it through the kernel: EDBGRD and EDBGWR for
 * debug enclaves, nothing for others. For the program itself (softsgx_peek(), too),
 * and under the preload library for a process that shares the enclave by fork.
 */
#ifndef SOFTSGX_INSPECT_H
#define SOFTSGX_INSPECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How many bytes from address on, at most size, are in one enclave of pid's (1), or in none (0). */
size_t inspect_span(pid_t pid, uint64_t address, size_t size, int *in_enclave);
/* Copies within such a span. Bytes, or -EFAULT if none. */
long inspect_copy(uint64_t address, void *local, size_t size, int write);

#endif
