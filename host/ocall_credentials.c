/* SPDX-License-Identifier: Apache-2.0
 *
 * User and groups are those of this process: it needs them for the program's next move, so they are not given up.
 * What a program asks to become may be what it is already, as with a service manager that has chosen the user.
 */
#include "host/ocall_request.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IDS_MAX 3

struct ids {
	uid_t id[IDS_MAX]; /* real, effective, saved */
};

static struct ids ids_of(bool is_group)
{
	struct ids ids;

	/* cannot fail: the addresses are good */
	if (is_group)
		(void)getresgid(&ids.id[0], &ids.id[1], &ids.id[2]);
	else
		(void)getresuid(&ids.id[0], &ids.id[1], &ids.id[2]);
	return ids;
}

/* count: of the arguments that name an id, each (uid_t)-1 where it shall stay. */
static long become(const struct request *r, bool is_group, unsigned count)
{
	struct ids now = ids_of(is_group);

	/* setuid() of root sets all three */
	for (unsigned i = 0; i < IDS_MAX; i++) {
		uid_t wanted = (uid_t)r->arg[count == 1 ? 0 : i];
		if (i < count || count == 1)
			if (wanted != now.id[i] && (wanted != (uid_t)-1 || count == 1))
				return -EPERM;
	}
	return 0;
}

long call_credentials(struct request *r)
{
	switch (r->nr) {
	case SYS_setuid: return become(r, false, 1);
	case SYS_setgid: return become(r, true, 1);
	case SYS_setreuid: return become(r, false, 2);
	case SYS_setregid: return become(r, true, 2);
	case SYS_setresuid: return become(r, false, 3);
	case SYS_setresgid: return become(r, true, 3);
	case SYS_setgroups: return r->arg[0] == 0 && getgroups(0, NULL) == 0 ? 0 : -EPERM;
	default: return -ENOSYS;
	}
}
