/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include "host/failure.h"

int fail(struct failure *why, int code, const char *format, ...)
{
	va_list args;

	if (!why)
		return code;
	why->code = code;
	va_start(args, format);
	vsnprintf(why->message, sizeof(why->message), format, args);
	va_end(args);
	return code;
}
