/* SPDX-License-Identifier: Apache-2.0
 *
 * What the runtime and its cryptography need of a C library, and the private
 * page heap.
 */
#include "enclave/rt.h"
#include "enclave/leaf.h"
#include "enclave/spin.h"
#include "enclave/thread.h"

/* The compiler must not turn these into calls of themselves. */
#define PLAIN __attribute__((no_builtin))

PLAIN void *memcpy(void *restrict dst, const void *restrict src, size_t size)
{
	void *d = dst;
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(size) : : "memory");
	return dst;
}

PLAIN void *memset(void *dst, int value, size_t size)
{
	void *d = dst;
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(value) : "memory");
	return dst;
}

PLAIN void *memmove(void *dst, const void *src, size_t size)
{
	unsigned char *d = dst;
	const unsigned char *s = src;
	if (d <= s || d >= s + size)
		return memcpy(dst, src, size);
	while (size--)
		d[size] = s[size];
	return dst;
}

PLAIN int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *x = a, *y = b;
	for (size_t i = 0; i < size; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

PLAIN size_t strlen(const char *s)
{
	size_t n = 0;
	while (s[n])
		n++;
	return n;
}

int rt_memcmp_ct(const void *a, const void *b, size_t size)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char diff = 0;
	for (size_t i = 0; i < size; i++)
		diff |= x[i] ^ y[i];
	return diff;
}

void rt_wipe(void *p, size_t size)
{
	memset(p, 0, size);
	__asm__ volatile("" : : "r"(p) : "memory");
}

void rt_random(void *out, size_t size)
{
	unsigned char *p = out;
	while (size) {
		unsigned long long word = 0;
		unsigned char ok = 0;
		/* Intel's advice: ten tries, then the generator is broken. */
		for (int i = 0; i < 10 && !ok; i++)
			__asm__ volatile("rdrand %0; setc %1" : "=r"(word), "=qm"(ok) : : "cc");
		if (!ok)
			rt_die(FATAL_INTERNAL, "RDRAND does not deliver");
		size_t n = size < sizeof word ? size : sizeof word;
		memcpy(p, &word, n);
		p += n;
		size -= n;
	}
}

/* ---- private pages: one bit a page, first fit ---- */
#define RTHEAP_PAGES ((RTHEAP_END - RTHEAP_BASE) / PAGE_SIZE)
static uint8_t rtheap_used[RTHEAP_PAGES];
static uint8_t rtheap_accepted[RTHEAP_PAGES];
static struct spin rtheap_lock;

static int accept_page(uint64_t addr)
{
	static const struct sgx_secinfo fresh = {
		.flags = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING};
	return encl_eaccept(&fresh, addr) == SGX_SUCCESS ? 0 : -1;
}

void *rt_pages_alloc(size_t size)
{
	size_t want = (size + PAGE_SIZE - 1) / PAGE_SIZE;
	if (want == 0 || want > RTHEAP_PAGES)
		return NULL;
	spin_lock(&rtheap_lock);
	for (size_t first = 0, run = 0, i = 0; i < RTHEAP_PAGES; i++) {
		if (rtheap_used[i]) {
			run = 0;
			continue;
		}
		if (run++ == 0)
			first = i;
		if (run < want)
			continue;
		for (size_t k = first; k < first + want; k++) {
			if (!rtheap_accepted[k]) {
				if (accept_page(RTHEAP_BASE + k * PAGE_SIZE) < 0) {
					memset(rtheap_used + first, 0, k - first);
					spin_unlock(&rtheap_lock);
					return NULL;
				}
				rtheap_accepted[k] = 1;
			}
			rtheap_used[k] = 1;
		}
		spin_unlock(&rtheap_lock);
		return (void *)(RTHEAP_BASE + first * PAGE_SIZE);
	}
	spin_unlock(&rtheap_lock);
	return NULL;
}

void rt_pages_free(void *p, size_t size)
{
	if (!p)
		return;
	size_t first = ((uint64_t)p - RTHEAP_BASE) / PAGE_SIZE;
	size_t count = (size + PAGE_SIZE - 1) / PAGE_SIZE;
	rt_wipe(p, count * PAGE_SIZE);
	spin_lock(&rtheap_lock);
	memset(rtheap_used + first, 0, count);
	spin_unlock(&rtheap_lock);
}
