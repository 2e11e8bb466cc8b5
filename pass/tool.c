/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/tool.h"

#include <limits.h>
#include <stdarg.h>

char *format(const char *form, ...)
{
	va_list list;
	char *text;

	va_start(list, form);
	if (vasprintf(&text, form, list) < 0)
		abort();
	va_end(list);
	return text;
}

void die(const char *form, ...)
{
	va_list list;

	va_start(list, form);
	fprintf(stderr, "%s: error: ", tool_name);
	vfprintf(stderr, form, list);
	fputc('\n', stderr);
	va_end(list);
	exit(1);
}

const char *own_directory(void)
{
	static char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (length <= 0)
		die("cannot read /proc/self/exe: is /proc mounted?");
	path[length] = 0;
	*strrchr(path, '/') = 0;
	return path;
}

bool starts_with(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

bool ends_with(const char *text, const char *suffix)
{
	size_t a = strlen(text), b = strlen(suffix);

	return a >= b && !strcmp(text + a - b, suffix);
}
