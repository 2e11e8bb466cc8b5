/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes between the application and a descriptor, where one call of the host's
 * does not do: from several places, with an address and control data, or more
 * than the call area holds.
 */
#ifndef ENCLAVE_TRANSFER_H
#define ENCLAVE_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

struct thread;

/* read, write, pread64, pwrite64, sendto, recvfrom, with the arguments in the thread's context. */
int64_t transfer_call(struct thread *t, uint64_t nr);
/* a: descriptor, vector, its count, offset; nr: the call without a vector. */
int64_t transfer_readv(struct thread *t, const uint64_t a[6], uint64_t nr);
int64_t transfer_writev(struct thread *t, const uint64_t a[6], uint64_t nr);
/* sendmsg, recvmsg; sendmmsg, recvmmsg. */
int64_t transfer_message(struct thread *t, const uint64_t a[6], bool send);
int64_t transfer_messages(struct thread *t, const uint64_t a[6], bool send);

#endif
