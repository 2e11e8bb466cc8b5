/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	const char *greeting = getenv("GREETING");

	printf("%s, %s: %d arguments, %.3f\n", greeting ? greeting : "hello", argc > 1 ? argv[1] : "world", argc - 1,
	       355.0 / 113);
	return argc > 2 ? atoi(argv[2]) : 0;
}
