/* SPDX-License-Identifier: Apache-2.0
 *
 * What optmig-cc and optmig-ld share: argument lists, their own place on disk,
 * and errors in a compiler's form.
 */
#ifndef PASS_TOOL_H
#define PASS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct args {
	const char **item; /* NULL terminated */
	size_t count;
	size_t capacity;
};

static inline void args_add(struct args *args, const char *item)
{
	if (args->count + 2 > args->capacity) {
		args->capacity = args->capacity ? args->capacity * 2 : 64;
		args->item = realloc(args->item, args->capacity * sizeof(*args->item));
		if (!args->item)
			abort();
	}
	args->item[args->count++] = item;
	args->item[args->count] = NULL;
}

/* A formatted string that lives until the process ends. */
__attribute__((format(printf, 1, 2))) char *format(const char *form, ...);
/* "tool: error: ..." on stderr, exit status 1 */
_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *form, ...);
/* The directory this program's file is in, without the slash. */
const char *own_directory(void);
/* Puts the arguments in the place of an @FILE that holds them, as clang and the linker read it. */
void args_expand(int *argc, char ***argv);
bool starts_with(const char *text, const char *prefix);
bool ends_with(const char *text, const char *suffix);

extern const char tool_name[];

#endif
