/* SPDX-License-Identifier: Apache-2.0
 *
 * Every way of storing that C has is run on memory that straddles pages; then, and
 * at every safepoint on the way, memory before and after is compared with the marks:
 * a page that differs and is not marked fails. Compiled by optmig-cc at every
 * optimization level.
 */
#include <complex.h>
#include <fenv.h>
#include <immintrin.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <wchar.h>

#include "abi/layout.h"

#define NOINLINE __attribute__((noinline))
#define ARENA ((uint8_t *)0x1000000000)
#define ARENA_SIZE (64 * PAGE_SIZE)
#define SAFEPOINTS_MAX 50 /* at which one run is looked at */
#define MARKS ((volatile uint8_t *)MARKS_BASE)

static uint8_t *shadow;
static unsigned failed, overmarked, safepoints, all_safepoints;
static const char *running; /* which test, if one is */
extern void (*__optmig_native_at_stop)(void);

/* ---- the stores: each gets a pointer into the arena ---- */

struct big {
	long value[64];
};
struct __attribute__((packed)) packed {
	char c;
	long l;
};
struct bits {
	unsigned a : 3, b : 13, c : 16;
};

static int source[4096];
static const char text[300] =
    "a string that is longer than what fits into a few registers, and so is copied by a loop";

NOINLINE static struct big make_big(long x)
{
	struct big b;

	for (int i = 0; i < 64; i++)
		b.value[i] = x + i;
	return b;
}

static void plain(void *p)
{
	*(long *)p = 0x1122334455667788;
}
static void volatile_short(void *p)
{
	*(volatile short *)p = 0x1234;
}
static void returned_struct(void *p)
{
	*(struct big *)p = make_big(3);
}

NOINLINE static void by_value(struct big b, struct big *out)
{
	b.value[1] = 9;
	*out = b;
}
static void passed_struct(void *p)
{
	by_value(make_big(5), p);
}
static void packed_field(void *p)
{
	((struct packed *)p)->l = 0x1122334455667788;
}
static void bit_field(void *p)
{
	((struct bits *)p)->b = 77;
}
static void long_double(void *p)
{
	*(long double *)p = 1.5L;
}
static void complex_double(void *p)
{
	*(double complex *)p = 1 + 2 * I;
}
static void int128(void *p)
{
	*(__int128 *)p = (__int128)5 << 70 | 3;
}
static void small_copy(void *p)
{
	memcpy(p, text, 24);
}
static void middle_copy(void *p)
{
	memcpy(p, text, 200);
}
NOINLINE static void copy_of(void *p, size_t size)
{
	memcpy(p, source, size);
}
NOINLINE static void move_of(void *p, size_t size)
{
	memmove(p, (char *)p - 5, size);
}
NOINLINE static void set_of(void *p, size_t size)
{
	memset(p, 0x5c, size);
}
static void copy_short(void *p)
{
	copy_of(p, 11);
}
static void copy_medium(void *p)
{
	copy_of(p, 100);
}
static void copy_long(void *p)
{
	copy_of(p, 10000);
}
static void move_long(void *p)
{
	move_of(p, 9000);
}
static void move_medium(void *p)
{
	move_of(p, 500);
}
static void set_short(void *p)
{
	set_of(p, 7);
}
static void set_medium(void *p)
{
	set_of(p, 60);
}
static void set_long(void *p)
{
	set_of(p, 20000);
}
static void set_huge(void *p)
{
	set_of(p, 150000);
}
static void copy_struct_page(void *p)
{
	struct page {
		char c[5000];
	};
	*(struct page *)p = *(const struct page *)source;
}

static void masked(void *p)
{
	int *restrict a = p;

	for (int i = 0; i < 2000; i++)
		if (source[i] > 50)
			a[i] = source[i];
}
static void scattered(void *p)
{
	int *restrict a = p;

	for (int i = 0; i < 200; i++)
		if (source[i] % 3)
			a[(i * 7 % 200) * 64] = source[i];
}
static void string_copy(void *p)
{
	char *d = p;
	const char *s = text;

	while ((*d++ = *s++))
		;
}
NOINLINE static void down_loop(int *a, int n)
{
	for (int i = n - 1; i >= 0; i--)
		a[i] = i + 1;
}
static void downwards(void *p)
{
	down_loop(p, 3000);
}
NOINLINE static void strided_loop(int *a, int n)
{
	for (int i = 0; i < n; i++)
		a[i * 300] = i + 1;
}
static void strided(void *p)
{
	strided_loop(p, 40);
}
NOINLINE static void long_stride_loop(char *a, int n)
{
	for (int i = 0; i < n; i++)
		a[i * 5000L] = 1;
}
static void long_strided(void *p)
{
	long_stride_loop(p, 20);
}
/* The marker for many pages is called from a leaf function, whose variables may lie below the stack pointer.
 */
