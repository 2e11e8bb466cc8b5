/* SPDX-License-Identifier: Apache-2.0
 *
 * The few things of a C library that mbedTLS's and IPsec-MB's objects refer to.
 * mbedTLS is called by one thread at a time (migrator.c admits its callers
 * alone, or to the lane of control records, which is one), so nothing here locks.
 */
#include <stddef.h>
#include <stdint.h>
#include "enclave/rt.h"
#include "enclave/session.h"

/*
 * ---- memory: first fit in an arena that is made once: to make and wipe it each time took longer than a key ----
 */
#define ARENA_SIZE (256u << 10)
#define CHUNK_ALIGN 16u

struct chunk {
	size_t size; /* with this header */
	size_t used;
};
_Static_assert(sizeof(struct chunk) == CHUNK_ALIGN, "what is handed out is aligned");

static uint8_t *arena;
static size_t chunks_used;

void *calloc(size_t count, size_t size);
void free(void *p);

static struct chunk *chunk_next(struct chunk *c)
{
	uint8_t *next = (uint8_t *)c + c->size;
	return next < arena + ARENA_SIZE ? (struct chunk *)next : NULL;
}

static void chunk_join_free(struct chunk *c)
{
	for (struct chunk *next; (next = chunk_next(c)) && !next->used;)
		c->size += next->size;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes) || bytes > ARENA_SIZE / 2)
		return NULL;
	bytes = (bytes + sizeof(struct chunk) + CHUNK_ALIGN - 1) & ~(size_t)(CHUNK_ALIGN - 1);
	if (!arena) {
		arena = rt_pages_alloc(ARENA_SIZE);
		if (!arena)
			return NULL;
		*(struct chunk *)arena = (struct chunk){.size = ARENA_SIZE};
	}
	for (struct chunk *c = (struct chunk *)arena; c; c = chunk_next(c)) {
		if (c->used)
			continue;
		chunk_join_free(c);
		if (c->size < bytes)
			continue;
		if (c->size - bytes > sizeof(struct chunk)) {
			struct chunk *rest = (struct chunk *)((uint8_t *)c + bytes);
			*rest = (struct chunk){.size = c->size - bytes};
			c->size = bytes;
		}
		c->used = 1;
		chunks_used++;
		return memset(c + 1, 0, c->size - sizeof(*c));
	}
	return NULL;
}

void free(void *p)
{
	if (!p)
		return;
	struct chunk *c = (struct chunk *)p - 1;
	rt_wipe(p, c->size - sizeof(*c));
	c->used = 0;
	if (--chunks_used == 0)
		*(struct chunk *)arena = (struct chunk){.size = ARENA_SIZE};
}

void crypto_memory_free(void)
{
	rt_pages_free(arena, ARENA_SIZE);
	arena = NULL;
	chunks_used = 0;
}

/* ---- strings, arithmetic, stack protector ---- */
int strcmp(const char *a, const char *b);
void *__memset_chk(void *to, int value, size_t size, size_t room);
void *__memcpy_chk(void *to, const void *from, size_t size, size_t room);
_Noreturn void __stack_chk_fail(void);
__uint128_t __udivti3(__uint128_t dividend, __uint128_t divisor);

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return (unsigned char)*a - (unsigned char)*b;
}

void *__memset_chk(void *to, int value, size_t size, size_t room)
{
	if (size > room)
		rt_die(FATAL_INTERNAL, "buffer overflow in cryptography");
	return memset(to, value, size);
}

void *__memcpy_chk(void *to, const void *from, size_t size, size_t room)
{
	if (size > room)
		rt_die(FATAL_INTERNAL, "buffer overflow in cryptography");
	return memcpy(to, from, size);
}

void __stack_chk_fail(void)
{
	rt_die(FATAL_INTERNAL, "stack overflow in cryptography");
}

/* Bit by bit: big-number division asks for a few of these, never in a loop that matters. */
__uint128_t __udivti3(__uint128_t dividend, __uint128_t divisor)
{
	__uint128_t quotient = 0, rest = 0;
	for (int bit = 127; bit >= 0; bit--) {
		bool carry = rest >> 127;
		rest = rest << 1 | (dividend >> bit & 1);
		if (carry || rest >= divisor) {
			rest -= divisor;
			quotient |= (__uint128_t)1 << bit;
		}
	}
	return quotient;
}

/* ---- referred to by self-tests, seed files and locks that are never used here ---- */
int putchar(int c);
int puts(const char *s);
int __printf_chk(int flag, const char *format, ...);
void *fopen(const char *path, const char *mode);
int fclose(void *file);
int ferror(void *file);
size_t fread(void *out, size_t size, size_t count, void *file);
size_t fwrite(const void *in, size_t size, size_t count, void *file);
char *fgets(char *out, int size, void *file);
void *gmtime_r(const void *time, void *out);
int pthread_mutex_init(void *mutex, const void *attributes);
int pthread_mutex_destroy(void *mutex);
int pthread_mutex_lock(void *mutex);
int pthread_mutex_unlock(void *mutex);

int putchar(int c)
{
	return c;
}

int puts(const char *s)
{
	return 0;
}

int __printf_chk(int flag, const char *format, ...)
{
	return 0;
}

void *fopen(const char *path, const char *mode)
{
	return NULL;
}

int fclose(void *file)
{
	return -1;
}

int ferror(void *file)
{
	return 1;
}

size_t fread(void *out, size_t size, size_t count, void *file)
{
	return 0;
}

size_t fwrite(const void *in, size_t size, size_t count, void *file)
{
	return 0;
}

char *fgets(char *out, int size, void *file)
{
	return NULL;
}

void *gmtime_r(const void *time, void *out)
{
	return NULL;
}

int pthread_mutex_init(void *mutex, const void *attributes)
{
	return 0;
}

int pthread_mutex_destroy(void *mutex)
{
	return 0;
}

int pthread_mutex_lock(void *mutex)
{
	return 0;
}

int pthread_mutex_unlock(void *mutex)
{
	return 0;
}

/* IPsec-MB's kernels leave an error number for their dispatcher; error.o, which defines these, wants
 * strerror(). */
extern int imb_errno;
extern const int imb_errno_types[64];
int imb_errno;
const int imb_errno_types[64];
