/* SPDX-License-Identifier: Apache-2.0
 *
 * Intel SDM volume 2, appendix A: which opcodes have a ModRM byte and how many
 * bytes of immediate.
 */
#include "softsgx/decode.h"

#include <string.h>

#define LONGEST 15

struct shape {
	uint8_t modrm;
	uint8_t immediate;
};

struct prefixes {
	int operand16, address32, rex_w;
};

static int in(uint8_t byte, const char *set, size_t count)
{
	return memchr(set, byte, count) != NULL;
}
#define IN(byte, set) in(byte, set, sizeof(set) - 1)

/* 0, or -1 if the opcode does not exist in 64-bit mode. */
static int one_byte_map(uint8_t op, uint8_t next, const struct prefixes *p, struct shape *shape)
{
	uint8_t full = p->operand16 ? 2 : 4;

	if (op < 0x40) {
		if ((op & 7) >= 6)
			return -1;
		shape->modrm = (op & 7) < 4;
		shape->immediate = (op & 7) == 4 ? 1 : (op & 7) == 5 ? full : 0;
		return 0;
	}
	if (IN(op, "\x60\x61\x62\x82\x9a\xc4\xc5\xce\xd4\xd5\xd6\xea"))
		return -1;
	shape->modrm = IN(op, "\x63\x69\x6b\x80\x81\x83\xc0\xc1\xc6\xc7\xd0\xd1\xd2\xd3\xf6\xf7\xfe\xff") ||
		       (op >= 0x84 && op <= 0x8f) || (op >= 0xd8 && op <= 0xdf);
	if (IN(op, "\x6a\x6b\x80\x83\xa8\xc0\xc1\xc6\xcd\xeb") || (op >= 0x70 && op <= 0x7f) ||
	    (op >= 0xb0 && op <= 0xb7) || (op >= 0xe0 && op <= 0xe7))
		shape->immediate = 1;
	else if (IN(op, "\x68\x69\x81\xa9\xc7"))
		shape->immediate = full;
	else if (op >= 0xb8 && op <= 0xbf)
		shape->immediate = p->rex_w ? 8 : full;
	else if (op >= 0xa0 && op <= 0xa3)
		shape->immediate = p->address32 ? 4 : 8;
	else if (op == 0xe8 || op == 0xe9)
		shape->immediate = 4;
	else if (op == 0xc2 || op == 0xca)
		shape->immediate = 2;
	else if (op == 0xc8)
		shape->immediate = 3;
	else if (op == 0xf6 && !(next & 0x30))
		shape->immediate = 1;
	else if (op == 0xf7 && !(next & 0x30))
		shape->immediate = full;
	return 0;
}

static void two_byte_map(uint8_t op, struct shape *shape)
{
	shape->modrm =
	    !(IN(op, "\x05\x06\x07\x08\x09\x0b\x0e\x77\xa0\xa1\xa2\xa8\xa9\xaa") ||
	      (op >= 0x30 && op <= 0x37) || (op >= 0x80 && op <= 0x8f) || (op >= 0xc8 && op <= 0xcf));
	if (op >= 0x80 && op <= 0x8f)
		shape->immediate = 4;
	else if (IN(op, "\x0f\x70\x71\x72\x73\xa4\xac\xba\xc2\xc4\xc5\xc6"))
		shape->immediate = 1;
}

/* ModRM, SIB and displacement. */
static size_t operand_length(const uint8_t *at, size_t left)
{
	size_t length = 1;
	uint8_t mod, rm;

	if (!left)
		return LONGEST + 1;
	mod = at[0] >> 6;
	rm = at[0] & 7;
	if (mod == 3)
		return 1;
	if (rm == 4) {
		if (left < 2)
			return LONGEST + 1;
		length++;
		if (mod == 0 && (at[1] & 7) == 5)
			return length + 4;
	}
	if (mod == 0)
		return rm == 5 ? length + 4 : length;
	return length + (mod == 1 ? 1 : 4);
}

size_t decode_length(const uint8_t *code, size_t size)
{
	struct prefixes p = {0};
	struct shape shape = {0};
	size_t at = 0;
	uint8_t op;

	if (size > LONGEST)
		size = LONGEST;
	while (at < size && IN(code[at], "\x66\x67\xf2\xf3\xf0\x2e\x36\x3e\x26\x64\x65")) {
		p.operand16 |= code[at] == 0x66;
		p.address32 |= code[at] == 0x67;
		at++;
	}
	if (at < size && (code[at] & 0xf0) == 0x40)
		p.rex_w = code[at++] & 8;
	if (p.rex_w)
		p.operand16 = 0;
	if (at + 5 > size && at + 1 > size)
		return 0;
	op = code[at];
	if (op == 0xc5 || op == 0xc4 || op == 0x62) {
		/* VEX and EVEX: the prefix names the map. */
		size_t prefix = op == 0xc5 ? 2 : op == 0xc4 ? 3 : 4;
		unsigned int map;

		if (at + prefix + 1 > size)
			return 0;
		map = op == 0xc5 ? 1 : code[at + 1] & (op == 0xc4 ? 0x1f : 7);
		at += prefix;
		if (map == 1)
			two_byte_map(code[at], &shape);
		if (map == 1 && shape.immediate == 4)
			shape.immediate = 0;
		shape.modrm = !(map == 1 && code[at] == 0x77);
		if (map == 3)
			shape.immediate = 1;
		at++;
	} else if (op == 0x0f) {
		if (at + 2 > size)
			return 0;
		at++;
		if (code[at] == 0x38 || code[at] == 0x3a) {
			shape.modrm = 1;
			shape.immediate = code[at] == 0x3a;
			at += 2;
		} else {
			two_byte_map(code[at], &shape);
			at++;
		}
	} else {
		if (one_byte_map(op, at + 1 < size ? code[at + 1] : 0, &p, &shape))
			return 0;
		at++;
	}
	if (shape.modrm)
		at += at < size ? operand_length(code + at, size - at) : LONGEST + 1;
	at += shape.immediate;
	return at <= size ? at : 0;
}
