/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C library works out by itself, with few calls or none.
 */
#define _GNU_SOURCE
#include "syscalls/checks.h"

#include <cpuid.h>
#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

static void check_printf(void)
{
	char text[200];

	snprintf(text, sizeof(text), "%.3f|%e|%g|%a|%10.2f|%-8d|%+d|%#x|%c|%5s|%lld|%zu", 3.14159, 12345.678, 0.0001, 1.0,
		 2.5, 42, 7, 255, 'c', "ab", -1234567890123ll, (size_t)99);
	CHECK(!strcmp(text, "3.142|1.234568e+04|0.0001|0x1p+0|      2.50|42      |+7|0xff|c|   ab|-1234567890123|99"));
	CHECK(strtod("1.7976931348623157e308", NULL) == 1.7976931348623157e308);
	CHECK(strtoull("18446744073709551615", NULL, 10) == UINT64_MAX);
}

static void check_time_zones(void)
{
	time_t summer = 1720000000; /* 2024-07-03 09:46:40 UTC */
	struct tm tm;
	char text[64];

	CHECK(gmtime_r(&summer, &tm) && tm.tm_hour == 9 && timegm(&tm) == summer);
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	CHECK(localtime_r(&summer, &tm) && tm.tm_hour == 11 && tm.tm_isdst == 1 && mktime(&tm) == summer);
	CHECK(strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm) && !strcmp(text, "2024-07-03 11:46:40 CEST"));
	if (!access("/usr/share/zoneinfo/America/New_York", R_OK)) {
		setenv("TZ", "America/New_York", 1);
		tzset();
		CHECK(localtime_r(&summer, &tm) && tm.tm_hour == 5 && tm.tm_min == 46);
	}
	unsetenv("TZ");
	tzset();
}

static jmp_buf jump;

__attribute__((noinline)) static void jump_back(int depth, volatile int *seen)
{
	volatile char frame[500];

	memset((char *)frame, depth, sizeof(frame));
	(*seen)++;
	if (depth == 0)
		longjmp(jump, 42);
	jump_back(depth - 1, seen);
	if (frame[0] != depth)
		abort();
}

static void check_setjmp(void)
{
	volatile int seen = 0, result = setjmp(jump);
	sigjmp_buf with_mask;

	if (result == 0)
		jump_back(20, &seen);
	CHECK(result == 42 && seen == 21);
	result = sigsetjmp(with_mask, 1);
	if (result == 0)
		siglongjmp(with_mask, 7);
	CHECK(result == 7);
}

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void check_qsort(void)
{
	static int numbers[20000];

	for (int i = 0; i < 20000; i++)
		numbers[i] = (int)((unsigned)i * 2654435761u >> 4);
	qsort(numbers, 20000, sizeof(int), by_number);
	for (int i = 1; i < 20000; i++)
		CHECK(numbers[i - 1] <= numbers[i]);
	CHECK(bsearch(&numbers[777], numbers, 20000, sizeof(int), by_number));
}

static void check_strings(void)
{
	char text[100] = "one,two,,three", *rest = text;
	wchar_t wide[20];

	CHECK(!strcmp(strsep(&rest, ","), "one") && !strcmp(strsep(&rest, ","), "two") && *strsep(&rest, ",") == 0);
	CHECK(!strcmp(rest, "three") && strstr("haystack", "stack") && strrchr("a/b/c", '/')[1] == 'c');
	memmove(text + 3, text, 50);
	CHECK(!memcmp(text + 3, "one", 3) && memchr(text, 't', 20));
	CHECK(mbstowcs(wide, "wide", 20) == 4 && !wcscmp(wide, L"wide"));
	CHECK(!strcmp(strerror(ENOENT), "No such file or directory"));
}

static void check_math(void)
{
	CHECK(fabs(sin(1.0) - 0.8414709848078965) < 1e-15 && fabs(exp(1.0) - 2.718281828459045) < 1e-15);
	CHECK(pow(2, 100) == 1267650600228229401496703205376.0 && sqrt(2.0) * sqrt(2.0) - 2.0 < 1e-15);
	CHECK(fesetround(FE_UPWARD) == 0);
	volatile double one = 1, three = 3;
	volatile double up = one / three;
	CHECK(fesetround(FE_DOWNWARD) == 0);
	volatile double down = one / three;
	CHECK(fesetround(FE_TONEAREST) == 0 && up > down);
	CHECK(expl(1.0L) > 2.718281828459045L && expl(1.0L) < 2.718281828459046L);
}

static void check_cpuid(void)
{
	unsigned a, b, c, d;

	CHECK(__get_cpuid(1, &a, &b, &c, &d) && d & bit_SSE2 && c & bit_AVX && c & bit_OSXSAVE);
	CHECK(__get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_AVX2);
	CHECK(__get_cpuid(0x80000001, &a, &b, &c, &d) && d & bit_LM);
}

const struct check checks_of_library[] = {
	{"printf", check_printf},
	{"time_zones", check_time_zones},
	{"setjmp", check_setjmp},
	{"qsort", check_qsort},
	{"strings", check_strings},
	{"math", check_math},
	{"cpuid", check_cpuid},
	{0},
};
