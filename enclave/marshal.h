/* SPDX-License-Identifier: Apache-2.0
 *
 * Laying arguments out in the call area's data.
 */
#ifndef ENCLAVE_MARSHAL_H
#define ENCLAVE_MARSHAL_H

#include <errno.h>
#include "enclave/mm.h"
#include "enclave/ocall.h"

#define PATH_SIZE_MAX 4096u

struct marshal {
	uint64_t base;
	uint64_t used;
};

static inline struct marshal marshal_begin(struct thread *t)
{
	return (struct marshal){area_data(t), 0};
}

/* Two pages stay back for addresses and lengths that follow a large buffer. */
static inline uint64_t marshal_left(const struct marshal *m)
{
	return CALL_DATA_SIZE - 0x4000 > m->used ? CALL_DATA_SIZE - 0x4000 - m->used : 0;
}

/* Address in host memory; callers keep within what marshal_left() said or a few KiB. */
static inline uint64_t marshal_room(struct marshal *m, uint64_t size)
{
	uint64_t at = m->base + m->used;
	m->used += (size + 15) & ~15ull;
	if (m->used > CALL_DATA_SIZE)
		rt_die(FATAL_INTERNAL, "call area overrun");
	return at;
}

static inline int64_t marshal_path(struct marshal *m, uint64_t path, uint64_t *out)
{
	if (!path) {
		*out = 0;
		return 0;
	}
	uint64_t n = 0;
	for (;; n++) {
		if (n >= PATH_SIZE_MAX)
			return -ENAMETOOLONG;
		if ((n == 0 || !((path + n) & (PAGE_SIZE - 1))) && !mm_app_range(path + n, 1))
			return -EFAULT;
		if (((const char *)path)[n] == 0)
			break;
	}
	*out = marshal_room(m, n + 1);
	host_copy_out(*out, (const void *)path, n + 1);
	return 0;
}

/* Data from the host into application memory, marked. */
static inline void app_write(uint64_t app, uint64_t u_src, uint64_t size)
{
	host_copy_in((void *)app, u_src, size);
	marks_set(app, size);
}

#endif
