/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/tool.h"

#include <limits.h>
#include <stdarg.h>

/* response files that name response files; one that names itself must end somewhere */
#define RESPONSE_DEPTH_MAX 16

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

/* The next argument in a response file's text, without its quotes; NULL at the end. */
static char *argument_next(char **text)
{
	char *in = *text + strspn(*text, " \t\r\n"), *out = in, *argument = in;
	char quote = 0;

	if (!*in)
		return NULL;
	for (; *in && (quote || !strchr(" \t\r\n", *in)); in++) {
		if (*in == quote)
			quote = 0;
		else if (!quote && (*in == '"' || *in == '\''))
			quote = *in;
		else if (*in == '\\' && in[1])
			*out++ = *++in;
		else
			*out++ = *in;
	}
	*text = *in ? in + 1 : in;
	*out = 0;
	return argument;
}

/* All of a file, NUL terminated; NULL if it cannot be read. */
static char *file_read(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t capacity = 0;

	if (file) {
		if (getdelim(&text, &capacity, 0, file) < 0)
			text = ferror(file) ? NULL : format("%s", "");
		fclose(file);
	}
	return text;
}

static void args_add_expanded(struct args *args, char *item, int depth)
{
	char *text = item[0] == '@' && depth < RESPONSE_DEPTH_MAX ? file_read(item + 1) : NULL;

	if (!text)
		args_add(args, item);
	else
		for (char *argument; (argument = argument_next(&text));)
			args_add_expanded(args, argument, depth + 1);
}

void args_expand(int *argc, char ***argv)
{
	struct args args = {0};

	for (int i = 0; i < *argc; i++)
		args_add_expanded(&args, (*argv)[i], 0);
	*argc = (int)args.count;
	*argv = (char **)args.item;
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
