/* SPDX-License-Identifier: Apache-2.0
 *
 * Instruction lengths, one of each shape; and what is no instruction.
 */
#include "softsgx/decode.h"
#include "tests/softsgx/harness.h"

#include <string.h>

int main(void)
{
	static const struct {
		size_t length;
		const char *code;
	} rows[] = {
	    {1, "\x90"},
	    {2, "\x0f\xa2"},
	    {2, "\x0f\x0b"},
	    {3, "\x0f\x01\xd7"},
	    {5, "\xb8\x12\x00\x00\x00"},
	    {10, "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"},
	    {4, "\x66\xb8\x12\x00"},
	    {3, "\x48\x89\xe5"},
	    {4, "\x48\x8b\x45\xf8"},
	    {7, "\x48\x8d\x05\x00\x00\x00\x00"},
	    {8, "\x48\x8b\x04\x25\x10\x00\x00\x00"},
	    {5, "\x48\x8b\x44\x24\x08"},
	    {6, "\x0f\x84\x00\x01\x00\x00"},
	    {2, "\xeb\xfe"},
	    {3, "\xf6\xc1\x01"},
	    {2, "\xf7\xd8"},
	    {6, "\x81\xfb\x00\x00\x00\x01"},
	    {4, "\xc5\xf8\x28\xc1"},
	    {5, "\xc5\xf9\x70\xc1\x1b"},
	    {5, "\xc4\xe2\x7d\x18\xc0"},
	    {6, "\xc4\xe3\x7d\x19\xc1\x01"},
	    {6, "\x62\xf1\xfe\x48\x6f\xc1"},
	    {3, "\xc5\xf8\x77"},
	    {4, "\xc8\x10\x00\x00"},
	    {3, "\xc2\x08\x00"},
	    {0, "\x06"},
	    {0, "\x9a\x00\x00\x00\x00"},
	    {0, "\xea"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t code[15];

		memset(code, 0x90, sizeof(code));
		memcpy(code, rows[i].code, rows[i].length);
		if (!rows[i].length)
			code[0] = (uint8_t)rows[i].code[0];
		CHECK_EQ(decode_length(code, sizeof(code)), rows[i].length);
		/* cut short, it is none */
		if (rows[i].length > 1)
			CHECK_EQ(decode_length(code, rows[i].length - 1), 0);
	}
	CHECK_EQ(decode_length((const uint8_t *)"", 0), 0);
	return 0;
}
