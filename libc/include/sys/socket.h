/* SPDX-License-Identifier: Apache-2.0
 *
 * musl's CMSG_NXTHDR compares signed with unsigned where the program uses it, which ends builds with
 * -Wextra -Werror (nginx). As a function, that is the header's own affair.
 */
#include_next <sys/socket.h>
#ifndef OPTMIG_SYS_SOCKET_H
#define OPTMIG_SYS_SOCKET_H

static __inline struct cmsghdr *__optmig_cmsg_next(const struct msghdr *message, const struct cmsghdr *cmsg)
{
	return CMSG_NXTHDR(message, cmsg);
}
#undef CMSG_NXTHDR
#define CMSG_NXTHDR(message, cmsg) __optmig_cmsg_next(message, cmsg)

#endif