NOINLINE static long below_stack_pointer(char *a, long x)
{
	volatile long kept[12];

	for (int i = 0; i < 12; i++)
		kept[i] = x + i;
	for (int i = 0; i < 30; i++)
		a[i * 2000] = (char)x;
	for (int i = 0; i < 12; i++)
		if (kept[i] != x + i)
			return 0;
	return 1;
}
static void red_zone(void *p)
{
	if (!below_stack_pointer(p, 5)) {
		puts("marking overwrote variables");
		failed++;
	}
}
NOINLINE static void nested_loop(long (*a)[100], int n)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < 100; j++)
			a[i][j] = i * j + 1;
}
static void nested(void *p)
{
	nested_loop(p, 30);
}
NOINLINE static int breaking_loop(int *a, int n)
{
	for (int i = 0; i < n; i++) {
		a[i] = i + 1;
		if (a[i] == 3000)
			return i;
	}
	return 0;
}
static void breaking(void *p)
{
	breaking_loop(p, 5000);
}
NOINLINE static void early_loop(int *a, const int *stop, int n)
{
	int i = 0;

	for (;;) {
		if (i >= n)
			break;
		a[i] = 1;
		if (stop[i] == -1)
			break;
		a[i + 3] = 2;
		i++;
	}
}
static void early_exits(void *p)
{
	early_loop(p, source, 2500);
}
NOINLINE static void while_loop(long *p, long n)
{
	while (n--)
		*p++ = n;
}
static void long_loop(void *p)
{
	while_loop(p, 20000);
}
static void strip_loop(void *p)
{
	while_loop(p, 1024);
}
static void strip_loop_less(void *p)
{
	while_loop(p, 1023);
}
static void strip_loop_more(void *p)
{
	while_loop(p, 1025);
}
static void strip_loop_twice(void *p)
{
	while_loop(p, 2048);
}
NOINLINE static void several_loop(char *a, short *b, int n)
{
	for (int i = 0; i < n; i++) {
		a[i] = (char)i | 1;
		b[-i] = (short)(i | 1);
		b[2] += 1;
	}
}
static void several(void *p)
{
	several_loop(p, (short *)p + 20000, 3000);
}
NOINLINE static void conditional_loop(char *a, const int *c, int n)
{
	for (int i = 0; i < n; i++) {
		if (c[i] & 1)
			a[i * 3] = 7;
		else
			a[i * 2 + 9000] = 9;
	}
}
static void conditional(void *p)
{
	conditional_loop(p, source, 1500);
}
struct node {
	struct node *next;
	long a, b;
};
NOINLINE static void list_loop(struct node *n)
{
	for (; n; n = n->next) {
		n->a++;
		n->b ^= n->a;
	}
}
static void list(void *p)
{
	struct node *n = p;

	for (int i = 0; i < 50; i++)
		n[i * 50].next = i < 49 ? &n[(i + 1) * 50] : NULL;
	list_loop(n);
}
NOINLINE static void goto_loop(char *a, int n)
{
	int i = 0;

	if (n & 1)
		goto middle;
again:
	a[i * 40] = 3;
middle:
	a[i * 40 + 20] = 4;
	if (++i < n)
		goto again;
}
static void irreducible(void *p)
{
	goto_loop(p, 301);
}
NOINLINE static void computed(char *a, const unsigned char *code)
{
	static const void *const labels[] = {&&put, &&skip, &&done};

	goto *labels[*code++];
put:
	*a = 1;
	a += 100;
	goto *labels[*code++];
skip:
	a += 3000;
	goto *labels[*code++];
done:
	return;
}
static void computed_goto(void *p)
{
	computed(p, (const unsigned char *)"\0\0\1\0\0\1\0\2");
}

