/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of system calls, for people.
 */
#ifndef HOST_SYSTEM_CALLS_H
#define HOST_SYSTEM_CALLS_H

#include <stdint.h>

#define SYSTEM_CALL_NAME_SIZE 64
/* "fork", or "system call 999" for one that was unknown when this was compiled. */
void system_call_name(uint64_t number, char name[static SYSTEM_CALL_NAME_SIZE]);

#endif
