/* SPDX-License-Identifier: Apache-2.0 */
#include "host/system_calls.h"
#include <stdio.h>

/* made from the kernel's header (host/module.mk) */
static const char *const names[] = {
#include "host/system_calls.inc"
};

void system_call_name(uint64_t number, char name[static SYSTEM_CALL_NAME_SIZE])
{
	if (number < sizeof(names) / sizeof(names[0]) && names[number])
		snprintf(name, SYSTEM_CALL_NAME_SIZE, "%s", names[number]);
	else
		snprintf(name, SYSTEM_CALL_NAME_SIZE, "system call %llu", (unsigned long long)number);
}
