/* SPDX-License-Identifier: Apache-2.0
 *
 * The floating-point environment, in C so that fegetenv's store is tracked. Compiled by the pass: each
 * store is an operand of its instruction.
 */
#include <fenv.h>

#define MXCSR_DEFAULT 0x1f80u
#define X87_DEFAULT 0x37f
#define ROUND_MASK FE_TOWARDZERO

static inline unsigned mxcsr_get(void)
{
	unsigned mxcsr;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	return mxcsr;
}

static inline void mxcsr_set(unsigned mxcsr)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

static inline unsigned x87_status(void)
{
	unsigned short status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status;
}

/* x87's pending exceptions are moved to MXCSR: there is no way to clear only some of them. */
int feclearexcept(int mask)
{
	unsigned x87 = x87_status() & FE_ALL_EXCEPT;

	mask &= FE_ALL_EXCEPT;
	if (x87 & (unsigned)mask)
		__asm__ volatile("fnclex");
	mxcsr_set((mxcsr_get() | x87) & ~(unsigned)mask);
	return 0;
}

int feraiseexcept(int mask)
{
	mxcsr_set(mxcsr_get() | ((unsigned)mask & FE_ALL_EXCEPT));
	return 0;
}

int fetestexcept(int mask)
{
	return (int)((mxcsr_get() | x87_status()) & (unsigned)mask & FE_ALL_EXCEPT);
}

int fegetround(void)
{
	return (int)(mxcsr_get() >> 3 & ROUND_MASK);
}

__attribute__((visibility("hidden"))) int __fesetround(int round)
{
	unsigned short control;

	__asm__ volatile("fnstcw %0" : "=m"(control));
	control = (unsigned short)((control & ~ROUND_MASK) | round);
	__asm__ volatile("fldcw %0" : : "m"(control));
	mxcsr_set((mxcsr_get() & ~(ROUND_MASK << 3u)) | (unsigned)round << 3);
	return 0;
}

int fegetenv(fenv_t *env)
{
	/* fnstenv masks all x87 exceptions, as musl's does; they are masked anyway */
	__asm__ volatile("fnstenv %0" : "=m"(*env));
	env->__mxcsr = mxcsr_get();
	return 0;
}

int fesetenv(const fenv_t *env)
{
	static const fenv_t standard = {
	    .__control_word = X87_DEFAULT, .__tags = 0xffff, .__mxcsr = MXCSR_DEFAULT};

	if (env == FE_DFL_ENV)
		env = &standard;
	__asm__ volatile("fldenv %0" : : "m"(*env));
	mxcsr_set(env->__mxcsr);
	return 0;
}