static void atomic_add(void *p)
{
	atomic_fetch_add((atomic_long *)p, 5);
}
static void atomic_swap(void *p)
{
	long expected = *(long *)p;

	atomic_compare_exchange_strong((atomic_long *)p, &expected, 9);
}
static void atomic_set(void *p)
{
	atomic_store((atomic_int *)p, 77);
}
static void atomic_exchanged(void *p)
{
	atomic_exchange((atomic_char *)p, 77);
}

NOINLINE static void va_start_here(int n, va_list *list, ...)
{
	va_start(*list, list);
	(void)va_arg(*list, int);
	va_end(*list);
}
static void variable_arguments(void *p)
{
	va_start_here(1, p, 2, 3);
}
NOINLINE static void va_copy_here(va_list *copy, ...)
{
	va_list list;

	va_start(list, copy);
	va_copy(*copy, list);
	va_end(list);
}
static void variable_copy(void *p)
{
	va_copy_here(p, 1, 2);
}

static void asm_output(void *p)
{
	__asm__ volatile("movq $7, %0" : "=m"(*(long *)p));
}
static void asm_locked(void *p)
{
	__asm__ volatile("lock; incq %0" : "+m"(*(long *)p) : : "memory", "cc");
}
static void streamed(void *p)
{
	for (int i = 0; i < 600; i++)
		_mm_stream_si128((__m128i *)p + i, _mm_set1_epi8(3));
}
static void stream_word(void *p)
{
	_mm_stream_si64(p, 77);
}
static void vector(void *p)
{
	_mm_storeu_si128(p, _mm_set1_epi8(3));
}
static void mask_move(void *p)
{
	_mm_maskmoveu_si128(_mm_set1_epi8(3), _mm_set1_epi8(-1), p);
}
__attribute__((target("avx"))) NOINLINE static void mask_store(void *p)
{
	_mm256_maskstore_ps(p, _mm256_set1_epi32(-1), _mm256_set1_ps(2));
}
__attribute__((target("avx"))) NOINLINE static void vector_wide(void *p)
{
	_mm256_storeu_si256(p, _mm256_set1_epi8(3));
}
__attribute__((target("fxsr"))) NOINLINE static void fxsave(void *p)
{
	__builtin_ia32_fxsave(p);
}
static void save_mxcsr(void *p)
{
	*(unsigned *)p = _mm_getcsr() ^ 0x8000;
}
static void jump_buffer(void *p)
{
	(void)setjmp(*(jmp_buf *)p);
}
static void signal_jump_buffer(void *p)
{
	(void)sigsetjmp(*(sigjmp_buf *)p, 1);
}
static void float_environment(void *p)
{
	fegetenv(p);
}
NOINLINE static void throw(long *p, jmp_buf out)
{
	p[0] = 1;
	p[1] = 2;
	longjmp(out, 1);
}
static void jumped_over(void *p)
{
	jmp_buf out;

	if (!setjmp(out))
		throw(p, out);
}

static void print_into(void *p)
{
	sprintf(p, "%d %s %g", 5, text, 1.5);
}
static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}
static void sorted(void *p)
{
	for (int i = 0; i < 3000; i++)
		((int *)p)[i] = i * 7919 % 3001;
	qsort(p, 3000, sizeof(int), compare);
}
static void wide_set(void *p)
{
	wmemset((wchar_t *)p, 5, 3000);
}
static void string_pad(void *p)
{
	strncpy(p, text, 6000);
}

/* What looks like an instruction and is a call of libm, which has safepoints. */
static void before_sine(void *p)
{
	double *d = p;

	d[0] = source[5];
	d[1] = sin(d[0]);
	d[600] = pow(d[1], 3.5);
	d[601] = floor(d[600]);
}
static void before_remainder(void *p)
{
	double *d = p;

	d[0] = source[5];
	d[1] = fmod(d[0], source[6]);
	d[2] = (double)lround(d[1]);
}
static void sines(void *p)
{
	double *d = p;

	for (int i = 0; i < 3000; i++)
		d[i] = sin(source[i]);
}
static void powers(void *p)
{
	float *f = p;

	for (int i = 0; i < 3000; i++) {
		f[i] = powf((float)source[i], 1.5f);
		f[i + 3000] = fmodf(f[i], 7.5f);
	}
}

