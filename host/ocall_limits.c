/* SPDX-License-Identifier: Apache-2.0 */
#include "host/ocall_request.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* RLIMIT_NOFILE is the table's, RLIMIT_FSIZE the kernel's to enforce; others the enclave keeps itself once it has read
 * them (enclave/limits.c). */
static int limit_get(struct request *r, int resource, struct rlimit *out)
{
	if (resource != RLIMIT_NOFILE)
		return getrlimit((__rlimit_resource_t)resource, out) < 0 ? -errno : 0;
	uint64_t soft, hard;
	fdtable_limit(r->fds, &soft, &hard);
	*out = (struct rlimit){soft, hard};
	return 0;
}

static int limit_set(struct request *r, int resource, const struct rlimit *limit)
{
	if (resource == RLIMIT_NOFILE)
		return fdtable_set_limit(r->fds, limit->rlim_cur, limit->rlim_max);
	if (resource != RLIMIT_FSIZE)
		return -EPERM;
	/* The hard one stays: this process may have to make room for another program's. */
	struct rlimit own;
	if (getrlimit(RLIMIT_FSIZE, &own) < 0)
		return -errno;
	own.rlim_cur = limit->rlim_cur < own.rlim_max ? limit->rlim_cur : own.rlim_max;
	return setrlimit(RLIMIT_FSIZE, &own) < 0 ? -errno : 0;
}

long call_rlimit(struct request *r)
{
	int resource = (int)r->arg[r->nr == SYS_prlimit64 ? 1 : 0];
	const struct rlimit *set = NULL;
	struct rlimit *get = NULL;
	if (r->nr == SYS_getrlimit) {
		get = (struct rlimit *)r->arg[1];
	} else if (r->nr == SYS_setrlimit) {
		set = (const struct rlimit *)r->arg[1];
	} else {
		if (r->arg[0]) /* the enclave's runtime sends 0 for the program itself */
			return -ESRCH;
		set = (const struct rlimit *)r->arg[2];
		get = (struct rlimit *)r->arg[3];
	}
	struct rlimit before;
	int error = limit_get(r, resource, &before);
	if (!error && set)
		error = limit_set(r, resource, set);
	if (!error && get)
		*get = before;
	return error;
}
