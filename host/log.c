/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "host/log.h"

#define PATIENCE_MS 20

void log_line(const char *format, ...)
{
	char line[1024];
	va_list args;
	int prefix, size;

	prefix = snprintf(line, sizeof(line), "optmig: ");
	va_start(args, format);
	size = vsnprintf(line + prefix, sizeof(line) - prefix - 1, format, args);
	va_end(args);
	if (size < 0)
		return;
	size += prefix;
	if (size > (int)sizeof(line) - 2)
		size = sizeof(line) - 2;
	line[size++] = '\n';
	/* Whoever holds up the terminal or the pipe does not hold up a move: what nobody reads is lost. Standard error that
	 * cannot be written to leaves nobody to tell. */
	struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};
	if (poll(&polled, 1, PATIENCE_MS) <= 0 || write(STDERR_FILENO, line, size) < 0)
		return;
}