/* A cycle that is no loop, in one. */
NOINLINE static void fill_around_a_cycle(long *a, long n, volatile int *flag, int k)
{
	for (long i = 0; i < n; i++) {
		a[i] = i;
		if (k & 1)
			goto middle;
	head:
		if (*flag == 1)
			continue;
	middle:
		if (*flag != 2)
			goto head;
	}
}
static void into_the_middle(void *p)
{
	static volatile int one = 1;

	fill_around_a_cycle(p, 3000, &one, source[7]);
}

/* The type promises more than where it lies holds. */
struct __attribute__((aligned(64))) lines {
	long value[8];
};
static void over_aligned(void *p)
{
	struct lines *lines = p;

	lines->value[0] = 1;
	lines->value[7] = 2;
}

__attribute__((target("avx512f,avx512vl"))) NOINLINE static void compress(void *p)
{
	_mm512_mask_compressstoreu_epi32(p, 0x5555, _mm512_set1_epi32(7));
}
__attribute__((target("avx512f"))) NOINLINE static void scatter(void *p)
{
	_mm512_i32scatter_epi32(p,
				_mm512_set_epi32(0, 1100, 2200, 3300, 4400, 5500, 6600, 7700, 8800, 9900,
						 11000, 12100, 13200, 14300, 15400, 16500),
				_mm512_set1_epi32(4), 4);
}
__attribute__((target("avx512f"))) NOINLINE static void scatter_masked(void *p)
{
	_mm512_mask_i64scatter_pd(p, 0x2d, _mm512_set_epi64(0, 600, 1200, 1800, 2400, 3000, 3600, 4200),
				  _mm512_set1_pd(4), 8);
}
__attribute__((target("avx512f"))) NOINLINE static void truncating(void *p)
{
	_mm512_mask_cvtepi32_storeu_epi8(p, 0xffff, _mm512_set1_epi32(7));
}

/* ---- the comparison ---- */

#define CASE(name, align) {#name, name, align, ANY}
#define CASE_ON(needs, name, align) {#name, name, align, needs}

static const struct test {
	const char *name;
	void (*run)(void *);
	unsigned align; /* what C promises of the pointer */
	enum { ANY, AVX, AVX512 } needs;
} tests[] = {
    CASE(plain, 8),
    CASE(volatile_short, 2),
    CASE(returned_struct, 8),
    CASE(passed_struct, 8),
    CASE(packed_field, 1),
    CASE(bit_field, 4),
    CASE(long_double, 16),
    CASE(complex_double, 8),
    CASE(int128, 16),
    CASE(small_copy, 1),
    CASE(middle_copy, 1),
    CASE(copy_short, 1),
    CASE(copy_medium, 1),
    CASE(copy_long, 1),
    CASE(move_long, 1),
    CASE(move_medium, 1),
    CASE(set_short, 1),
    CASE(set_medium, 1),
    CASE(set_long, 1),
    CASE(set_huge, 1),
    CASE(copy_struct_page, 1),
    CASE(masked, 4),
    CASE(scattered, 4),
    CASE(string_copy, 1),
    CASE(downwards, 4),
    CASE(strided, 4),
    CASE(long_strided, 1),
    CASE(red_zone, 1),
    CASE(nested, 8),
    CASE(breaking, 4),
    CASE(early_exits, 4),
    CASE(long_loop, 8),
    CASE(strip_loop, 8),
    CASE(strip_loop_less, 8),
    CASE(strip_loop_more, 8),
    CASE(strip_loop_twice, 8),
    CASE(several, 2),
    CASE(conditional, 1),
    CASE(list, 8),
    CASE(irreducible, 1),
    CASE(computed_goto, 1),
    CASE(atomic_add, 8),
    CASE(atomic_swap, 8),
    CASE(atomic_set, 4),
    CASE(atomic_exchanged, 1),
    CASE(variable_arguments, 8),
    CASE(variable_copy, 8),
    CASE(asm_output, 8),
    CASE(asm_locked, 8),
    CASE(streamed, 16),
    CASE(stream_word, 8),
    CASE(vector, 1),
    CASE(mask_move, 1),
    CASE_ON(AVX, mask_store, 4),
    CASE_ON(AVX, vector_wide, 1),
    CASE(fxsave, 16),
    CASE(save_mxcsr, 4),
    CASE(jump_buffer, 8),
    CASE(signal_jump_buffer, 8),
    CASE(float_environment, 4),
    CASE(jumped_over, 8),
    CASE(print_into, 1),
    CASE(sorted, 4),
    CASE(wide_set, 4),
    CASE(string_pad, 1),
    CASE(before_sine, 8),
    CASE(before_remainder, 8),
    CASE(sines, 8),
    CASE(powers, 4),
    CASE(into_the_middle, 8),
    CASE(over_aligned, 16),
    CASE_ON(AVX512, compress, 4),
    CASE_ON(AVX512, scatter, 4),
    CASE_ON(AVX512, scatter_masked, 8),
    CASE_ON(AVX512, truncating, 1),
};

