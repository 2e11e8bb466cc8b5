/* SPDX-License-Identifier: Apache-2.0
 *
 * Control data of sendmsg() and recvmsg(): descriptors (SCM_RIGHTS), packet
 * information, time stamps. What is not known here is refused (EOPNOTSUPP) or,
 * received, cut off with MSG_CTRUNC: never lost in silence.
 */
#ifndef ENCLAVE_ANCILLARY_H
#define ENCLAVE_ANCILLARY_H

#include <stdint.h>
#include "enclave/marshal.h"

#define ANCILLARY_MAX 1280u /* SCM_RIGHTS with as many descriptors as a kernel takes, and some */

/* Lays the program's out: *at, in host memory. */
int64_t ancillary_out(struct marshal *m, uint64_t app, uint64_t size, uint64_t *at);
/* Takes over what the host has put there: into the program's room, of which *size is used. *flags: the message's. */
void ancillary_in(struct thread *t, uint64_t u_from, uint64_t u_size, uint64_t app, uint64_t room, uint64_t *size,
		  uint32_t *flags);

#endif
