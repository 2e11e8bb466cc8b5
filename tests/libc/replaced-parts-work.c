/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of libc that are not musl's own: memory functions against a
 * byte-wise model, jumps, floating-point environment, threads, compiler helpers.
 */
#include <complex.h>
#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/libc/check.h"

#define SIZE_MAX_TESTED 200000
#define ROOM 512

static const size_t sizes[] = {
    0,	  1,	2,    3,     4,	    5,	   7,	  8,	 9,	15,	16,	17,	31,
    32,	  33,	63,   64,    65,    127,   128,	  129,	 191,	192,	255,	1023,	1024,
    1025, 4096, 5000, 65535, 65536, 65537, 65599, 65600, 65601, 131072, 131136, 131137, SIZE_MAX_TESTED};

static void memory_moves(void)
{
	static const int distances[] = {0, 1, 3, 8, 15, 16, 17, 40, 63, 64, 65, 100, 256, 500};
	size_t total = SIZE_MAX_TESTED + 2 * ROOM;
	unsigned char *a = malloc(total), *b = malloc(total), *original = malloc(total);

	for (size_t i = 0; i < total; i++)
		original[i] = (unsigned char)(i * 131 + (i >> 8));
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		for (size_t d = 0; d < sizeof(distances) / sizeof(*distances) * 2; d++) {
			int distance = distances[d / 2] * (d & 1 ? -1 : 1);

			for (size_t i = 0; i < total; i++)
				a[i] = b[i] = original[i];
			CHECK(memmove(a + ROOM + distance, a + ROOM, sizes[k]) == a + ROOM + distance);
			for (volatile size_t i = 0; i < sizes[k]; i++)
				b[ROOM + distance + i] = original[ROOM + i];
			CHECK(memcmp(a, b, total) == 0);
		}
		for (int offset = 0; offset < 17; offset += 3) {
			for (size_t i = 0; i < total; i++)
				a[i] = b[i] = original[i];
			CHECK(memset(a + ROOM + offset, 0x1a5, sizes[k]) == a + ROOM + offset);
			for (volatile size_t i = 0; i < sizes[k]; i++)
				b[ROOM + offset + i] = 0xa5;
			CHECK(memcmp(a, b, total) == 0);
			CHECK(memcpy(a + ROOM + offset, original, sizes[k]) == a + ROOM + offset);
			CHECK(memcmp(a + ROOM + offset, original, sizes[k]) == 0);
		}
	}
	free(a);
	free(b);
	free(original);
}

static sigjmp_buf signal_buffer;
static jmp_buf buffer;

static void handler(int signal)
{
	siglongjmp(signal_buffer, signal);
}

static void jumps(void)
{
	volatile int count = 0;
	sigset_t mask;

	if (setjmp(buffer) < 3)
		longjmp(buffer, ++count);
	CHECK(count == 3);
	count = 0;
	if (setjmp(buffer) == 0)
		longjmp(buffer, 0);
	else
		count = 7;
	CHECK(count == 7);
	signal(SIGUSR1, handler);
	count = 0;
	if (sigsetjmp(signal_buffer, 1) == 0)
		raise(SIGUSR1);
	else
		count = 1;
	CHECK(count == 1);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGUSR1));
}

static void floating_point(void)
{
	volatile double one = 1, three = 3, big = 1e308;
	volatile long double little = 2.1L;
	fenv_t saved;

	CHECK(fegetenv(&saved) == 0);
	CHECK(fegetround() == FE_TONEAREST);
	CHECK(fesetround(FE_UPWARD) == 0 && fegetround() == FE_UPWARD);
	double up = one / three;
	long rounded = lrintl(little);
	CHECK(fesetround(FE_DOWNWARD) == 0);
	double down = one / three;
	CHECK(up > down && rounded == 3);
	feclearexcept(FE_ALL_EXCEPT);
	CHECK(fetestexcept(FE_ALL_EXCEPT) == 0);
	volatile double overflow = big * big;
	(void)overflow;
	CHECK(fetestexcept(FE_OVERFLOW));
	feclearexcept(FE_OVERFLOW);
	CHECK(!fetestexcept(FE_OVERFLOW) && fetestexcept(FE_INEXACT));
	feraiseexcept(FE_DIVBYZERO);
	CHECK(fetestexcept(FE_DIVBYZERO));
	CHECK(fesetenv(&saved) == 0 && fegetround() == FE_TONEAREST);
	CHECK(!fetestexcept(FE_DIVBYZERO));
	CHECK(fesetenv(FE_DFL_ENV) == 0);
	CHECK(fegetround() == FE_TONEAREST && lrintl(little) == 2);
}

static void compiler_helpers(void)
{
	volatile __int128 wide = (__int128)1 << 100;
	volatile long divisor = 7;
	volatile double complex z = 3 + 4 * I;
	volatile long double complex zl = 1 + 2 * I;

	CHECK((long)(wide / divisor / ((__int128)1 << 60)) == 157073089682L);
	CHECK((int)(wide % divisor) == 2);
	CHECK(creal(z * z) == -7 && cimag(z * z) == 24);
	CHECK(cimagl(zl * zl) == 4);
	CHECK(cabs(z / z - 1) < 1e-15);
}

static _Thread_local int mine = 5;

static void *thread(void *unused)
{
	mine += 4;
	return (void *)(intptr_t)mine;
}

static void threads(void)
{
	pthread_t threads[4];
	void *result;

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, thread, NULL) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], &result) == 0 && (intptr_t)result == 9);
	CHECK(mine == 5);
	pthread_attr_t detached;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	CHECK(pthread_create(&threads[0], &detached, thread, NULL) == 0);
}

static void no_processes(void)
{
	char *argv[] = {"true", NULL};
	pid_t pid;

	CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, NULL) == ENOSYS);
}

int main(void)
{
	memory_moves();
	jumps();
	floating_point();
	compiler_helpers();
	threads();
	no_processes();
	return failed;
}