/* What both the processor and the kernel offer. */
static int vector_level(void)
{
	unsigned a, b, c, d, features, state_low, state_high;

	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(features), "=d"(d) : "a"(1), "c"(0));
	if (!(features & 1u << 27) || !(features & 1u << 28))
		return ANY;
	__asm__("xgetbv" : "=a"(state_low), "=d"(state_high) : "c"(0));
	if ((state_low & 0x6) != 0x6)
		return ANY;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
	/* F and VL, and the state of the wide registers */
	return (b & 1u << 16) && (b & 1u << 31) && (state_low & 0xe0) == 0xe0 ? AVX512 : AVX;
}

static uint8_t mark_of(const uint8_t *p)
{
	return MARKS[((uintptr_t)p >> PAGE_SHIFT) & MARKS_MASK];
}

static bool differs(unsigned at)
{
	const uint64_t *now = (const uint64_t *)(ARENA + at), *was = (const uint64_t *)(shadow + at);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*now); i++)
		if (now[i] != was[i])
			return true;
	return false;
}

/* Is each page that differs from what it was marked? */
static void compare_pages(bool at_end)
{
	for (unsigned at = 0; at < ARENA_SIZE; at += PAGE_SIZE) {
		bool marked = mark_of(ARENA + at), changed = (at_end || !marked) && differs(at);

		if (changed && !marked) {
			printf("%s%s: page %u changed, not marked\n", running, at_end ? "" : ", at a safepoint",
			       at / PAGE_SIZE);
			failed++;
		}
		overmarked += at_end && !changed && marked;
	}
}

/* A thread that parks here may find its pages sent as the marks say, and go on elsewhere. */
static void at_safepoint(void)
{
	if (running && ++safepoints <= SAFEPOINTS_MAX)
		compare_pages(false);
}

static void check(const struct test *test, unsigned before_end)
{
	char name[100];

	for (unsigned i = 0; i < ARENA_SIZE; i++)
		ARENA[i] = (uint8_t)(i * 31 + 0x80);
	memcpy(shadow, ARENA, ARENA_SIZE);
	memset((void *)&MARKS[(uintptr_t)ARENA >> PAGE_SHIFT & MARKS_MASK], 0, ARENA_SIZE >> PAGE_SHIFT);
	snprintf(name, sizeof(name), "%s at %u bytes before a page", test->name, before_end);
	running = name;
	all_safepoints += safepoints;
	safepoints = 0;
	*(volatile uint8_t *)STOP_WORD = 1;
	test->run(ARENA + 4 * PAGE_SIZE - before_end);
	*(volatile uint8_t *)STOP_WORD = 0;
	compare_pages(true);
	running = NULL;
}

int main(void)
{
	static const unsigned places[] = {0,  1,  2,  3,  4,  7,  8,   12,  15,
					  16, 24, 40, 48, 63, 64, 100, 512, 4000};
	unsigned runs = 0;
	int level = vector_level();

	*(volatile uint8_t *)TRACK_WORD = 1;
	__optmig_native_at_stop = at_safepoint;
	shadow = malloc(ARENA_SIZE);
	for (int i = 0; i < 4096; i++)
		source[i] = (i * 37) % 101;
	if (mmap(ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		 -1, 0) != ARENA) {
		perror("mmap");
		return 1;
	}
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
		if (tests[i].needs > level)
			continue;
		for (size_t k = 0; k < sizeof(places) / sizeof(*places); k++) {
			if (places[k] % tests[i].align)
				continue;
			check(&tests[i], places[k]);
			runs++;
		}
	}
	printf("%u runs, %u safepoints, %u pages missed, %u marked in vain\n", runs, all_safepoints, failed, overmarked);
	return failed != 0;
}
