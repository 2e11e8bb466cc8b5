/* SPDX-License-Identifier: Apache-2.0 */
#include "enclave/limits.h"
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "enclave/marshal.h"
#include "enclave/mm.h"
#include "enclave/ocall.h"
#include "enclave/spin.h"
#include "enclave/thread.h"
#include "enclave/timer.h"

#define RESOURCES 16
struct limit {
	uint64_t soft, hard;
};

static struct spin lock; /* protects the following */
static uint32_t known;	 /* bits of those that have values */
static struct limit limit[RESOURCES];
static uint64_t memory_max = ~0ull; /* atomic; the lower of those that the program has set */

static int64_t host_call(struct thread *t, uint64_t nr, uint64_t resource, struct limit *l)
{
	struct marshal m = marshal_begin(t);
	uint64_t at = marshal_room(&m, sizeof *l);
	host_copy_out(at, l, sizeof *l);
	int64_t rc = ocall(t, OCALL_SYSCALL, nr, (const uint64_t[6]){resource, at}, NULL);
	if (rc == 0)
		host_copy_in(l, at, sizeof *l);
	return rc > 0 || rc < -4095 ? -EIO : rc;
}

static int64_t get(struct thread *t, uint64_t resource, struct limit *out)
{
	spin_lock(&lock);
	bool have = known >> resource & 1;
	*out = limit[resource];
	spin_unlock(&lock);
	if (have)
		return 0;
	struct limit first = {CONFIG->stack_size, CONFIG->stack_size};
	int64_t rc = resource == RLIMIT_STACK ? 0 : host_call(t, SYS_getrlimit, resource, &first);
	if (rc == 0 && first.soft > first.hard)
		rc = -EIO;
	if (rc < 0 || resource == RLIMIT_NOFILE) {
		*out = first;
		return rc;
	}
	spin_lock(&lock);
	if (!(known >> resource & 1))
		limit[resource] = first;
	known |= 1u << resource;
	*out = limit[resource];
	spin_unlock(&lock);
	return 0;
}

static int64_t set(struct thread *t, uint64_t resource, const struct limit *wanted)
{
	struct limit before, l = *wanted;
	if (l.soft > l.hard)
		return -EINVAL;
	int64_t rc = get(t, resource, &before);
	if (rc < 0)
		return rc;
	if (l.hard > before.hard)
		return -EPERM;
	if (resource == RLIMIT_NOFILE || resource == RLIMIT_FSIZE)
		rc = host_call(t, SYS_setrlimit, resource, &l);
	if (rc < 0 || resource == RLIMIT_NOFILE)
		return rc;
	spin_lock(&lock);
	limit[resource] = *wanted;
	if (resource == RLIMIT_AS || resource == RLIMIT_DATA) {
		uint64_t as = known >> RLIMIT_AS & 1 ? limit[RLIMIT_AS].soft : ~0ull;
		uint64_t data = known >> RLIMIT_DATA & 1 ? limit[RLIMIT_DATA].soft : ~0ull;
		__atomic_store_n(&memory_max, as < data ? as : data, __ATOMIC_SEQ_CST);
	}
	spin_unlock(&lock);
	if (resource == RLIMIT_CPU)
		timers_cpu_limit(t, wanted->soft, wanted->hard);
	return 0;
}

int64_t limits_call(struct thread *t, uint64_t nr, const uint64_t a[6])
{
	bool both = nr == SYS_prlimit64;
	uint64_t resource = (uint32_t)(both ? a[1] : a[0]);
	uint64_t app_new = both ? a[2] : nr == SYS_setrlimit ? a[1] : 0, app_old = both ? a[3] : nr == SYS_getrlimit ? a[1] : 0;
	struct limit old, wanted;
	if (both && (uint32_t)a[0] > 1) /* the program is process 1 */
		return -ESRCH;
	if (resource >= RESOURCES)
		return -EINVAL;
	if ((app_new && !mm_app_range(app_new, sizeof wanted)) || (app_old && !mm_app_range(app_old, sizeof old)) ||
	    (!both && !app_new && !app_old))
		return -EFAULT;
	int64_t rc = get(t, resource, &old);
	if (rc == 0 && app_new) {
		memcpy(&wanted, (const void *)app_new, sizeof wanted);
		rc = set(t, resource, &wanted);
	}
	if (rc == 0 && app_old) {
		memcpy((void *)app_old, &old, sizeof old);
		marks_set(app_old, sizeof old);
	}
	return rc;
}

bool limits_memory(uint64_t more)
{
	uint64_t most = __atomic_load_n(&memory_max, __ATOMIC_SEQ_CST), exist, mapped;
	if (most == ~0ull)
		return true;
	mm_counts(&exist, &mapped);
	mapped <<= PAGE_SHIFT;
	return mapped <= most && more <= most - mapped;
}

bool limits_file(struct thread *t)
{
	struct limit l;
	return get(t, RLIMIT_FSIZE, &l) == 0 && l.soft != ~0ull;
}

void limits_export(struct writer *w)
{
	put_u64(w, known);
	put_u64(w, memory_max);
	put_bytes(w, limit, sizeof limit);
}

void limits_import(struct reader *r)
{
	known = (uint32_t)get_u64(r);
	memory_max = get_u64(r);
	get_bytes(r, limit, sizeof limit);
}
