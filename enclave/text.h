/* SPDX-License-Identifier: Apache-2.0
 *
 * Short messages put together without a printf.
 */
#ifndef ENCLAVE_TEXT_H
#define ENCLAVE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
	char s[160]; /* always NUL terminated when zeroed before use */
	size_t n;
};

static inline void text_char(struct text *t, char c)
{
	if (t->n < sizeof t->s - 1)
		t->s[t->n++] = c;
}

static inline void text_str(struct text *t, const char *s)
{
	while (*s)
		text_char(t, *s++);
}

static inline void text_hex(struct text *t, uint64_t v)
{
	text_str(t, "0x");
	int shift = 60;
	while (shift > 0 && !(v >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		text_char(t, "0123456789abcdef"[v >> shift & 15]);
}

#endif
