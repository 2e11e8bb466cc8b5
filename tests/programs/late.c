/* SPDX-License-Identifier: Apache-2.0
 *
 * late ITERATIONS: comes to a safepoint only now and then: between two there is a loop that the compiler does not
 * see as one.
 */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static void count_down(unsigned long n)
{
	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;

	puts("ready");
	fflush(stdout);
	for (;;)
		count_down(n ? n : 1);
}
