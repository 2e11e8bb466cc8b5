/* SPDX-License-Identifier: Apache-2.0
 *
 * One record in private memory: built and sealed here before a byte of it
 * reaches the host, copied in whole before a byte of it is believed. Knows
 * nothing of what records mean. Trusted side only.
 */
#ifndef ENCLAVE_RECORD_H
#define ENCLAVE_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include "enclave/channel.h"

/* Header and runs lie one behind the other as on the wire; the body has its own, aligned place. */
struct record {
	struct record_header header;
	struct record_run run[RECORD_RUNS_MAX];
	_Alignas(PAGE_SIZE) uint8_t body[RECORD_BODY_MAX]; /* EACCEPTCOPY takes whole pages of it */
	uint8_t tag[RECORD_TAG_SIZE];
};

/* Empties it; the body is left as it is. */
void record_start(struct record *r, enum record_type type);
/* Is there a counter left for another one? -EOVERFLOW, or -EPERM: the channel is not open. */
int record_may_seal(const struct channel *c);
/* Fills counter and tag, encrypts. header.run_count, body_size, offset and total are the caller's. */
int record_seal(struct channel *c, struct record *r);
size_t record_size(const struct record *r);
/* To host memory of that capacity. -ENOSPC. */
int record_write(const struct record *r, uint64_t u_out, size_t capacity);

/* From host memory: checks that it is a record by its sizes. -EBADMSG. */
int record_read(struct record *r, uint64_t u_in, size_t size);
/* Decrypts what record_read() took, if it is the next one of its channel. -EBADMSG: nothing changed. */
int record_open(struct channel *c, struct record *r);

#endif
